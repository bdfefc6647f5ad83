"""`logs`, `events tail`, `events keep`: what jobs and queues tell."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.codes import Problem
from jobs.cli.completing import queue_names
from jobs.cli.context import Cli, plain
from jobs.cli.looking import QueueOption, locate

if TYPE_CHECKING:
    from jobs import Client, JobInfo
    from jobs.events import QueueEvent
    from jobs.notes import JobLog, LogLine

Queues = Annotated[
    list[str] | None,
    typer.Option(
        "--queue",
        metavar="NAME",
        help="Only these queues (repeat); default: all.",
        autocompletion=queue_names,
    ),
]


def logs(
    cli: Cli,
    job_id: Annotated[str, typer.Argument(metavar="ID", help="The id of a job.")],
    queue: QueueOption = None,
    attempt: Annotated[
        int | None, typer.Option("--attempt", min=1, help="Only the lines of this attempt.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")
    ] = False,
) -> None:
    """The log of one job: what it wrote with `ctx.log`, and captured records of `logging`."""
    from jobs.cli.server import optional_app, talk

    app = optional_app(cli)

    async def work(client: Client) -> None:
        info = await locate(client, job_id, queue)
        if follow:
            await _follow(cli, client, info.queue, job_id, attempt)
        else:
            log = await client.queue(info.queue).logs(job_id, attempt)
            _print_log(cli, info, log)

    talk(cli, app, work)


def _print_log(cli: Cli, info: JobInfo, log: JobLog) -> None:
    if cli.json:
        lines = [_line_of(line) for line in log]
        return cli.document(id=info.id, queue=info.queue, dropped=log.dropped, lines=lines)
    if log.dropped:
        cli.say(f"{log.dropped:,} older lines were dropped")
    if not log.lines:
        cli.say("the job has written no lines")
    for line in log:
        _print_line(cli, line)
    return None


async def _follow(cli: Cli, client: Client, queue: str, job_id: str, attempt: int | None) -> None:
    from jobs.operations.log_follower import follow_log

    async with aclosing(follow_log(client, queue, job_id)) as lines:
        async for line in lines:
            if attempt in {None, line.attempt}:
                _print_line(cli, line)


def _line_of(line: LogLine) -> dict[str, Any]:
    entry = {"at": line.at, "attempt": line.attempt, "level": line.level, "text": line.text}
    return entry | ({"logger": line.logger} if line.logger else {})


def _print_line(cli: Cli, line: LogLine) -> None:
    """One line for people, one document for programs."""
    if cli.json:
        return cli.document(line=_line_of(line))
    at = line.at.isoformat(timespec="milliseconds")
    first, *others = line.text.splitlines() or [""]
    logger = f" {line.logger}:" if line.logger else ""
    cli.data(plain(f"{at}  {line.level:<7} [{line.attempt}]{logger} {first}"))
    for text in others:
        cli.data("    " + plain(text))
    return None


# -- events --------------------------------------------------------------------------------


def tail(  # noqa: PLR0913 -- the options of a command
    cli: Cli,
    queue: Queues = None,
    job: Annotated[
        str | None, typer.Option("--job", metavar="ID", help="Only events of this job.")
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="EVENT", help="Only these events (repeat): completed …"),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="WHEN",
            help="Begin at a time (2026-12-01T09:00), so long ago (10m), behind an event (its id), "
            "or at the oldest that is kept (0); default: now.",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="End after so many; default: Ctrl-C.")
    ] = None,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="One JSON document a line.")] = False,
) -> None:
    """Follow what happens in the queues."""
    from jobs.cli.metrics import check_queues, known_queues
    from jobs.cli.server import optional_app, talk

    place = read_since(since)
    app = optional_app(cli)

    async def work(client: Client) -> None:
        if queue:
            check_queues(queue, await known_queues(client, app))
        left = limit
        reader = client.events(*(queue or ()), since=place, names=kind or (), job_id=job)
        async with reader:
            if not cli.json and not jsonl:
                cli.say("listening; Ctrl-C ends")
            async for event in reader:
                _print_event(cli, event, as_json=jsonl or cli.json)
                if left is not None and (left := left - 1) == 0:
                    return

    talk(cli, app, work)


def read_since(text: str | None) -> datetime | str | None:
    """Where to begin.

    Raises:
        Problem: the text is none of what it may be.
    """
    from jobs.cli.when import read_at
    from jobs.durations import to_ms
    from jobs.errors import InvalidOption

    if text is None or (text.isdigit() and (text == "0" or len(text) > 12)):  # noqa: PLR2004 -- ids count µs
        return text
    try:
        return datetime.now(UTC) - timedelta(milliseconds=to_ms(text, what="since"))
    except InvalidOption:
        pass
    try:
        return read_at(text)
    except Problem:
        raise Problem(
            f"--since: expected a time such as 2026-12-01T09:00, a duration such as 10m, the id "
            f"of an event, or 0, not {text!r}"
        ) from None


def _print_event(cli: Cli, event: QueueEvent, *, as_json: bool) -> None:
    if as_json:
        from jobs.cli.sending import mask

        fields = ("name", "queue", "job_id", "at", "id")
        document = {field: getattr(event, field) for field in fields}
        return cli.document(event=document | {"data": mask(event.data)})
    at = event.at.isoformat(timespec="milliseconds")
    words = f"{at}  {event.name:<18} {event.queue:<12} {event.job_id or '-':<14} {_note(event)}"
    cli.data(plain(words.rstrip()))
    return None


def _note(event: QueueEvent, limit: int = 120) -> str:
    """What matters most of an event's data, in a few words; no result, which may be secret."""
    data = event.data
    if event.name == "gap":
        return "some events are missing here"
    if isinstance(error := data.get("error"), dict):
        text = f"{error.get('type', '')}: {error.get('message', '')}"
    elif "due_ms" in data:
        from jobs.clock import from_ms

        text = f"due {from_ms(data['due_ms']).isoformat(timespec='milliseconds')}"
    else:
        known = ("function", "progress", "reason", "count", "deduplicated")
        text = " ".join(str(data[name]) for name in known if data.get(name) is not None)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def keep(
    cli: Cli,
    queues: Annotated[
        list[str],
        typer.Argument(metavar="QUEUE...", help="Names of queues.", autocompletion=queue_names),
    ],
    for_: Annotated[
        str | None, typer.Option("--for", metavar="24h", help="So long; default: for ever.")
    ] = None,
    stop: Annotated[
        bool, typer.Option("--stop", help="No more, until somebody listens again.")
    ] = False,
) -> None:
    """Have events written, whoever reads them; else it ends a day after the last reader."""
    from jobs.cli.server import optional_app, talk

    if stop and for_ is not None:
        raise Problem("--stop and --for exclude each other", "give one of them")
    duration = 0 if stop else for_
    app = optional_app(cli)

    async def work(client: Client) -> list[datetime]:
        return [await client.queue(name).keep_events(duration) for name in queues]

    _print_kept(cli, queues, talk(cli, app, work), stop=stop)


def _print_kept(cli: Cli, queues: Sequence[str], until: Sequence[datetime], *, stop: bool) -> None:
    if cli.json:
        found = [{"queue": name, "until": at} for name, at in zip(queues, until, strict=True)]
        return cli.document(queues=found)
    for name, at in zip(queues, until, strict=True):
        ever = "for ever" if at.year > 9000 else f"until {at.isoformat(timespec='seconds')}"  # noqa: PLR2004 -- no date
        cli.data(plain(f"{name}: events are written " + ("no more" if stop else ever)))
    return None
