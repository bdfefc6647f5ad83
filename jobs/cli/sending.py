"""Sends one job, waits for its end if asked to, and shows jobs without their secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from jobs import Client, Job, Request
from jobs.cli.application import Application
from jobs.cli.codes import Code
from jobs.cli.context import PROGRAM, Cli
from jobs.cli.payload import fields_of, secret_names
from jobs.cli.server import talk
from jobs.codec import decode_body
from jobs.durations import to_seconds
from jobs.registry import Function
from jobs.requests import Preparer

MASK = "***"
_SECRET_NAME = re.compile(r"(?i)password|passwd|secret|token|api_?key|authorization|credential")


def send(
    cli: Cli, app: Application, request: Request, *, wait: bool, timeout: str | None
) -> int | None:
    """Enqueue one job; with `wait`, also print what its function returned."""
    limit_s = None if timeout is None else to_seconds(timeout, what="wait_timeout")

    async def work(client: Client) -> int | None:
        (job,) = await client.enqueue_many([request])
        if not wait:
            _report(cli, request.function, job)
            return None
        cli.say(f"{request.function} {job.id} enqueued in queue {job.queue!r}; waiting …")
        result = await job.result(limit_s)
        if cli.json:
            cli.document(job=_entry(request.function, job) | {"state": "completed"}, result=result)
        else:
            cli.data(as_text(result))
        return None

    return talk(cli, app, work)


def _report(cli: Cli, function: str, job: Job[Any]) -> None:
    if cli.json:
        return cli.document(job=_entry(function, job))
    cli.data(job.id)
    done = "was there already" if job.duplicate else "enqueued"
    cli.say(f"{function} {done} in queue {job.queue!r}; next: {PROGRAM} show {job.id}")
    return None


def _entry(function: str, job: Job[Any]) -> dict[str, Any]:
    return {
        "id": job.id,
        "queue": job.queue,
        "function": function,
        "duplicate": job.duplicate,
    }


def show(cli: Cli, app: Application, function: Function, request: Request) -> int:
    """What would be enqueued, as JSON."""
    prepared = Preparer(app.default_queue).prepare(request)
    body = decode_body(prepared.entry.id, prepared.entry.body)
    job = {
        "id": request.options.get("id"),
        "queue": prepared.queue,
        "function": request.function,
        "priority": prepared.entry.priority,
        "args": mask_arguments(body.args, function),
        "kwargs": mask(body.kwargs, function),
        "payload": mask(by_name(function, body.args, body.kwargs), function),
        "options": body.options,
        "bytes": len(prepared.entry.body),
    }
    cli.document(dry_run=True, job=job)
    cli.say("nothing was enqueued (--dry-run)")
    return Code.ok


def by_name(
    function: Function | None, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Arguments by the names of the function's parameters, as far as it is known."""
    plain = {"args": list(args), **kwargs} if args else dict(kwargs)
    if function is None or function.signature.model is not None:
        return plain
    try:
        return dict(function.signature.parameters.bind_partial(*args, **kwargs).arguments)
    except TypeError:  # the function has changed since
        return plain


def as_text(value: Any) -> str:
    """A result as one line: text as it is, everything else as JSON."""
    from pydantic_core import to_json

    return value if isinstance(value, str) else to_json(value, fallback=str).decode()


def mask(value: Any, function: Function | None = None) -> Any:
    """`value` with its secrets hidden: secret fields of the function, and telling names."""
    return _mask(value, secret_names(function) if function else set())


def mask_arguments(args: Sequence[Any], function: Function | None = None) -> list[Any]:
    """The same for positional arguments."""
    secret = [field.secret for field in fields_of(function)] if function else []
    return [
        MASK if hidden else mask(arg)
        for arg, hidden in zip_longest(args, secret[: len(args)], fillvalue=False)
    ]


def _mask(value: Any, secret: set[str]) -> Any:
    if isinstance(value, Mapping):
        return {
            key: MASK if item is not None and _is_secret(key, secret) else _mask(item, secret)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_mask(item, secret) for item in value]
    return value


def _is_secret(key: object, secret: set[str]) -> bool:
    return key in secret or _SECRET_NAME.search(str(key)) is not None
