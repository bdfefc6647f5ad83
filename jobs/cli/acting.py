"""`retry`, `cancel`, `promote`, `remove` for everything that a filter means."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from jobs.cli.changing import DryRunOption, OptionalIds, YesOption, confirm
from jobs.cli.codes import Code, Problem
from jobs.cli.command import Command
from jobs.cli.context import PROGRAM, Cli, fancy, plain
from jobs.cli.filters import PANEL, as_command, check_queues, chosen_by, parameters
from jobs.states import State

if TYPE_CHECKING:
    from jobs import Client, Filter
    from jobs.operations.actions import BulkResult
    from jobs.operations.bulk import Bulk, OnProgress


class Do(Protocol):
    """Does it to everything that is meant."""

    def __call__(
        self, bulk: Bulk, told: OnProgress | None = None, *, dry_run: bool = False
    ) -> Awaitable[BulkResult]:
        """Do it, or with `dry_run` find what it would be done to."""


RateOption = Annotated[
    str | None, typer.Option("--rate", metavar="10/s", help="No faster than this.")
]
AllOption = Annotated[
    bool, typer.Option("--all", help="Every job that allows it.", rich_help_panel=PANEL)
]
MostOption = Annotated[
    int | None,
    typer.Option(
        "--limit", min=1, help="Only the first so many that fit.", rich_help_panel=PANEL,
        show_default=False,
    ),
]  # fmt: skip
#: The name of the ids to which something was done.
DONE = {"retry": "retried", "cancel": "cancelled", "promote": "promoted", "remove": "removed",
        "archive": "archived"}  # fmt: skip
_OWN = {"ids", "queue", "yes", "dry_run", "reason", "everything"}


def by_filter(function: Command, action: str, state: State | None = None) -> Command:
    """A command for jobs by id that also takes the options of a filter, and `--all`.

    Args:
        function: the command; it gets what was given when there is no filter.
        action: what is done: retry, cancel, promote, remove.
        state: only jobs of this state; then there is no option for it.
    """
    signature = inspect.signature(function, eval_str=True).parameters
    own = [_optional_ids(parameter) for parameter in signature.values()]
    added = parameters(without={*signature, "state"} if state else signature)
    extra: dict[str, Any] = {"everything": AllOption, "most": MostOption, "yes": YesOption}
    extra |= {"dry_run": DryRunOption} | ({"rate": RateOption} if action == "retry" else {})
    added += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)
        for name, kind in extra.items()
        if name not in signature
        for default in [None if name in {"most", "rate"} else False]
    ]
    names = [parameter.name for parameter in added]

    def run(cli: Cli, **values: Any) -> int | None:
        given = {name: values[name] for name in names}
        everything = values.get("everything")
        if everything and values.get("ids"):
            raise Problem("give ids or --all, not both")
        if not everything and not any(value for n, value in given.items() if n not in _OWN):
            if not values.get("ids") and _needs_ids(signature):
                raise Problem("give ids, a filter or --all", f"`{PROGRAM} {action} --help`")
            return function(cli, **{name: values[name] for name in signature if name in values})
        _check_alone(signature, values)
        chosen = narrowed(chosen_by(values), state)
        return act(cli, chosen, action, values)

    return as_command(run, function, [*own, *added])


def narrowed(chosen: Filter, state: State | None) -> Filter:
    """The filter, for jobs of one state alone.

    Raises:
        Problem: the query names another one.
    """
    from dataclasses import replace

    if state is None:
        return chosen
    if set(chosen.states) - {state}:
        raise Problem(f"this command is for {state} jobs: leave the state out of the query")
    return replace(chosen, states=[state])


def _optional_ids(parameter: inspect.Parameter) -> inspect.Parameter:
    if parameter.name != "ids":
        return parameter
    return parameter.replace(annotation=OptionalIds, default=None)


def _needs_ids(signature: Any) -> bool:
    return "ids" in signature and signature["ids"].default is inspect.Parameter.empty


def _check_alone(signature: Any, values: dict[str, Any]) -> None:
    """Refuse what a command for single jobs takes beside a filter."""
    for name in signature:
        if name == "ids" and values.get("ids"):
            raise Problem("give ids or a filter, not both")
        if name not in {"cli", *_OWN} and values.get(name):
            raise Problem(f"--{name.replace('_', '-')} does not go with a filter")


def act(cli: Cli, chosen: Filter, action: str, values: dict[str, Any]) -> int:
    """Do something to everything that is meant, after asking; 5 if some could not be."""

    def do(
        bulk: Bulk, told: OnProgress | None = None, *, dry_run: bool = False
    ) -> Awaitable[BulkResult]:
        options: dict[str, Any] = {"on_progress": told, "dry_run": dry_run}
        if action == "retry":
            options["rate"] = values.get("rate")
        if action == "cancel":
            options["reason"] = values.get("reason") or "cancelled"
        result: Awaitable[BulkResult] = getattr(bulk, action)(**options)
        return result

    def bulk_of(client: Client) -> Bulk:
        everything, most = bool(values.get("everything")), values.get("most")
        return client.bulk(chosen, everything=everything, limit=most)

    return act_on(cli, chosen, action, bulk_of, do, yes=values["yes"], dry_run=values["dry_run"])


def act_on(  # noqa: PLR0913 -- what is done, to what, and whether it is asked before
    cli: Cli,
    chosen: Filter,
    action: str,
    bulk_of: Callable[[Client], Bulk],
    do: Do,
    *,
    yes: bool,
    dry_run: bool,
) -> int:
    """Find what is meant, ask, do it with a progress bar, and tell what came of it."""
    from jobs.cli.server import optional_app, talk

    app = optional_app(cli)

    async def look(client: Client) -> BulkResult:
        await check_queues(client, app, chosen)
        return await do(bulk_of(client), dry_run=True)

    async def work(client: Client) -> BulkResult:
        with progress_bar(cli, action) as told:
            return await do(bulk_of(client), told)

    found = talk(cli, app, look)
    if not found.total:
        cli.say("no such jobs")
    if not dry_run and found.total:
        states = " or ".join(chosen.states)
        what = f"{action} {found.total} {states} jobs".replace("  ", " ")
        confirm(cli, what, found.ids, yes=yes)
        found = talk(cli, app, work)
    return tell(cli, found)


def tell(cli: Cli, result: BulkResult) -> int:
    """Say what came of an action on many jobs; 5 if some could not be acted on."""
    if cli.json:
        cli.document(
            dry_run=result.dry_run,
            action=result.action,
            total=result.total,
            done=result.done,
            failed=result.failed,
            **{DONE[result.action]: result.ids},
        )
    else:
        for job_id in result.ids:
            cli.data(plain(job_id))
    if result.dry_run:
        cli.say(f"{result.action}: would be done to {result.total} jobs")
    elif result.total:
        left = f"; {result.failed} were elsewhere when their turn came" if result.failed else ""
        cli.say(f"{result.action}: done to {result.done} of {result.total} jobs{left}")
    return Code.partial if result.partial else Code.ok


@contextmanager
def progress_bar(cli: Cli, what: str) -> Iterator[OnProgress | None]:
    """A bar on standard error, on a terminal; told of the progress of a bulk action."""
    if cli.quiet or not fancy(sys.stderr):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda at: bar.update(task, completed=at.done + at.failed, total=at.total)
