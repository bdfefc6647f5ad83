"""`retry`, `promote`, `change`, `duplicate`, `remove`: what an operator does to single jobs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
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
from jobs.cli.looking import Ids, QueueOption, locate
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
    if ids:
        one = _Retry(cli, data, edit=edit, reset=not keep_attempts)
        return act(cli, ids, queue, one, done="waits again", fitting=TERMINAL, dry_run=dry_run)
    chosen = _failed(cli, queue, last, before)
    return retry_many(cli, chosen, yes=yes, dry_run=dry_run, reset=not keep_attempts)


def _failed(cli: Cli, queue: str | None, last: int | None, before: str | None) -> list[JobInfo]:
    """The last jobs that failed before a moment, or all of them; the newest first."""
    from jobs.cli.metrics import check_queues, known_queues
    from jobs.cli.server import optional_app, talk
    from jobs.cli.when import read_at

    moment = None if before is None else read_at(before)
    app = optional_app(cli)

    async def of_queue(client: Client, name: str) -> list[tuple[datetime, JobInfo]]:
        found: list[tuple[datetime, JobInfo]] = []
        async for info in client.queue(name).iterate(State.failed):
            if last is not None and len(found) >= last:
                break
            at = info.finished_at
            if at is not None and (moment is None or at < moment):
                found.append((at, info))
        return found

    async def work(client: Client) -> list[JobInfo]:
        names = check_queues([queue] if queue else None, await known_queues(client, app))
        ended = [pair for name in names for pair in await of_queue(client, name)]
        ended.sort(key=lambda pair: pair[0], reverse=True)
        return [info for _, info in ended][:last]

    return talk(cli, app, work)


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


def promote(cli: Cli, ids: Ids, *, queue: QueueOption = None, dry_run: DryRunOption = False) -> int:
    """Make delayed jobs wait now, those between two attempts too."""

    async def one(client: Client, info: JobInfo) -> State | None:
        return (await client.queue(info.queue).promote([info.id]))[0]

    return act(cli, ids, queue, one, done="waiting", fitting={State.delayed}, dry_run=dry_run)


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
