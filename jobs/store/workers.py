"""The registries: queues, live workers at each of them, and the instants of schedules."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from jobs.keys import SCHEMA_VERSION, QueueKeys, queues_key, schema_key
from jobs.store._script import AsyncCommands, SyncCommands, script

_BEAT = struct.Struct(">d")
#: A worker that did not say how often it beats is dead after this time without a heartbeat.
STALE_MS = 45_000
#: The `state` of a process that only makes jobs by the clock.
SCHEDULING = "scheduling"


class WorkerInfo(NamedTuple):
    """One worker at one queue, by its last heartbeat.

    `beat_ms` is when that was, by the server's clock. `data` is what the worker said of itself:
    `host`, `pid`, `started_ms`, `versions`, `functions`, `queues`, `concurrency` (of this queue),
    `running`, `jobs` (the first 20 of them: `id`, `function`, `since_ms`), `state` (taking,
    quiet, stopping; scheduling for what runs no jobs), `lag_ms` (the event loop's worst lag since
    the heartbeat before), `rss` (bytes), `blocked` (the last time that a job blocked the event
    loop, if ever), `stale_ms`.
    """

    id: str
    beat_ms: float
    data: dict[str, Any]

    def is_alive(self, now_ms: float) -> bool:
        """Whether it was heard of lately; `now_ms` is the server's time."""
        return now_ms - self.beat_ms <= float(self.data.get("stale_ms", STALE_MS))

    @property
    def runs_jobs(self) -> bool:
        """Whether it is a worker; a scheduler is in the registry too, and runs none."""
        return self.data.get("state") != SCHEDULING


async def agree_on_schema(client: AsyncCommands, prefix: str) -> int:
    """The version of the layout in which this prefix is kept; ours, if nobody wrote one yet."""
    await client.execute_command("SET", schema_key(prefix), SCHEMA_VERSION, "NX")
    return int(await client.execute_command("GET", schema_key(prefix)))


async def add_queues(client: AsyncCommands, prefix: str, names: Sequence[str]) -> None:
    """Put queues on the list of all queues."""
    await client.execute_command("SADD", queues_key(prefix), *names)


async def forget_queue(client: AsyncCommands, prefix: str, name: str) -> None:
    """Take a queue off the list."""
    await client.execute_command("SREM", queues_key(prefix), name)


async def all_queues(client: AsyncCommands, prefix: str) -> list[str]:
    """The names of all queues that ever had a job or a worker, sorted."""
    names = await client.execute_command("SMEMBERS", queues_key(prefix))
    return sorted(name.decode() for name in names)


async def beat(
    client: AsyncCommands, keys: QueueKeys, worker: str, data: dict[str, Any], stale_ms: int
) -> tuple[int, bool]:
    """Note that `worker` is alive; the server's time, and whether a delayed job is overdue."""
    now, overdue = await script("beat")(client, keys, (0, worker, stale_ms, to_json(data)))
    return now, overdue == 1


def beat_from_thread(
    client: SyncCommands, keys: QueueKeys, worker: str, data: dict[str, Any], stale_ms: int
) -> None:
    """The same from a thread, for a worker whose event loop does not run."""
    script("beat").call(client, keys, (0, worker, stale_ms, to_json(data)))


async def leave(client: AsyncCommands, keys: QueueKeys, worker: str, stale_ms: int) -> int:
    """Take `worker` out of the registry; how many others are alive."""
    others: int = await script("leave")(client, keys, (0, worker, stale_ms))
    return others


async def workers(client: AsyncCommands, keys: QueueKeys) -> list[WorkerInfo]:
    """The registered workers of a queue, in the order of their ids; some may have died."""
    flat = await client.execute_command("HGETALL", keys.workers)
    pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
    return sorted((read_worker(name, data) for name, data in pairs), key=lambda worker: worker.id)


async def live_workers(
    client: AsyncCommands, keys: QueueKeys, *, schedulers: bool = False
) -> list[WorkerInfo]:
    """Those that were heard of lately, by the server's clock; schedulers too if asked for."""
    found = await workers(client, keys)
    if not found:
        return []
    seconds, micros = await client.execute_command("TIME")
    now_ms = int(seconds) * 1000 + int(micros) // 1000
    alive = [worker for worker in found if worker.is_alive(now_ms)]
    return [worker for worker in alive if schedulers or worker.runs_jobs]


def read_worker(name: bytes, data: bytes) -> WorkerInfo:
    """One entry of the registry."""
    return WorkerInfo(name.decode(), _BEAT.unpack_from(data)[0], from_json(data[_BEAT.size :]))


async def tick(  # noqa: PLR0913 -- one instant of one schedule and the job that it makes
    client: AsyncCommands,
    keys: QueueKeys,
    *,
    schedule: str,
    instant_ms: int,
    apart_ms: int,
    job_id: str,
    body: bytes,
    priority: int,
    now_ms: int = 0,
) -> bool:
    """Enqueue the job of one instant; whether this call was the first over all workers."""
    args = (now_ms, schedule, instant_ms, apart_ms, job_id, body, priority)
    fired: int = await script("tick")(client, keys, args)
    return fired == 1
