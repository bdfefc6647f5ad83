"""`list`, `show`, `wait`: what the queues hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.codes import Code, Problem
from jobs.cli.completing import queue_names
from jobs.cli.context import Cli, plain
from jobs.cli.filters import check_queues, with_filter
from jobs.states import State

if TYPE_CHECKING:
    from jobs import Client, JobInfo
    from jobs.cli.application import Application
    from jobs.operations.search import Page

QueueOption = Annotated[
    str | None,
    typer.Option(
        "--queue", metavar="NAME", help="Only this queue; default: all.", autocompletion=queue_names
    ),
]
LimitOption = Annotated[int, typer.Option("--limit", min=1, help="At most so many.")]
NameOption = Annotated[
    str | None, typer.Option("--name", metavar="JOB", help="Only jobs of this function.")
]
Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of jobs.")]

STATES = [State.active, State.waiting, State.delayed, State.parked, State.failed, State.cancelled,
          State.expired, State.completed]  # fmt: skip


_SORTS: dict[str, Callable[[JobInfo], Any]] = {
    "enqueued": lambda info: info.enqueued_at,
    "finished": lambda info: (info.finished_at is None, info.finished_at or info.enqueued_at),
    "attempts": lambda info: -info.attempt,
    "name": lambda info: info.function,
    "queue": lambda info: info.queue,
    "id": lambda info: info.id,
}


def list_by_filter(  # noqa: PLR0913 -- the options of a command
    cli: Cli,
    chosen: Any,
    limit: LimitOption = 50,
    after: Annotated[
        str | None,
        typer.Option("--after", metavar="CURSOR", help="Go on behind the page before."),
    ] = None,
    reverse: Annotated[
        bool, typer.Option("--reverse", help="Each state the other way round.")
    ] = False,
    sort: Annotated[
        str | None,
        typer.Option("--sort", metavar="FIELD", help="Sort what is listed: " + ", ".join(_SORTS)),
    ] = None,
) -> None:
    """List jobs: running ones first, ended ones last, the newest ended first."""
    from jobs.cli.server import optional_app, talk

    by = _sort_key(sort)

    async def work(client: Client) -> Page:
        await check_queues(client, app, chosen)
        return await client.search(chosen, limit=limit, after=after, backwards=reverse)

    app = optional_app(cli)
    page = talk(cli, app, work)
    jobs = sorted(page.jobs, key=by) if by else page.jobs
    if not jobs:
        cli.say("no such jobs")
    print_jobs(cli, jobs, cursor=page.cursor, bounded=page.bounded)


list_jobs = with_filter(list_by_filter)


def _sort_key(sort: str | None) -> Callable[[JobInfo], Any] | None:
    from jobs.errors import did_you_mean

    if sort is None:
        return None
    if sort not in _SORTS:
        raise Problem(
            f"--sort: there is no field {sort!r}{did_you_mean(sort, _SORTS)}",
            f"the fields are {', '.join(_SORTS)}",
        )
    return _SORTS[sort]


def find_jobs(
    cli: Cli, states: Sequence[State], queue: str | None, name: str | None, limit: int | None
) -> list[JobInfo]:
    """Jobs in these states, at most `limit` of them, in all queues or one.

    Raises:
        Problem: there is no such queue.
    """
    from jobs.cli.metrics import check_queues, known_queues
    from jobs.cli.server import optional_app, talk

    async def work(client: Client) -> list[JobInfo]:
        names = check_queues([queue] if queue else None, await known_queues(client, app))
        found: list[JobInfo] = []
        for state in states:
            for queue_name in names:
                async for info in client.queue(queue_name).iterate(state):
                    if limit is not None and len(found) >= limit:
                        return found
                    if name in {None, info.function}:
                        found.append(info)
        return found

    app = optional_app(cli)
    return talk(cli, app, work)


def print_jobs(
    cli: Cli,
    jobs: Sequence[JobInfo],
    *,
    cursor: str | None = None,
    bounded: Sequence[tuple[str, State]] = (),
) -> None:
    """Jobs as a table, as JSON, or as ids alone; how to go on, and what was not looked at."""
    if cli.json:
        where = [{"queue": queue, "state": state} for queue, state in bounded]
        cli.document(jobs=[summary(info) for info in jobs], cursor=cursor, bounded=where)
    elif cli.quiet:
        for info in jobs:
            cli.data(plain(info.id))
    elif jobs:
        columns = ["id", "job", "queue", "state", "attempt", "enqueued", "note"]
        cli.table(columns, [_row(info) for info in jobs])
    for queue, state in bounded:
        cli.say(f"of the {state} jobs of queue {plain(queue)} only the first 10,000 were looked at")
    if cursor is not None and not cli.json:
        cli.say(f"there may be more: --after {cursor}")


def _row(info: JobInfo) -> list[object]:
    from jobs.cli.when import ago

    enqueued = f"{ago(info.enqueued_at)} ago"
    return [info.id, info.function, info.queue, info.state, info.attempt, enqueued, _note(info)]


def _note(info: JobInfo, limit: int = 100) -> str:
    from jobs.cli.when import until

    if info.state is State.delayed:
        return f"due in {until(info.due_at)}"
    text = error_text(info.error) if info.state is not State.completed else ""
    if not text and info.history:
        text = str(info.history[-1].get("reason") or "")
    return text if len(text) <= limit else text[: limit - 1] + "…"


def error_text(error: dict[str, Any] | None) -> str:
    """`ValueError: the message`, or nothing."""
    return f"{error.get('type', '')}: {error.get('message', '')}" if error else ""


def summary(info: JobInfo) -> dict[str, Any]:
    """One job for lists: no payload, no traceback."""
    error = info.error
    return {
        "id": info.id,
        "queue": info.queue,
        "function": info.function,
        "state": info.state,
        "attempt": info.attempt,
        "priority": info.priority,
        "enqueued_at": info.enqueued_at,
        "due_at": info.due_at,
        "finished_at": info.finished_at,
        "error": {k: error.get(k) for k in ("type", "message")} if error else None,
    }


# -- one job -----------------------------------------------------------------------------


async def locate(client: Client, job_id: str, queue: str | None) -> JobInfo:
    """One job by its id alone, or in a queue.

    Raises:
        JobNotFound: no queue holds it.
        Problem: more than one does.
    """
    import asyncio

    from jobs.errors import JobNotFound

    if queue is not None:
        return await client.queue(queue).job(job_id)
    views = [client.queue(name) for name in await client.queues()]
    answers = await asyncio.gather(*(v.job(job_id) for v in views), return_exceptions=True)
    found = [answer for answer in answers if not isinstance(answer, BaseException)]
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, JobNotFound):
            raise answer
    if len(found) > 1:
        names = ", ".join(info.queue for info in found)
        raise Problem(f"several queues hold a job {job_id!r}: {names}", "choose one with --queue")
    if not found:
        raise Problem(
            f"no queue holds a job {job_id!r}: it never existed, or its retention time is over",
            "`arq-jobs list` shows what is there",
            Code.not_found,
        )
    return found[0]


def show(
    cli: Cli,
    job_id: Annotated[str, typer.Argument(metavar="ID", help="The id of a job.")],
    queue: QueueOption = None,
) -> None:
    """One job: payload, options, result, and every attempt."""
    from jobs.cli.server import optional_app, talk

    app = optional_app(cli)
    info = talk(cli, app, lambda client: locate(client, job_id, queue))
    print_job(cli, info, app)


def print_job(cli: Cli, info: JobInfo, app: Application | None) -> None:
    """Everything about one job, secrets hidden."""
    from jobs.cli.sending import as_text, by_name, mask, mask_arguments

    function = app.functions.get(info.function) if app else None
    document = asdict(info) | {
        "kwargs": mask(info.kwargs, function),
        "args": mask_arguments(info.args, function),
        "payload": mask(by_name(function, info.args, info.kwargs), function),
        "attempt": info.attempt,
        "progress": mask(info.progress),
        "result": mask(info.result),
        "error": info.error,
    }
    if cli.json:
        return cli.document(job=document)
    lines = {
        "job": f"{info.function} {info.id}",
        "queue": info.queue,
        "state": info.state,
        "priority": info.priority,
        "enqueued": info.enqueued_at.isoformat(timespec="seconds"),
        "due": info.due_at and info.due_at.isoformat(timespec="seconds"),
        "finished": info.finished_at and info.finished_at.isoformat(timespec="seconds"),
        "progress": None if info.progress is None else as_text(document["progress"]),
        "payload": as_text(document["payload"]),
        "options": as_text(info.options) if info.options else None,
        "result": as_text(document["result"]) if info.state is State.completed else None,
    }
    for label, value in lines.items():
        if value is not None:
            cli.data(f"{label:<10} {plain(value)}")
    _print_history(cli, info)
    return None


def _print_history(cli: Cli, info: JobInfo) -> None:
    from jobs.cli.when import span
    from jobs.clock import from_ms

    for entry in info.history:
        at = from_ms(entry["at"]).isoformat(timespec="seconds") if "at" in entry else ""
        what = f"attempt {entry.get('attempt', '-')}: {entry.get('outcome', '?')}"
        ran = f" after {span(entry['ran'])}" if "ran" in entry else ""
        where = f" on {entry['worker']}" if entry.get("worker") else ""
        reason = error_text(entry.get("error")) or entry.get("reason") or ""
        cli.data(plain(f"{at}  {what}{ran}{where}  {reason}".rstrip()))
    trace = (info.error or {}).get("traceback")
    if trace and info.state is not State.completed:
        for line in str(trace).splitlines():
            cli.data("  " + plain(line))


# -- wait --------------------------------------------------------------------------------


def wait(
    cli: Cli,
    ids: Ids,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="30s", help="Wait no longer than this.")
    ] = None,
    queue: QueueOption = None,
) -> int:
    """Wait for jobs to end and print their results; exit 1 if one failed, 124 on timeout."""
    import asyncio

    from jobs.cli.server import optional_app, talk
    from jobs.durations import to_seconds

    limit_s = None if timeout is None else to_seconds(timeout, what="timeout")

    async def work(client: Client) -> list[dict[str, Any]]:
        return await asyncio.gather(*(_end(client, job_id, queue, limit_s) for job_id in ids))

    app = optional_app(cli)
    ends = talk(cli, app, work)
    _print_ends(cli, ends)
    codes: list[Code] = [end["code"] for end in ends]
    return max(codes, key=_weight)


async def _end(
    client: Client, job_id: str, queue: str | None, limit_s: float | None
) -> dict[str, Any]:
    from jobs.errors import JobFailed, ResultTimeout

    info = await locate(client, job_id, queue)
    entry: dict[str, Any] = {"id": info.id, "queue": info.queue, "function": info.function}
    try:
        result = await client.job(info.id, info.queue).result(limit_s)
    except JobFailed as error:
        state = {"JobCancelled": "cancelled", "JobExpired": "expired"}
        word = state.get(type(error).__name__, "failed")
        return entry | {"code": Code.failed, "state": word, "error": str(error)}
    except ResultTimeout as error:
        return entry | {"code": Code.timed_out, "state": None, "error": str(error)}
    return entry | {"code": Code.ok, "state": "completed", "result": result}


def _print_ends(cli: Cli, ends: list[dict[str, Any]]) -> None:
    from jobs.cli.sending import as_text

    if cli.json:
        jobs = [{k: v for k, v in end.items() if k != "code"} for end in ends]
        return cli.document(jobs=jobs)
    for end in ends:
        if end["code"] is Code.ok:
            cli.data(as_text(end["result"]))
        else:
            word = "timed out" if end["code"] is Code.timed_out else end["state"]
            cli.say(f"{end['function']} {end['id']} {word}: {plain(end['error'])}")
    return None


def _weight(code: Code) -> int:
    """A timeout says more than a failure: something still runs."""
    return [Code.ok, Code.failed, Code.timed_out].index(code)
