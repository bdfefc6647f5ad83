"""Schedules in the hands of a test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pydantic import BaseModel

from jobs import Client, Context, job
from jobs.keys import queue_keys
from jobs.store import schedules as store
from tests.helpers.keyspace import untyped


class Report(BaseModel):
    """A payload."""

    account: int = 1
    kind: str = "daily"


@job("idle")
async def idle(ctx: Context) -> None:
    """What a worker has that makes runs which it cannot run itself."""


async def rewind(client: Client, name: str, back: timedelta, queue: str = "default") -> None:
    """As if no scheduler had lived for so long."""
    keys = queue_keys(queue)
    (stored,) = await store.read(client, keys, [name])
    assert stored is not None
    state = stored.state._replace(after=stored.state.after - back // timedelta(milliseconds=1))
    line = " ".join(map(str, state)).encode()
    value = b"\n".join((line, stored.rule, stored.rest))
    await untyped(client).hset(keys.schedules, name, value)
    await untyped(client).hincrby(keys.config, "schedules", 1)


def instant_of(job_id: str) -> datetime:
    """The instant that a job stands for."""
    return datetime.fromtimestamp(int(job_id.rpartition(":")[2]) / 1000, UTC)
