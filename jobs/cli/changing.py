"""`retry` and `cancel`: put ended jobs back, stop jobs that have not ended."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.codes import Code, Problem
from jobs.cli.context import PROGRAM, Cli, plain
from jobs.cli.looking import QueueOption, find_jobs, locate
from jobs.states import TERMINAL, State

if TYPE_CHECKING:
    from jobs import Client, JobInfo

Act = Callable[["Client", "JobInfo"], Awaitable[State | None]]

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would be done.")]
OptionalIds = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of jobs.")]
SHOWN = 5


def retry(  # noqa: PLR0913 -- the options of a command
    cli: Cli,
    ids: OptionalIds = None,
    *,
    all_failed: Annotated[bool, typer.Option("--all-failed", help="Every failed job.")] = False,
    queue: QueueOption = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
) -> int:
    """Run ended jobs again, now, with all their attempts."""
    if bool(ids) == all_failed:
        raise Problem("give ids or --all-failed", f"`{PROGRAM} retry --help`")
    if ids and not dry_run:
        return act(cli, ids, queue, _retry_one, done="waits again", fitting=TERMINAL)
    found = find_jobs(cli, [State.failed], queue, None, None)
    chosen = [info for info in found if not ids or info.id in ids]
    return retry_many(cli, chosen, yes=yes, dry_run=dry_run)


async def _retry_one(client: Client, info: JobInfo) -> State | None:
    return (await client.queue(info.queue).retry([info.id]))[0]


def retry_many(cli: Cli, jobs: Sequence[JobInfo], *, yes: bool, dry_run: bool) -> int:
    """Put these jobs back, after asking; 5 if only some could be."""
    if not jobs:
        cli.say("no failed jobs")
    if not dry_run and jobs:
        confirm(cli, f"retry {len(jobs)} failed jobs", [info.id for info in jobs], yes=yes)
    moved = [] if dry_run else _retry_all(cli, jobs)
    verb = "would be retried" if dry_run else "wait again"
    count = len(jobs) if dry_run else len(moved)
    if cli.json:
        ids = [info.id for info in jobs] if dry_run else moved
        cli.document(dry_run=dry_run, retried=ids)
    else:
        for job_id in [info.id for info in jobs] if dry_run else moved:
            cli.data(plain(job_id))
    cli.say(f"{count} jobs {verb}")
    return Code.ok if dry_run or len(moved) == len(jobs) else Code.partial


def _retry_all(cli: Cli, jobs: Sequence[JobInfo]) -> list[str]:
    from jobs.cli.server import optional_app, talk

    queues: dict[str, list[str]] = {}
    for info in jobs:
        queues.setdefault(info.queue, []).append(info.id)

    async def work(client: Client) -> list[str]:
        moved: list[str] = []
        for name, ids in queues.items():
            states = await client.queue(name).retry(ids)
            moved += [i for i, state in zip(ids, states, strict=True) if state in TERMINAL]
        return moved

    return talk(cli, optional_app(cli), work)


def cancel(
    cli: Cli,
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of jobs.")],
    queue: QueueOption = None,
    reason: Annotated[str, typer.Option("--reason", help="Kept in the job.")] = "cancelled",
) -> int:
    """Cancel waiting jobs at once; ask the workers of running ones to stop them."""

    async def one(client: Client, info: JobInfo) -> State | None:
        return await client.queue(info.queue).cancel(info.id, reason)

    live = frozenset(State) - TERMINAL
    return act(cli, ids, queue, one, done="cancelled", fitting=live)


def act(  # noqa: PLR0913 -- what to do, to which jobs, and how to call it
    cli: Cli,
    ids: Sequence[str],
    queue: str | None,
    one: Act,
    *,
    done: str,
    fitting: frozenset[State],
) -> int:
    """Do something to each job: 4 and 6 if none could be, 5 if some could not."""
    from jobs.cli.server import optional_app, talk

    async def work(client: Client) -> list[dict[str, Any]]:
        return [await _try(client, job_id, queue, one, fitting) for job_id in ids]

    results = talk(cli, optional_app(cli), work)
    if cli.json:
        jobs = [{k: v for k, v in r.items() if k != "code"} for r in results]
        cli.document(jobs=jobs)
    for result in results:
        _tell(cli, result, done)
    codes = {result["code"] for result in results}
    return codes.pop() if len(codes) == 1 else Code.partial


async def _try(
    client: Client, job_id: str, queue: str | None, one: Act, fitting: frozenset[State]
) -> dict[str, Any]:
    from jobs.errors import JobNotFound

    try:
        info = await locate(client, job_id, queue)
    except (Problem, JobNotFound) as error:
        code = error.code if isinstance(error, Problem) else Code.not_found
        return {"id": job_id, "code": code, "done": False, "error": str(error)}
    found = await one(client, info)
    entry = {"id": job_id, "queue": info.queue, "was": found}
    if found is None:
        return entry | {"code": Code.not_found, "done": False, "error": "it is gone"}
    if found not in fitting:
        return entry | {"code": Code.refused, "done": False, "error": f"it is {found}"}
    return entry | {"code": Code.ok, "done": True}


def _tell(cli: Cli, result: dict[str, Any], done: str) -> None:
    if not result["done"]:
        return typer.echo(f"error: {plain(result['id'])}: {plain(result['error'])}", err=True)
    if not cli.json:
        cli.data(plain(result["id"]))
    asked = " (its worker was asked to stop it)" if result["was"] is State.active else ""
    cli.say(f"{plain(result['id'])} was {result['was']}, now {done}{asked}")
    return None


def confirm(cli: Cli, what: str, ids: Sequence[str], *, yes: bool) -> None:
    """Ask on a terminal; elsewhere `--yes` must have been given.

    Raises:
        Problem: nobody said yes.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Problem(f"without a terminal, {what} needs --yes", "add --yes", Code.refused)
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    cli.say(f"{', '.join(map(plain, ids[:SHOWN]))}{more}")
    if not typer.confirm(f"{what}?", err=True):
        raise Problem("nothing was done", code=Code.refused)
