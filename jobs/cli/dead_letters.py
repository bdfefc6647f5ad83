"""`dlq`: the dead letters, which are the failed jobs, kept with body, errors and history."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.changing import DryRunOption, OptionalIds, YesOption, retry_many
from jobs.cli.codes import Code, Problem
from jobs.cli.context import PROGRAM, Cli
from jobs.cli.looking import (
    LimitOption,
    NameOption,
    QueueOption,
    error_text,
    find_jobs,
    locate,
    print_job,
    print_jobs,
)
from jobs.states import State

if TYPE_CHECKING:
    from jobs import JobInfo


def list_dead(
    cli: Cli, queue: QueueOption = None, name: NameOption = None, limit: LimitOption = 50
) -> None:
    """List dead letters, newest first."""
    found = find_jobs(cli, [State.failed], queue, name, limit)
    print_jobs(cli, found)
    if not found:
        cli.say("no dead letters")
    elif not cli.json:
        _groups(cli, found)
        cli.say(f"next: {PROGRAM} dlq show ID, {PROGRAM} dlq retry ID...|--all")


def _groups(cli: Cli, found: list[JobInfo]) -> None:
    counts = Counter((info.function, error_text(info.error).partition(":")[0]) for info in found)
    for (function, kind), count in counts.most_common(5):
        cli.say(f"{count} x {function}: {kind or 'no error kept'}")


def show_dead(
    cli: Cli,
    job_id: Annotated[str, typer.Argument(metavar="ID", help="The id of a dead letter.")],
    queue: QueueOption = None,
) -> None:
    """One dead letter: payload, errors, and every attempt."""
    from jobs.cli.server import optional_app, talk

    app = optional_app(cli)
    info = talk(cli, app, lambda client: locate(client, job_id, queue))
    if info.state is not State.failed:
        raise Problem(
            f"job {job_id!r} is no dead letter, it is {info.state}",
            f"`{PROGRAM} show {job_id}`",
            Code.refused,
        )
    print_job(cli, info, app)


def retry_dead(  # noqa: PLR0913 -- the options of a command
    cli: Cli,
    ids: OptionalIds = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Every dead letter.")] = False,
    queue: QueueOption = None,
    name: NameOption = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
) -> int:
    """Put dead letters back into their queues, with all their attempts."""
    if bool(ids) == everything:
        raise Problem("give ids or --all", f"`{PROGRAM} dlq retry --help`")
    found = find_jobs(cli, [State.failed], queue, name, None)
    chosen = [info for info in found if everything or info.id in (ids or ())]
    missing = sorted(set(ids or ()) - {info.id for info in chosen})
    for job_id in missing:
        typer.echo(f"error: no dead letter {job_id!r}", err=True)
    if missing and not chosen:
        return Code.not_found
    code = retry_many(cli, chosen, yes=yes or not everything, dry_run=dry_run)
    return Code.partial if missing else code
