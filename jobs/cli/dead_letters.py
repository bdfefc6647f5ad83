"""`dlq`: the dead letters, which are the failed jobs, kept with body, errors and history."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.acting import by_filter, narrowed
from jobs.cli.changing import DryRunOption, OptionalIds, YesOption, act, confirm
from jobs.cli.codes import Code, Problem
from jobs.cli.context import PROGRAM, Cli, plain
from jobs.cli.editor import DataOption, EditOption, new_payload
from jobs.cli.filters import check_queues, with_filter
from jobs.cli.looking import (
    LimitOption,
    QueueOption,
    error_text,
    locate,
    print_job,
    print_jobs,
)
from jobs.states import State

if TYPE_CHECKING:
    from jobs import Client, JobInfo
    from jobs.operations.letters import LetterGroup, LetterGroups
    from jobs.operations.search import Page

SHORT = 60
AfterOption = Annotated[
    str | None, typer.Option("--after", metavar="CURSOR", help="Go on behind the page before.")
]


def list_by_filter(
    cli: Cli, chosen: Any, limit: LimitOption = 50, after: AfterOption = None
) -> None:
    """List dead letters, newest first."""
    from jobs.cli.server import optional_app, talk

    async def work(client: Client) -> Page:
        await check_queues(client, app, chosen)
        return await client.search(narrowed(chosen, State.failed), limit=limit, after=after)

    app = optional_app(cli)
    page = talk(cli, app, work)
    print_jobs(cli, page.jobs, cursor=page.cursor, bounded=page.bounded)
    if not page.jobs:
        cli.say("no dead letters")
    elif not cli.json:
        _kinds(cli, page.jobs)
        cli.say(
            f"next: {PROGRAM} dlq show ID, {PROGRAM} dlq group, {PROGRAM} dlq retry ID...|--all"
        )


def _kinds(cli: Cli, found: list[JobInfo]) -> None:
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
    _check_dead(info)
    print_job(cli, info, app)


def _check_dead(info: JobInfo) -> None:
    if info.state is not State.failed:
        raise Problem(
            f"job {info.id!r} is no dead letter, it is {info.state}",
            f"`{PROGRAM} show {info.id}`",
            Code.refused,
        )


def group_by_filter(
    cli: Cli,
    chosen: Any,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many groups.")] = 20,
) -> None:
    """Dead letters by job and error, the most frequent first."""
    from jobs.cli.server import optional_app, talk

    async def work(client: Client) -> LetterGroups:
        await check_queues(client, app, chosen)
        return await client.dead_letters().groups(narrowed(chosen, State.failed))

    app = optional_app(cli)
    found = talk(cli, app, work)
    groups = found.groups[:limit]
    if cli.json:
        where = [{"queue": queue, "state": state} for queue, state in found.bounded]
        return cli.document(groups=groups, counted=found.counted, bounded=where)
    if groups:
        columns = ["count", "job", "error", "last", "first", "group", "newest"]
        cli.table(columns, [_group_row(group) for group in groups])
    cli.say(f"{found.counted} dead letters in {len(found.groups)} groups")
    for queue, _ in found.bounded:
        cli.say(f"of queue {plain(queue)} only the newest 10,000 were counted")
    return None


def _group_row(group: LetterGroup) -> list[object]:
    from jobs.cli.when import ago

    message = f"{group.error_type}: {group.message}"
    short = message if len(message) <= SHORT else message[: SHORT - 1] + "…"
    times = [f"{ago(at)} ago" for at in (group.last, group.first)]
    return [group.count, group.function, short, *times, group.fingerprint, group.ids[0]]


# -- back to work, or out of the way ----------------------------------------------------------


def retry_ids(
    cli: Cli, ids: OptionalIds = None, *, queue: QueueOption = None, dry_run: DryRunOption = False
) -> int:
    """Put dead letters back into their queues, with all their attempts."""

    async def one(client: Client, info: JobInfo) -> State | None:
        if info.state is not State.failed:
            return info.state
        return (await client.queue(info.queue).retry([info.id]))[0]

    fitting = {State.failed}
    return act(cli, _given(ids), queue, one, done="waits again", fitting=fitting, dry_run=dry_run)


def remove_ids(
    cli: Cli,
    ids: OptionalIds = None,
    *,
    queue: QueueOption = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
) -> int:
    """Delete dead letters for good."""

    async def one(client: Client, info: JobInfo) -> State | None:
        done = await client.dead_letters(info.queue).discard(ids=[info.id])
        return State.failed if done.done else info.state if info.state != State.failed else None

    given = _given(ids)
    if not dry_run:
        confirm(cli, f"remove {len(given)} dead letters", given, yes=yes)
    return act(cli, given, queue, one, done="removed", fitting={State.failed}, dry_run=dry_run)


def _given(ids: list[str] | None) -> list[str]:
    if not ids:
        raise Problem("give ids, a filter or --all", f"`{PROGRAM} dlq --help`")
    return ids


def edit(  # noqa: PLR0913 -- the options of a command
    cli: Cli,
    job_id: Annotated[str, typer.Argument(metavar="ID", help="The id of a dead letter.")],
    *,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Another value (repeat for more)."),
    ] = None,
    data: DataOption = None,
    in_editor: EditOption = False,
    queue: QueueOption = None,
) -> int:
    """Put a dead letter back with other arguments, checked before anything is done."""
    from jobs.cli.server import optional_app, talk

    if not changes and data is None and not in_editor:
        raise Problem("nothing to change: give --set, --data or --edit")
    pairs = [_pair(text) for text in changes or ()]

    async def work(client: Client) -> JobInfo:
        from jobs.operations.payloads import payload_of

        info = await locate(client, job_id, queue)
        _check_dead(info)
        view = client.queue(info.queue)
        if pairs:
            was = payload_of(info, app.functions.get(info.function) if app else None)
            values = {field: _like(was.get(field), text) for field, text in pairs}
            await client.dead_letters(info.queue).edit(job_id, values)
        else:
            payload = new_payload(app, info, data, edit=in_editor)
            await view.retry([job_id], payload=payload)
        return await view.job(job_id)

    app = optional_app(cli)
    info = talk(cli, app, work)
    if cli.json:
        cli.document(retried=[info.id], queue=info.queue)
    else:
        cli.data(plain(info.id))
    cli.say(f"{plain(info.id)} is {info.state} with its new arguments")
    return Code.ok


def _pair(text: str) -> tuple[str, str]:
    field, equals, value = text.partition("=")
    if not equals or not field:
        raise Problem(f"--set: expected FIELD=VALUE, not {text!r}")
    return field, value


def _like(was: Any, text: str) -> Any:
    """What was typed: text where text was, else what JSON makes of it."""
    from pydantic_core import from_json

    if isinstance(was, str):
        return text
    try:
        return from_json(text)
    except ValueError:
        return text


_WITHOUT = {"state"}
list_dead = with_filter(list_by_filter, _WITHOUT)
group = with_filter(group_by_filter, _WITHOUT)
retry = by_filter(retry_ids, "retry", State.failed)
remove = by_filter(remove_ids, "remove", State.failed)
