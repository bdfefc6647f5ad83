"""`retry`, `promote`, `change`, `duplicate`, `remove`: what an operator does to single jobs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.changing import (
    DryRunOption,
    OptionalIds,
    YesOption,
    act,
    confirm,
    retry_many,
)
from jobs.cli.codes import Code, Problem
from jobs.cli.context import PROGRAM, Cli, plain
from jobs.cli.editor import DataOption, EditOption, new_payload
from jobs.cli.looking import Ids, QueueOption, find_jobs, locate
from jobs.states import TERMINAL, State

if TYPE_CHECKING:
    from datetime import datetime

    from jobs import Client, JobInfo
    from jobs.cli.application import Application

OneId = Annotated[str, typer.Argument(metavar="ID", help="The id of a job.")]
InOption = Annotated[
    str | None, typer.Option("--in", metavar="5m", help="It may run so long from now.")
]
AtOption = Annotated[
    str | None,
    typer.Option("--at", metavar="TIME", help="It may run at 2026-12-01T09:00[Europe/Berlin]."),
]


# -- retry --------------------------------------------------------------------------------


def retry(  # noqa: PLR0913 -- the options of a command
    cli: Cli,
    ids: OptionalIds = None,
    *,
    all_failed: Annotated[bool, typer.Option("--all-failed", help="Every failed job.")] = False,
    last: Annotated[
        int | None, typer.Option("--last", metavar="N", min=1, help="The last N that failed.")
    ] = None,
    before: Annotated[
        str | None,
        typer.Option("--before", metavar="TIME", help="Only those that failed before this."),
    ] = None,
    keep_attempts: Annotated[
        bool, typer.Option("--keep-attempts", help="One more attempt, not all of them again.")
    ] = False,
    data: DataOption = None,
    edit: EditOption = False,
    queue: QueueOption = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
) -> int:
    """Run ended jobs again, now, with all their attempts; one with another payload if you like."""
    many = all_failed or last is not None
    if bool(ids) == many or (before is not None and not many):
        raise Problem(
            "give ids, --all-failed or --last N; --before goes with the last two",
            f"`{PROGRAM} retry --help`",
        )
    if (data is not None or edit) and (ids is None or len(ids) != 1):
        raise Problem("--data and --edit are for one job: give its id")
    if ids and not dry_run:
        one = _Retry(cli, data, edit=edit, reset=not keep_attempts)
        return act(cli, ids, queue, one, done="waits again", fitting=TERMINAL)
    found = find_jobs(cli, [State.failed], queue, None, None)
    chosen = [info for info in found if not ids or info.id in ids]
    if many:
        chosen = _last_before(chosen, last, before)
    return retry_many(cli, chosen, yes=yes, dry_run=dry_run, reset=not keep_attempts)


def _last_before(jobs: list[JobInfo], last: int | None, before: str | None) -> list[JobInfo]:
    """Of these, the last that ended before a moment; the newest first."""
    from datetime import UTC, datetime

    from jobs.cli.when import read_at

    early = datetime.min.replace(tzinfo=UTC)
    ended = sorted(jobs, key=lambda info: info.finished_at or early, reverse=True)
    if before is not None:
        moment = read_at(before)
        ended = [info for info in ended if (info.finished_at or early) < moment]
    return ended[:last]


class _Retry:
    """Retries one job, with another payload if there is to be one."""

    def __init__(self, cli: Cli, data: str | None, *, edit: bool, reset: bool) -> None:
        from jobs.cli.server import optional_app

        self._app = optional_app(cli)
        self._data, self._edit, self._reset = data, edit, reset

    async def __call__(self, client: Client, info: JobInfo) -> State | None:
        payload = None
        if info.state in TERMINAL:
            payload = new_payload(self._app, info, self._data, edit=self._edit)
        view = client.queue(info.queue)
        found = await view.retry([info.id], reset_attempts=self._reset, payload=payload)
        return found[0]


# -- promote, remove ----------------------------------------------------------------------


def promote(  # noqa: PLR0913 -- the options of a command
    cli: Cli,
    ids: OptionalIds = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Every delayed job.")] = False,
    queue: QueueOption = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
) -> int:
    """Make delayed jobs wait now, those between two attempts too."""
    if bool(ids) == everything:
        raise Problem("give ids or --all", f"`{PROGRAM} promote --help`")
    if not everything:
        return act(
            cli, ids or [], queue, _promote, done="waiting", fitting={State.delayed},
            dry_run=dry_run,
        )  # fmt: skip
    found = find_jobs(cli, [State.delayed], queue, None, None)
    ids = [info.id for info in found]
    if ids and not dry_run:
        confirm(cli, f"promote {len(ids)} delayed jobs", ids, yes=yes)
    moved = ids if dry_run else _each_queue(cli, found, _promote_many)
    _print_many(cli, moved, "would be promoted" if dry_run else "wait now", dry_run=dry_run)
    return Code.ok if len(moved) == len(ids) else Code.partial


async def _promote(client: Client, info: JobInfo) -> State | None:
    return (await client.queue(info.queue).promote([info.id]))[0]


async def _promote_many(client: Client, queue: str, ids: Sequence[str]) -> list[str]:
    states = await client.queue(queue).promote(ids)
    return [i for i, state in zip(ids, states, strict=True) if state is State.delayed]


def _each_queue(
    cli: Cli,
    jobs: Sequence[JobInfo],
    some: Callable[[Client, str, Sequence[str]], Awaitable[list[str]]],
) -> list[str]:
    """Do something to the jobs of each queue; the ids of those to which it was done."""
    from jobs.cli.server import optional_app, talk

    queues: dict[str, list[str]] = {}
    for info in jobs:
        queues.setdefault(info.queue, []).append(info.id)

    async def work(client: Client) -> list[str]:
        done: list[str] = []
        for name, ids in queues.items():
            done += await some(client, name, ids)
        return done

    return talk(cli, optional_app(cli), work)


def _print_many(cli: Cli, ids: Sequence[str], verb: str, *, dry_run: bool) -> None:
    if cli.json:
        cli.document(dry_run=dry_run, jobs=[{"id": job_id} for job_id in ids])
    else:
        for job_id in ids:
            cli.data(plain(job_id))
    cli.say(f"{len(ids)} jobs {verb}")


def remove(
    cli: Cli,
    ids: Ids,
    *,
    queue: QueueOption = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
) -> int:
    """Delete jobs with their results and histories; running ones are refused."""

    async def one(client: Client, info: JobInfo) -> State | None:
        return (await client.queue(info.queue).remove([info.id]))[0]

    if not dry_run:
        confirm(cli, f"remove {len(ids)} jobs", ids, yes=yes)
    fitting = frozenset(State) - {State.active}
    return act(cli, ids, queue, one, done="removed", fitting=fitting, dry_run=dry_run)


# -- change, duplicate --------------------------------------------------------------------


def change(  # noqa: PLR0913 -- the options of a command
    cli: Cli,
    job_id: OneId,
    *,
    priority: Annotated[
        int | None, typer.Option("--priority", help="1 (first) to 1000 (last).", show_default=False)
    ] = None,
    delay: InOption = None,
    at: AtOption = None,
    data: DataOption = None,
    edit: EditOption = False,
    queue: QueueOption = None,
    dry_run: DryRunOption = False,
) -> int:
    """Edit a job that waits, is delayed or is parked: priority, time, payload."""
    if priority is None and delay is None and at is None and data is None and not edit:
        raise Problem("nothing to change: give --priority, --in, --at, --data or --edit")
    run_at = _when(delay, at)

    async def work(client: Client, app: Application | None) -> JobInfo:
        info = await locate(client, job_id, queue)
        payload = new_payload(app, info, data, edit=edit)
        if not dry_run:
            await client.queue(info.queue).change(
                job_id, payload=payload, priority=priority, delay=delay, run_at=run_at
            )
            info = await client.queue(info.queue).job(job_id)
        return info

    info = _talk(cli, work)
    if cli.json:
        from jobs.cli.looking import summary

        cli.document(dry_run=dry_run, job=summary(info))
    else:
        cli.data(plain(job_id))
    cli.say(f"{plain(job_id)} {'would be' if dry_run else 'was'} changed; it is {info.state}")
    return Code.ok


def duplicate(  # noqa: PLR0913 -- the options of a command
    cli: Cli,
    job_id: OneId,
    *,
    new_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="The id of the copy; default: new.")
    ] = None,
    delay: InOption = None,
    at: AtOption = None,
    data: DataOption = None,
    edit: EditOption = False,
    queue: QueueOption = None,
    dry_run: DryRunOption = False,
) -> int:
    """Enqueue a copy of a job, with another payload if you like."""
    run_at = _when(delay, at)

    async def work(client: Client, app: Application | None) -> tuple[str, str]:
        info = await locate(client, job_id, queue)
        payload = new_payload(app, info, data, edit=edit)
        if dry_run:
            return info.queue, new_id or ""
        view = client.queue(info.queue)
        copy = await view.duplicate(job_id, payload=payload, id=new_id, delay=delay, run_at=run_at)
        return info.queue, copy.id

    name, copy_id = _talk(cli, work)
    if cli.json:
        cli.document(dry_run=dry_run, id=copy_id or None, queue=name, copy_of=job_id)
    elif not dry_run:
        cli.data(plain(copy_id))
    cli.say(f"{plain(job_id)} {'would be copied' if dry_run else f'copied into {plain(name)}'}")
    return Code.ok


def _when(delay: str | None, at: str | None) -> datetime | None:
    """The moment of --at.

    Raises:
        Problem: it is none, or --in was given too.
    """
    from jobs.cli.when import read_at

    if delay is not None and at is not None:
        raise Problem("give --in or --at, not both")
    return None if at is None else read_at(at)


def _talk(cli: Cli, work: Callable[[Client, Application | None], Awaitable[Any]]) -> Any:
    from jobs.cli.server import optional_app, talk

    app = optional_app(cli)
    return talk(cli, app, lambda client: work(client, app))
