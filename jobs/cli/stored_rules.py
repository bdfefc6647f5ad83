"""The rules of `check` that ask the server: what is stored there, and how long jobs take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice, pairwise
from typing import Any

from pydantic_core import to_json

from jobs import Client, ScheduleInfo, clock
from jobs.cli.application import Application
from jobs.cli.findings import FAIL, Finding
from jobs.cli.requests import make_request
from jobs.cli.rules import LARGE_BYTES, large
from jobs.durations import MAX_MS, format_ms
from jobs.errors import InvalidPayload, did_you_mean
from jobs.states import State
from jobs.timetable import Timing

#: So many waiting jobs of each queue are weighed.
WEIGHED = 100
#: So many instants ahead are looked at to find the two that are next to each other.
AHEAD = 50
#: How long jobs take is read from so far back.
WINDOW = "24h"


async def look_at_server(app: Application, client: Client) -> list[Finding]:
    """What is stored and will not work with this application.

    Raises:
        ServerAway, ServerRefused: it does not answer, or not well.
    """
    found: list[Finding] = []
    run_ms: dict[str, float] = {}
    known = set(app.functions)
    for name in await client.queues():
        queue = client.queue(name)
        for worker in await queue.workers():
            known |= set(worker.data.get("functions", ()))
        metrics = await queue.metrics(WINDOW)
        run_ms |= {f.function: f.run.p95 for f in metrics.functions if f.run.p95 is not None}
        found += [*_weigh(name, await queue.jobs(State.waiting, 0, WEIGHED))]
    for info in await client.schedules.list():
        found += [*_schedule(app, info, known, run_ms)]
    return found


def _weigh(queue: str, jobs: list[Any]) -> Iterator[Finding]:
    """The heaviest of the waiting jobs of each function."""
    heaviest: dict[str, tuple[int, str]] = {}
    for info in jobs:
        size = len(to_json([info.args, info.kwargs], fallback=str))
        heaviest[info.function] = max(heaviest.get(info.function, (0, "")), (size, info.id))
    for function, (size, job_id) in sorted(heaviest.items()):
        if size > LARGE_BYTES:
            yield large(f"job {function}", size, f" waits in queue {queue} ({job_id})")


def _schedule(
    app: Application, info: ScheduleInfo, known: set[str], run_ms: Mapping[str, float]
) -> Iterator[Finding]:
    subject = f"schedule {info.name}"
    if info.function not in known:
        yield Finding(
            "unknown-function",
            subject,
            f"stored in queue {info.queue}: neither the application nor a live worker has "
            f"{info.function!r}{did_you_mean(info.function, known)}",
            f"arq-jobs schedules remove {info.name}, or start a worker that has the function",
        )
    elif (problem := _refusal(app, info)) and not info.from_code:
        yield Finding(
            "invalid-arguments",
            subject,
            f"stored in queue {info.queue}: {problem}",
            f"arq-jobs schedules add {info.name} {info.function} --data … puts it right",
            FAIL,
        )
    if info.overdue and info.paused_at is None:
        yield Finding(
            "overdue-schedule",
            subject,
            f"its next instant was {info.next_at:%Y-%m-%d %H:%M} UTC",
            f"arq-jobs worker --queues {info.queue}, or arq-jobs scheduler",
        )
    yield from _pace(info, run_ms)


def _refusal(app: Application, info: ScheduleInfo) -> str:
    """Why the function would not take the arguments; empty if it would, is not ours, or if they
    were written by a serializer of which this process has no reader.
    """
    function = app.functions.get(info.function)
    if function is None or info.args == ["?"]:
        return ""
    try:
        make_request(function, info.kwargs, {}, info.args)
    except InvalidPayload as error:
        return str(error)
    return ""


def _pace(info: ScheduleInfo, run_ms: Mapping[str, float]) -> Iterator[Finding]:
    takes_ms, gap_ms = run_ms.get(info.function), shortest_gap_ms(info.definition.timing)
    if info.definition.policy.overlap != "allow" or takes_ms is None or gap_ms is None:
        return
    if takes_ms > gap_ms:
        yield Finding(
            "overtaking-schedule",
            f"schedule {info.name}",
            f"{info.rule} is every {format_ms(gap_ms)}, and one job in twenty of {info.function} "
            f"takes {format_ms(round(takes_ms))} or more",
            'overlap="skip", or run it less often',
        )


def shortest_gap_ms(timing: Timing) -> int | None:
    """The shortest time between two of the next instants; `None` if there are not two."""
    instants = islice(timing.between(clock.now_ms(), MAX_MS), AHEAD)
    return min((later - sooner for sooner, later in pairwise(instants)), default=None)
