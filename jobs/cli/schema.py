"""`schema JOB`: what the payload of a job must look like, and one that is taken."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jobs.cli.codes import Code, Problem
from jobs.cli.context import PROGRAM, Cli
from jobs.cli.schedules import JobArgument

if TYPE_CHECKING:
    from jobs.cli.application import Application
    from jobs.registry import Function


def schema(cli: Cli, job: JobArgument) -> None:
    """Print the JSON Schema of a job's payload, and an example that `enqueue` takes.

    With --quiet the example alone, for `enqueue JOB --data -`. What no schema can say (validators
    are code) is tried out: the example has passed the checks of `enqueue`.
    """
    from jobs.cli import application
    from jobs.cli.payload import schema_of
    from jobs.errors import UnknownFunction

    app = application.load(cli)
    try:
        function = app.function(job)
    except UnknownFunction as error:
        hint = f"`{PROGRAM} types` lists the jobs"
        raise Problem(str(error), hint, Code.not_found) from None
    example, problems = example_for(app, function)
    if cli.json:
        return cli.document(
            job={
                "name": function.name,
                "description": function.description,
                "queue": function.queue,
                "schema": schema_of(function),
                "example": example,
                "problems": [f"{name}: {problem}" for name, problem in problems],
            }
        )
    return _print(cli, function, example, problems)


def example_for(
    app: Application, function: Function
) -> tuple[dict[str, Any] | None, list[tuple[str, str]]]:
    """A payload that passes the checks of `enqueue`; else `None`, and why one was refused."""
    from jobs.cli.example import example_of
    from jobs.cli.payload import schema_of
    from jobs.cli.requests import make_request
    from jobs.errors import InvalidPayload, JobsError
    from jobs.requests import Preparer

    preparer = Preparer(app.default_queue, serializer=app.settings.get("job_serializer"))

    def judge(payload: Mapping[str, Any]) -> list[tuple[str, str]]:
        try:
            preparer.prepare(make_request(function, payload, {}))
        except InvalidPayload as error:
            return error.errors
        except JobsError as error:  # such as a key that its payload cannot have
            return [("payload", str(error))]
        return []

    return example_of(schema_of(function), judge)


def _print(
    cli: Cli,
    function: Function,
    example: Mapping[str, Any] | None,
    problems: list[tuple[str, str]],
) -> None:
    from jobs.cli.payload import schema_of

    if example is None:
        lines = [f"{name}: {problem}" for name, problem in problems]
        why = f"no example of the payload of {function.name!r} was found: its validators refuse it"
        if cli.quiet:
            raise Problem(why, f"`{PROGRAM} schema {function.name}`", Code.failed, lines)
        cli.say("\n".join([why, *lines]))
    compact = json.dumps(example, ensure_ascii=False)
    if cli.quiet:
        return cli.data(compact)
    cli.data(f"schema of {function.name}:")
    cli.data(json.dumps(schema_of(function), indent=2, ensure_ascii=False))
    if example is not None:
        cli.data("example:")
        cli.data(json.dumps(example, indent=2, ensure_ascii=False))
        cli.say(f"next: {PROGRAM} enqueue {function.name} --data {shlex.quote(compact)}")
    return None
