"""The audit is silent about what the scripts write, and names everything that does not fit."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from jobs import Client, Keep, State
from jobs.states import TERMINAL
from jobs.store import queue as store
from jobs.store._script import AsyncCommands
from jobs.store.audit import audit
from jobs.store.queue import Ack, Turn, Verb
from jobs.store.record import Record, late_name, pack_record
from tests.faults.judging import KEYS
from tests.helpers.keyspace import untyped
from tests.helpers.processes import QUEUE

KEPT = (-1, -1, -1)


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Client]:
    async with Client.connect(redis_url) as client:
        yield client


async def claim(client: Client, want: int, *acks: Ack, request: int = 1) -> store.Answer:
    return await store.step(client, KEYS, Turn("w1", request, 30_000, want, acks))


async def one_of_each(client: Client) -> None:
    """A queue with at least one job in every state."""
    for n in range(8):
        await client.enqueue("audited", {"n": n}, id=f"j{n}", queue=QUEUE)
    await client.enqueue("audited", id="later", delay=600, queue=QUEUE)
    await client.enqueue("audited", id="never", queue=QUEUE)
    await client.queue(QUEUE).cancel("never")
    answer = await claim(client, 7)
    verbs = [Verb.complete, Verb.fail, Verb.expire, Verb.park, Verb.retry, Verb.interrupt]
    acks = [
        Ack(job.id, job.record.token, verb, 60_000, KEPT, 5, b'{"outcome":"x"}')
        for job, verb in zip(answer.jobs, verbs, strict=False)
    ]
    assert (await claim(client, 0, *acks, request=2)).accepted == "1" * len(acks)


async def test_an_empty_queue_is_well(client: Client) -> None:
    assert await audit(client, KEYS) == []


async def test_a_queue_with_every_state_is_well(client: Client) -> None:
    await one_of_each(client)
    counts = await client.queue(QUEUE).counts()
    assert {state for state, number in counts.items() if not number} <= {State.suspended}
    assert await audit(client, KEYS) == []


async def test_schedules_that_do_not_fit_are_named(client: Client) -> None:
    await client.schedules.upsert("good", "f", every="1h", queue=QUEUE)
    assert await audit(client, KEYS) == []
    held = b"1 5 0 0 6 0 0\n{}\n{}"
    await untyped(client).hset(KEYS.schedules, mapping={"bad": b"x", "held": held})
    assert await audit(client, KEYS) == [
        "1 schedules cannot be read: bad",
        "1 schedules hold a run that has not come: held",
    ]


async def test_what_was_retried_trimmed_and_dropped_is_well(client: Client) -> None:
    await one_of_each(client)
    ended = [job.id async for job in client.queue(QUEUE).iterate(*TERMINAL)]
    await client.queue(QUEUE).retry(ended)
    answer = await claim(client, 100, request=3)
    acks = [
        Ack(job.id, job.record.token, Verb.complete, 0, Keep(count=2).limits(), 5, b"{}")
        for job in answer.jobs
    ]
    await claim(client, 0, *acks, request=4)
    assert (await client.queue(QUEUE).counts())[State.completed] == 2
    assert await audit(client, KEYS) == []


RECORD = pack_record(Record(3, 0, 0, 0, 0, 0, 7, 7))
LATE = late_name(9, "later")
AHEAD = pack_record(Record(3, 99, 0, 0, 0, 0, 7, 7))

DAMAGE = {
    "j7 (active, waiting)": ("ZADD", KEYS.leases, 1, "j7"),
    "1 jobs in a state without a body: j7": ("HDEL", KEYS.body, "j7"),
    "1 jobs with a body and in no state: j7": ("ZREM", KEYS.ready, "j7"),
    "1 jobs with a record and no body: ghost": ("HSET", KEYS.record, "ghost", RECORD),
    "1 jobs with a result and no body: ghost": ("HSET", KEYS.result, "ghost", "x"),
    "1 jobs with progress or a log and no body: ghost": ("HSET", KEYS.logs, "ghost", "x"),
    "1 jobs ended without a history: j0": ("HDEL", KEYS.result, "j0"),
    "1 jobs to be pruned that have not ended: j7": ("ZADD", KEYS.expiry, 1, "j7"),
    "1 jobs awaited that are not there: ghost": ("HSET", KEYS.waiters, "ghost", "inbox"),
    "1 jobs awaited that have ended: j0": ("HSET", KEYS.waiters, "j0", "inbox"),
    "1 jobs without the record that their state needs: j6": ("HDEL", KEYS.record, "j6"),
    "1 jobs running without a token: j6": ("HSET", KEYS.record, "j6", RECORD),
    "1 jobs with a token that was not given out yet: j6": ("HSET", KEYS.record, "j6", AHEAD),
    "1 jobs waiting at another place than their record says: j7": (
        "HSET",
        KEYS.record,
        "j7",
        RECORD,
    ),
    "1 jobs delayed to another time than their record says: later": ("ZADD", KEYS.later, 9, LATE),
    "waiting at a place that was not given out yet": ("ZADD", KEYS.ready, 999, "j7"),
    "2 jobs waiting at a place of another job: j5, j7": ("ZADD", KEYS.ready, 13194139533318, "j7"),
    "1 counters are no counts: 1:claimed": ("HSET", KEYS.stats, "1:claimed", "-3"),
    "2 wake-ups lie ready, at most one may": ("RPUSH", KEYS.wake, "1"),
    "bytes are counted as completed": ("HINCRBY", KEYS.config, "bytes:completed", 1),
    "expires in": ("PEXPIRE", KEYS.body, 600_000),
}


@pytest.mark.parametrize("finding", DAMAGE)
async def test_damage_is_named(client: Client, finding: str) -> None:
    await one_of_each(client)
    commands: AsyncCommands = client
    await commands.execute_command(*DAMAGE[finding])
    findings = await audit(client, KEYS)
    assert any(finding in found for found in findings), findings


async def test_a_finding_names_a_few_and_counts_all(client: Client) -> None:
    await client.zadd(KEYS.ready, {f"g{n}": n for n in range(9)})
    first, *_ = await audit(client, KEYS)
    assert first == "9 jobs in a state without a body: g0, g1, g2, g3, g4 …"


async def test_the_audit_writes_nothing(client: Client) -> None:
    await one_of_each(client)
    before = {key: await client.dump(key) for key in await client.keys()}
    await audit(client, KEYS)
    assert {key: await client.dump(key) for key in await client.keys()} == before
