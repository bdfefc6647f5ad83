"""All live workers of all queues: what they run, how they are, and how they are steered."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from jobs import clock
from jobs.clock import from_ms
from jobs.connections import asks_server
from jobs.durations import format_ms
from jobs.errors import InvalidOption
from jobs.keys import check_name, control_channel, queue_keys
from jobs.states import State
from jobs.store import show
from jobs.store.commands import Command, Wish, check_resize, send_command
from jobs.store.workers import SCHEDULING, WorkerInfo, all_queues, live_workers

if TYPE_CHECKING:
    from jobs.client import Client

#: A loop that answers later than this makes its worker unfit.
MAX_LAG_MS = 5_000
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Running:
    """A job that a worker ran at its last heartbeat."""

    id: str
    function: str
    queue: str
    attempt: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Served:
    """One queue of a worker: how many of its jobs run now, and how many may."""

    running: int
    concurrency: int


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """A live worker by its last heartbeat.

    `state` is taking, quiet or stopping; "scheduling" for a process that only makes jobs by the
    clock. `lag_ms` is the longest time that its event loop took
    to answer since the heartbeat before; `blocked` is the last time that a job blocked it, if
    ever (`where`, `at_ms`, `lasted_ms`, `job`, `function`), and `stuck` says that it still does.
    `jobs` are the first 20 that run in each queue. `rss` is its memory in bytes.
    """

    id: str
    host: str
    pid: int
    state: str
    started_at: datetime
    beat_at: datetime
    versions: dict[str, str]
    functions: list[str]
    queues: dict[str, Served]
    jobs: list[Running]
    lag_ms: float
    rss: int
    blocked: dict[str, Any] | None
    stuck: bool

    @property
    def running(self) -> int:
        """How many jobs run now, over all queues."""
        return sum(served.running for served in self.queues.values())

    @property
    def slots(self) -> int:
        """How many jobs may run at once, over all queues."""
        return sum(served.concurrency for served in self.queues.values())


@dataclass(frozen=True, slots=True)
class Health:
    """Whether work goes on, and each reason why not, as sentences."""

    healthy: bool
    reasons: list[str]


@dataclass(frozen=True, slots=True)
class Scale:
    """What an autoscaler wants to know of a queue.

    `backlog` is waiting and running jobs, `slots` what the live workers run at once, and
    `desired_workers` how many workers like these (or of `slots_each`) all of them would need.
    """

    queue: str
    waiting: int
    active: int
    backlog: int
    workers: int
    slots: int
    slots_each: int
    desired_workers: int


class Fleet:
    """The workers of all queues of one server; made by `Fleet(client)`.

    Every method raises `ServerAway` or `ServerRefused` when the server does not answer well.

    Args:
        client: connected to the server.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._prefix = client.prefix
        self.address = client.address

    @asks_server
    async def workers(self) -> list[WorkerStatus]:
        """The live workers and schedulers, by host and id."""
        found: defaultdict[str, dict[str, WorkerInfo]] = defaultdict(dict)
        for name in await all_queues(self._client, self._prefix):
            for worker in await self._at(name, schedulers=True):
                found[worker.id][name] = worker
        return sorted(map(_status, found.values()), key=lambda worker: (worker.host, worker.id))

    @asks_server
    async def scale(self, queue: str, slots_each: int | None = None) -> Scale:
        """How many workers a queue needs so that no job waits.

        Args:
            queue: its name.
            slots_each: jobs that one worker runs at once; default: as the live ones do on
                average, else 10.

        Raises:
            InvalidOption: `slots_each` is below 1.
        """
        if slots_each is not None and slots_each < 1:
            raise InvalidOption(f"`slots_each` is 1 or more, not {slots_each}")
        counts = (await show.size(self._client, queue_keys(queue, self._prefix))).counts
        slots = [worker.data.get("concurrency", 0) for worker in await self._at(queue)]
        each = slots_each or (max(1, round(sum(slots) / len(slots))) if slots else 10)
        backlog = counts[State.waiting] + counts[State.active]
        return Scale(
            queue=check_name(queue),
            waiting=counts[State.waiting],
            active=counts[State.active],
            backlog=backlog,
            workers=len(slots),
            slots=sum(slots),
            slots_each=each,
            desired_workers=-(-backlog // each),
        )

    async def health(
        self, queues: Iterable[str], *, host: str | None = None, max_lag_ms: float = MAX_LAG_MS
    ) -> Health:
        """Whether somebody works at each of these queues.

        Args:
            queues: their names.
            host: look at the workers of this host alone, for a probe that runs beside them.
            max_lag_ms: an event loop that answers later than this makes its worker unfit.
                Default 5000.
        """
        names = set(queues)
        alive = [w for w in await self.workers() if w.state != SCHEDULING]
        found = [w for w in alive if host in {None, w.host}]
        mine = [worker for worker in found if names & worker.queues.keys()]
        reasons = [text for worker in mine for text in _complaints(worker, max_lag_ms)]
        if host is not None and not mine:
            reasons.append(f"no live worker on {host} serves {', '.join(sorted(names))}")
        if host is None:
            reasons += [text for name in sorted(names) if (text := await self._idle(name, mine))]
        return Health(not reasons, reasons)

    async def _idle(self, queue: str, found: list[WorkerStatus]) -> str:
        if any(queue in worker.queues and worker.state == "taking" for worker in found):
            return ""
        waiting = (await self.scale(queue)).waiting
        what = "1 waiting job" if waiting == 1 else f"{waiting} waiting jobs"
        them = "it" if waiting == 1 else "them"
        return f"{what} in {queue} and no live worker that takes {them}" if waiting else ""

    @asks_server
    async def steer(  # noqa: PLR0913 -- a wish and its values
        self,
        worker: WorkerStatus,
        wish: Wish,
        *,
        limit: int | None = None,
        queue: str | None = None,
        grace_s: float | None = None,
        timeout_s: float = 5.0,
    ) -> bool:
        """Ask one worker for something, and wait until its next heartbeat shows it.

        Args:
            worker: one of `workers()`.
            wish: quiet, resume, stop or concurrency.
            limit: for concurrency: how many jobs may run at once, 1 or more.
            queue: for concurrency: the queue that is meant; default each of the worker.
            grace_s: for stop: seconds that running jobs get to finish; default the worker's own.
            timeout_s: how long to wait; default 5 s.

        Returns:
            Whether it was seen; a worker whose event loop is blocked does it later or never.

        Raises:
            InvalidOption: concurrency without a limit, or with one below 1; a queue that the
                worker does not serve.
        """
        if wish is Wish.concurrency:
            check_resize(limit, queue, worker.queues)
        given = {"limit": limit, "queue": queue, "grace": grace_s}
        values = {name: value for name, value in given.items() if value is not None}
        channel = control_channel(next(iter(worker.queues)), self._prefix)
        over_s = clock.mono() + timeout_s
        await send_command(self._client, channel, Command(worker.id, wish, values))
        while clock.mono() < over_s:
            now = {one.id: one for one in await self.workers()}.get(worker.id)
            if _is_done(wish, values, now):
                return True
            await asyncio.sleep(POLL_S)
        return False

    async def _at(self, queue: str, *, schedulers: bool = False) -> list[WorkerInfo]:
        keys = queue_keys(queue, self._prefix)
        return await live_workers(self._client, keys, schedulers=schedulers)


def _status(at: Mapping[str, WorkerInfo]) -> WorkerStatus:
    """One worker from its entries at its queues; what is not of one queue is from the newest."""
    newest = max(at.values(), key=lambda entry: entry.beat_ms)
    data = newest.data
    return WorkerStatus(
        id=newest.id,
        host=str(data.get("host", "?")),
        pid=int(data.get("pid", 0)),
        state=str(data.get("state", "taking")),
        started_at=from_ms(data.get("started_ms", 0)),
        beat_at=from_ms(newest.beat_ms),
        versions=dict(data.get("versions", {})),
        functions=list(data.get("functions", ())),
        queues={
            name: Served(entry.data.get("running", 0), entry.data.get("concurrency", 0))
            for name, entry in at.items()
        },
        jobs=[
            Running(job["id"], job["function"], name, job["attempt"], from_ms(job["since_ms"]))
            for name, entry in at.items()
            for job in entry.data.get("jobs", ())
        ],
        lag_ms=data.get("lag_ms", 0),
        rss=data.get("rss", 0),
        blocked=data.get("blocked"),
        stuck=bool(data.get("stuck")),
    )


def _complaints(worker: WorkerStatus, max_lag_ms: float) -> list[str]:
    if worker.stuck and worker.blocked:
        return [f"{worker.id} is blocked by {blocked_text(worker.blocked)}"]
    if worker.lag_ms > max_lag_ms:
        lag = format_ms(round(worker.lag_ms))
        return [f"the event loop of {worker.id} answered {lag} late"]
    return []


def blocked_text(blocked: Mapping[str, Any]) -> str:
    """`job 17 (crunch) at app.py:12 in crunch, 3 s`."""
    job = f"job {blocked['job']} ({blocked['function']})" if blocked.get("job") else "code"
    return f"{job} at {blocked['where']}, {format_ms(round(blocked['lasted_ms']))}"


def _is_done(wish: Wish, values: Mapping[str, Any], now: WorkerStatus | None) -> bool:
    match wish:
        case Wish.stop:
            return now is None or now.state == "stopping"
        case Wish.quiet:
            return now is not None and now.state in {"quiet", "stopping"}
        case Wish.resume:
            return now is not None and now.state == "taking"
        case Wish.concurrency:
            queue = values.get("queue")
            at = {} if now is None else now.queues
            mine = [served for name, served in at.items() if queue in {None, name}]
            return bool(mine) and {served.concurrency for served in mine} == {values["limit"]}
