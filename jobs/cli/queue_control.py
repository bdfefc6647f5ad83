"""`pause`, `resume`, `drain`, `clean`, `obliterate`: what an operator does to whole queues."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.changing import DryRunOption, YesOption, confirm
from jobs.cli.codes import Code, Problem
from jobs.cli.completing import job_names, queue_names
from jobs.cli.context import PROGRAM, Cli, plain
from jobs.states import State

if TYPE_CHECKING:
    from jobs import Client
    from jobs.queues import QueueView

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[QUEUE]...", help="Names of queues.", autocompletion=queue_names),
]
Name = Annotated[
    str, typer.Argument(metavar="QUEUE", help="The name of a queue.", autocompletion=queue_names)
]
AllOption = Annotated[bool, typer.Option("--all", help="Every queue.")]
FunctionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--function",
        metavar="NAME",
        help="Only jobs of this function (repeatable).",
        autocompletion=job_names,
    ),
]
CLEANED = [State.completed, State.failed, State.cancelled, State.expired, State.waiting,
           State.delayed, State.parked]  # fmt: skip


# -- pause --------------------------------------------------------------------------------


def pause(  # noqa: PLR0913 -- the options of a command
    cli: Cli,
    queues: Names = None,
    *,
    everything: AllOption = False,
    function: FunctionOption = None,
    reason: Annotated[str, typer.Option("--reason", help="Why, for those who look.")] = "",
    dry_run: DryRunOption = False,
) -> int:
    """Stop handing out jobs; running ones finish, and jobs can still be enqueued."""

    async def one(view: QueueView) -> bool:
        return await view.pause(reason, functions=function or ())

    done = _each(cli, queues, one, everything=everything, dry_run=dry_run)
    return _told(cli, done, function, "paused", "was paused before", dry_run=dry_run)


def resume(
    cli: Cli,
    queues: Names = None,
    *,
    everything: AllOption = False,
    function: FunctionOption = None,
    dry_run: DryRunOption = False,
) -> int:
    """Hand out jobs again; with --all every queue that is paused."""
    from jobs.errors import WrongState

    async def one(view: QueueView) -> bool:
        try:
            await view.resume(functions=function or ())
        except WrongState as error:
            if not everything:
                typer.echo(f"error: {plain(error)}", err=True)
            return False
        return True

    done = _each(cli, queues, one, everything=everything, dry_run=dry_run)
    if everything and not dry_run:
        done = {name: changed for name, changed in done.items() if changed}
        if not done:
            raise Problem("no queue is paused", code=Code.refused)
    code = _told(cli, done, function, "resumed", "", dry_run=dry_run)
    if all(done.values()):
        return code
    return Code.partial if any(done.values()) else Code.refused


def _each(
    cli: Cli,
    queues: Sequence[str] | None,
    one: Callable[[QueueView], Awaitable[bool]],
    *,
    everything: bool,
    dry_run: bool,
) -> dict[str, bool]:
    """Do something to each queue that was named, or to all; whether it changed anything.

    Raises:
        Problem: neither names nor --all, or both, or a queue that does not exist.
    """
    from jobs.cli.metrics import check_queues, known_queues
    from jobs.cli.server import optional_app, talk

    if bool(queues) == everything:
        raise Problem("give names of queues or --all")
    app = optional_app(cli)

    async def work(client: Client) -> dict[str, bool]:
        known = await known_queues(client, app)
        names = check_queues(list(queues) if queues else None, known)
        return {name: dry_run or await one(client.queue(name)) for name in names}

    return talk(cli, app, work)


def _told(  # noqa: PLR0913 -- what was done to which queues, in which words
    cli: Cli,
    done: dict[str, bool],
    functions: Sequence[str] | None,
    verb: str,
    already: str,
    *,
    dry_run: bool,
) -> int:
    if cli.json:
        queues = [{"queue": name, "done": changed} for name, changed in done.items()]
        cli.document(dry_run=dry_run, queues=queues, functions=list(functions or []))
    what = f" ({', '.join(map(plain, functions))} only)" if functions else ""
    for name, changed in done.items():
        if changed and not cli.json:
            cli.data(plain(name))
        if changed or already:
            words = f"would be {verb}" if dry_run else verb if changed else already
            cli.say(f"{plain(name)}{what} {words}")
    return Code.ok


# -- drain, clean, obliterate -------------------------------------------------------------


def drain(
    cli: Cli,
    queue: Name,
    *,
    delayed: Annotated[bool, typer.Option("--delayed", help="Delayed jobs too.")] = False,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
) -> int:
    """Remove the jobs that wait; running ones finish."""
    states = [State.waiting, State.delayed] if delayed else [State.waiting]

    async def count(view: QueueView) -> int:
        counts = await view.counts()
        return sum(counts[state] for state in states)

    async def work(view: QueueView) -> int:
        return await view.drain(delayed=delayed)

    return _remove(cli, queue, "drain", states, count, work, yes=yes, dry_run=dry_run)


def clean(  # noqa: PLR0913 -- the options of a command
    cli: Cli,
    queue: Name,
    *,
    state: Annotated[
        str,
        typer.Option("--state", metavar="STATE", help=f"One of {', '.join(CLEANED)}."),
    ],
    older: Annotated[
        str, typer.Option("--older", metavar="7d", help="Only what ended so long ago.")
    ] = "0",
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="At most so many, the oldest.")
    ] = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
) -> int:
    """Remove jobs of one state past an age."""

    async def count(view: QueueView) -> int:
        return await view.clean(state=state, older_than=older, limit=limit, dry_run=True)

    async def work(view: QueueView) -> int:
        return await view.clean(state=state, older_than=older, limit=limit)

    return _remove(cli, queue, "clean", [state], count, work, yes=yes, dry_run=dry_run)


def obliterate(
    cli: Cli,
    queue: Name,
    *,
    name: Annotated[
        str | None, typer.Option("--confirm", metavar="QUEUE", help="The name once more.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also while jobs run.")] = False,
    dry_run: DryRunOption = False,
) -> int:
    """Delete a queue and everything in it."""
    if not dry_run and name != queue:
        said = "" if name is None else f", not {name!r}"
        raise Problem(
            f"to delete the whole queue say its name again: --confirm {plain(queue)}{said}",
            f"`{PROGRAM} obliterate {plain(queue)} --dry-run` tells what it holds",
            Code.refused,
        )

    async def count(view: QueueView) -> int:
        return sum((await view.counts()).values())

    async def work(view: QueueView) -> int:
        return await view.obliterate(confirm=name or "", force=force)

    return _remove(cli, queue, "obliterate", [], count, work, yes=True, dry_run=dry_run)


def _remove(  # noqa: PLR0913 -- what, how to count it, how to do it, whether to ask
    cli: Cli,
    name: str,
    verb: str,
    states: Sequence[str],
    count: Callable[[QueueView], Awaitable[int]],
    work: Callable[[QueueView], Awaitable[int]],
    *,
    yes: bool,
    dry_run: bool,
) -> int:
    """Count what would go, ask, remove it, and tell."""
    which = f"{' and '.join(states)} jobs" if states else "jobs"
    number = _with_queue(cli, name, count)
    if number and not dry_run and not yes:
        confirm(cli, f"{verb} {name}: remove {number} {which}", [], yes=yes)
    removed = number if dry_run else _with_queue(cli, name, work)
    if cli.json:
        cli.document(dry_run=dry_run, queue=name, removed=removed)
    else:
        cli.data(str(removed))
    cli.say(f"{removed} {which} {'would be' if dry_run else 'were'} removed from {plain(name)}")
    return Code.ok


def _with_queue(cli: Cli, name: str, work: Callable[[QueueView], Awaitable[Any]]) -> Any:
    from jobs.cli.metrics import check_queues, known_queues
    from jobs.cli.server import optional_app, talk

    app = optional_app(cli)

    async def main(client: Client) -> Any:
        check_queues([name], await known_queues(client, app))
        return await work(client.queue(name))

    return talk(cli, app, main)
