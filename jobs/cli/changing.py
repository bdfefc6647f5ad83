"""`cancel`, and what all commands that change jobs share: asking first, one by one, codes."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.codes import Code, Problem
from jobs.cli.context import Cli, plain
from jobs.cli.looking import QueueOption, locate
from jobs.states import TERMINAL, State

if TYPE_CHECKING:
    from jobs import Client, JobInfo

Act = Callable[["Client", "JobInfo"], Awaitable[State | None]]

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would be done.")]
OptionalIds = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of jobs.")]
SHOWN = 5


def retry_many(
    cli: Cli, jobs: Sequence[JobInfo], *, yes: bool, dry_run: bool, reset: bool = True
) -> int:
    """Put these jobs back, after asking; 5 if only some could be."""
    if not jobs:
        cli.say("no failed jobs")
    if not dry_run and jobs:
        confirm(cli, f"retry {len(jobs)} failed jobs", [info.id for info in jobs], yes=yes)
    moved = [] if dry_run else _retry_all(cli, jobs, reset=reset)
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


def _retry_all(cli: Cli, jobs: Sequence[JobInfo], *, reset: bool) -> list[str]:
    from jobs.cli.server import optional_app, talk

    queues: dict[str, list[str]] = {}
    for info in jobs:
        queues.setdefault(info.queue, []).append(info.id)

    async def work(client: Client) -> list[str]:
        moved: list[str] = []
        for name, ids in queues.items():
            states = await client.queue(name).retry(ids, reset_attempts=reset)
            moved += [i for i, state in zip(ids, states, strict=True) if state in TERMINAL]
        return moved

    return talk(cli, optional_app(cli), work)


def cancel(
    cli: Cli,
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of jobs.")],
    queue: QueueOption = None,
    reason: Annotated[str, typer.Option("--reason", help="Kept in the job.")] = "cancelled",
    dry_run: DryRunOption = False,
) -> int:
    """Cancel waiting jobs at once; ask the workers of running ones to stop them."""

    async def one(client: Client, info: JobInfo) -> State | None:
        return await client.queue(info.queue).cancel(info.id, reason)

    live = frozenset(State) - TERMINAL
    return act(cli, ids, queue, one, done="cancelled", fitting=live, dry_run=dry_run)


def act(  # noqa: PLR0913 -- what to do, to which jobs, and how to call it
    cli: Cli,
    ids: Sequence[str],
    queue: str | None,
    one: Act,
    *,
    done: str,
    fitting: AbstractSet[State],
    dry_run: bool = False,
) -> int:
    """Do something to each job: 4 and 6 if none could be, 5 if some could not.

    With `dry_run` it is only looked whether it could be done.
    """
    from jobs.cli.server import optional_app, talk

    async def work(client: Client) -> list[dict[str, Any]]:
        do = _look if dry_run else one
        return [await _try(client, job_id, queue, do, fitting) for job_id in ids]

    results = talk(cli, optional_app(cli), work)
    if cli.json:
        jobs = [{k: v for k, v in r.items() if k != "code"} for r in results]
        cli.document(jobs=jobs, **({"dry_run": True} if dry_run else {}))
    for result in results:
        _tell(cli, result, f"to be {done}" if dry_run else done, asked=not dry_run)
    codes = {result["code"] for result in results}
    return codes.pop() if len(codes) == 1 else Code.partial


async def _look(_: Client, info: JobInfo) -> State | None:
    return info.state


async def _try(
    client: Client, job_id: str, queue: str | None, one: Act, fitting: AbstractSet[State]
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


def _tell(cli: Cli, result: dict[str, Any], done: str, *, asked: bool) -> None:
    if not result["done"]:
        return typer.echo(f"error: {plain(result['id'])}: {plain(result['error'])}", err=True)
    if not cli.json:
        cli.data(plain(result["id"]))
    more = " (its worker was asked to stop it)" if result["was"] is State.active and asked else ""
    cli.say(f"{plain(result['id'])} was {result['was']}, now {done}{more}")
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
