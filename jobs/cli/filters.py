"""The options that choose jobs, the same for every command: `--query`, `--state` and so on."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.codes import Code, Problem
from jobs.cli.command import Command
from jobs.cli.completing import BY_FLAG
from jobs.cli.context import Cli
from jobs.states import State

if TYPE_CHECKING:
    from jobs import Client, Filter
    from jobs.cli.application import Application

PANEL = "Filter"
#: Set by `with_filter`; the value that the command gets is a `Filter`.
CHOSEN = "chosen"


def _option(annotation: Any, *flags: str, text: str, metavar: str | None = None) -> Any:
    option = typer.Option(
        *flags,
        help=text,
        metavar=metavar,
        rich_help_panel=PANEL,
        show_default=False,
        autocompletion=BY_FLAG.get(flags[0]),
    )
    return Annotated[annotation, option]


OPTIONS: dict[str, Any] = {
    "query": _option(
        str | None,
        "--query",
        text='Such as: state:failed queue:email error:"timed out" since:1h args.to:a@b',
        metavar="TEXT",
    ),
    "state": _option(
        list[State] | None,
        "--state",
        text="Only this state (repeat for more): waiting, delayed, active, parked, failed, "
        "cancelled, expired, completed.",
        metavar="STATE",
    ),
    "queue": _option(str | None, "--queue", text="Only this queue; default: all.", metavar="NAME"),
    "name": _option(
        list[str] | None,
        "--name",
        text="Only jobs of this function, or fitting a pattern such as send_* (repeat for more).",
        metavar="JOB",
    ),
    "tag": _option(list[str] | None, "--tag", text="Only with this tag (repeat for all of them)."),
    "error": _option(
        list[str] | None, "--error", text="Only with this in the last error's type or message."
    ),
    "arg": _option(
        list[str] | None,
        "--arg",
        text="Only where an argument has this value; address.city for what is inside.",
        metavar="FIELD=VALUE",
    ),
    "since": _option(
        str | None, "--since", text="Only from then on: 1h ago, 14:00, 2026-12-01T09:00+01:00."
    ),
    "until": _option(str | None, "--until", text="Only before then."),
    "by": _option(
        str | None,
        "--by",
        text="The time that counts; default: the end of ended jobs, the enqueue of others.",
        metavar="enqueued|finished",
    ),
}


def parameters(without: Iterable[str] = ()) -> list[inspect.Parameter]:
    """The options as parameters of a command."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(name, keyword, annotation=annotation, default=None)
        for name, annotation in OPTIONS.items()
        if name not in without
    ]


def with_filter(function: Command, without: Iterable[str] = ()) -> Command:
    """The command with the options of a filter in place of its parameter `chosen`."""
    own = inspect.signature(function, eval_str=True).parameters.values()
    named = [parameter for parameter in own if parameter.name != CHOSEN]
    added = parameters(without)

    def run(cli: Cli, **values: Any) -> int | None:
        given = {parameter.name: values.pop(parameter.name) for parameter in added}
        return function(cli, **values, chosen=chosen_by(given))

    return as_command(run, function, [*named, *added])


def as_command(run: Command, like: Command, shown: list[inspect.Parameter]) -> Command:
    """`run` with the name and the help of another command, and the parameters to be shown."""
    run.__doc__, run.__name__ = like.__doc__, like.__name__
    run.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]  # read by `command`
    return run


def chosen_by(values: Mapping[str, Any]) -> Filter:
    """The filter that the options say; a query and options narrow each other.

    Raises:
        InvalidFilter: one of them cannot be.
        Problem: an `--arg` without a value, or a time that is given twice.
    """
    from dataclasses import replace

    from jobs.operations.filters import Filter

    said = Filter.of(values.get("query"))
    lists = {
        "states": values.get("state"),
        "queues": [values["queue"]] if values.get("queue") else None,
        "functions": values.get("name"),
    }
    for part, given in lists.items():
        if given and getattr(said, part):
            raise Problem(f"the query names {part} already; give them there or by option")
    changes: dict[str, Any] = {part: given for part, given in lists.items() if given}
    changes["tags"] = [*said.tags, *(values.get("tag") or ())]
    changes["errors"] = [*said.errors, *(values.get("error") or ())]
    changes["payload"] = {**said.payload, **_arguments(values.get("arg") or ())}
    for part in ("since", "until", "by"):
        if values.get(part) is not None:
            if getattr(said, part) is not None:
                raise Problem(f"the query has a `{part}` already; give it there or by option")
            changes[part] = values[part]
    return replace(said, **changes)


def _arguments(pairs: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        field, equals, value = pair.partition("=")
        if not equals or not field:
            raise Problem(f"--arg: expected FIELD=VALUE, not {pair!r}")
        found[field] = value
    return found


async def check_queues(client: Client, app: Application | None, chosen: Filter) -> None:
    """Refuse a filter that names a queue which does not exist.

    Raises:
        Problem: names it, and the nearest that does.
    """
    from jobs.cli import metrics

    names = await metrics.known_queues(client, app)
    plain = [name for name in chosen.queues if not set("*?[") & set(name)]
    metrics.check_queues(plain or None, names)
    if chosen.queues and not any(map(chosen.takes_queue, names)):
        raise Problem(f"no queue fits {', '.join(chosen.queues)}", code=Code.not_found)
