"""Workers that are asked to stop, frozen, or lost with their jobs: S03, S04, S05, S09, S11."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from jobs import Client, Request, State
from tests.faults.judging import (
    assert_all_is_well,
    counts,
    enqueue_noted,
    enqueue_work,
    wait_blocked,
    wait_counts,
    wait_settled,
)
from tests.helpers.ledger import Entry
from tests.helpers.processes import LEASE_S, QUEUE, Crew, crew
from tests.helpers.waiting import wait_until

SOON_S = 2.0
"""A released job runs elsewhere within this time; it would be 30 s if it waited for its lease."""


@pytest.fixture
def workers(redis_url: str, tmp_path: Path) -> Iterator[Crew]:
    with crew(redis_url, tmp_path) as made:
        yield made


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Client]:
    async with Client.connect(redis_url) as made:
        yield made


async def hold(client: Client, workers: Crew, number: int, gate: Path, prefix: str = "h") -> None:
    """Enqueue jobs that run until the gate is made."""
    request = Request("hold", kwargs={"gate": str(gate)})
    await enqueue_noted(client, workers.ledger, {f"{prefix}{n}": request for n in range(number)})


def lines(workers: Crew, kind: str, pid: int | None = None) -> list[Entry]:
    """The ledger's lines of a kind, of one process or of all."""
    return [e for e in workers.ledger.read() if e.kind == kind and pid in (None, e.pid)]


async def test_sigterm_releases_what_does_not_finish(
    client: Client, workers: Crew, tmp_path: Path
) -> None:
    """S03: half of the jobs end within the grace; the others run elsewhere at once."""
    gate = tmp_path / "gate"
    first = workers.start(concurrency=40, grace=1.5, lease=30)
    await enqueue_work(client, workers.ledger, 20, lambda: 900)
    await hold(client, workers, 20, gate)
    await wait_counts(client, active=40)
    second = workers.start(concurrency=40, lease=30)
    first.send(signal.SIGTERM)
    await wait_until(
        lambda: len(lines(workers, "start", second.pid)) == 20,
        description="the released jobs run elsewhere",
        timeout=SOON_S + 1.5,
    )
    assert first.wait(SOON_S) == 0
    assert {e.job_id[0] for e in lines(workers, "cancelled", first.pid)} == {"h"}
    released = max(e.mono_ns for e in lines(workers, "cancelled", first.pid))
    begun = max(e.mono_ns for e in lines(workers, "start", second.pid))
    assert begun - released < SOON_S * 1e9
    gate.touch()
    await assert_all_is_well(client, workers.ledger, completed=40, most_duplicates=20)
    infos = [await client.job_info(QUEUE, f"h{n}") for n in range(20)]
    assert {(i.failures, i.losses, i.interruptions) for i in infos} == {(0, 0, 1)}


async def test_a_second_sigterm_hurries(client: Client, workers: Crew, tmp_path: Path) -> None:
    """S04: the grace is half an hour, and nobody waits for it."""
    worker = workers.start(grace=1800, log="INFO")
    await hold(client, workers, 10, tmp_path / "gate")
    await wait_counts(client, active=10)
    worker.send(signal.SIGTERM)
    await wait_until(lambda: "stopping:" in worker.log, description="the worker stops")
    assert (worker.returncode, await counts(client)) == (None, {State.active: 10})
    worker.send(signal.SIGTERM)
    assert worker.wait(5) == 0
    assert await counts(client) == {State.waiting: 10}


async def test_a_worker_killed_in_its_grace_loses_nothing(
    client: Client, workers: Crew, tmp_path: Path
) -> None:
    """S04: what it was still waiting for runs elsewhere after the lease."""
    gate = tmp_path / "gate"
    first = workers.start(concurrency=10, grace=1800, log="INFO")
    await hold(client, workers, 15, gate)
    await wait_counts(client, active=10, waiting=5)
    first.send(signal.SIGTERM)
    await wait_until(lambda: "stopping:" in first.log, description="the worker stops")
    first.kill()
    gate.touch()
    workers.start(concurrency=10)
    judgement = await assert_all_is_well(client, workers.ledger, completed=15)
    assert judgement.in_flight == 10
    infos = {f"h{n}": await client.job_info(QUEUE, f"h{n}") for n in range(15)}
    assert sum(info.losses for info in infos.values()) == 10
    assert {job_id for job_id, info in infos.items() if info.losses} == {
        job_id for job_id, number in judgement.attempts.items() if number == 2
    }


async def test_a_frozen_worker_comes_back_too_late(
    client: Client, workers: Crew, tmp_path: Path
) -> None:
    """S05: another worker took its jobs over; whatever it says about them is refused.

    Half of its jobs end in the moment of its return, while the other worker runs them too.
    """
    gate = tmp_path / "gate"
    late = workers.start()
    request = Request("late", kwargs={"gate": str(gate)})
    await enqueue_noted(client, workers.ledger, {f"l{n}": request for n in range(5)})
    await hold(client, workers, 5, gate)
    await wait_until(lambda: len(lines(workers, "start")) == 10, description="all have begun")
    late.freeze()
    taker = workers.start()
    await wait_until(
        lambda: len(lines(workers, "start", taker.pid)) == 10,
        description="the other worker took over",
        timeout=6 * LEASE_S,
    )
    late.thaw()
    await wait_until(
        lambda: late.log.count("its result is void") == 10,
        description="every end of an attempt is refused",
        timeout=2 * LEASE_S,
    )
    cancelled = {e.job_id for e in lines(workers, "cancelled", late.pid)}
    assert cancelled >= {f"h{n}" for n in range(5)}
    gate.touch()
    await assert_all_is_well(client, workers.ledger, completed=10, most_duplicates=10)
    assert not lines(workers, "written", late.pid)
    tokens = {e.job_id: e.token for e in lines(workers, "start", taker.pid)}
    for job_id, token in tokens.items():
        info = await client.job_info(QUEUE, job_id)
        assert [entry["outcome"] for entry in info.history] == ["lost", "completed"]
        assert (info.result, info.losses) == (token, 1)
    assert len(tokens) == 10
    assert min(tokens.values()) > max(e.token for e in lines(workers, "start", late.pid))
    assert (late.stop(), taker.stop()) == (0, 0)


async def test_a_frozen_worker_gets_its_own_job_back(
    client: Client, workers: Crew, tmp_path: Path
) -> None:
    """S05 with a third turn: the taker gave the job back, and the late worker claims it anew.

    Its old attempt ends; the new one goes on.
    """
    gate = tmp_path / "gate"
    late = workers.start()
    await hold(client, workers, 1, gate)
    await wait_until(lambda: lines(workers, "start"), description="the job has begun")
    late.freeze()
    taker = workers.start(grace=0)
    await wait_until(
        lambda: lines(workers, "start", taker.pid), description="taken over", timeout=6 * LEASE_S
    )
    assert taker.stop() == 0
    assert await counts(client) == {State.waiting: 1}
    late.thaw()
    first, _, third = await wait_until(
        lambda: tokens if len(tokens := tokens_begun(workers)) == 3 else None,
        description="the job is claimed again",
        timeout=2 * LEASE_S,
    )
    await wait_until(
        lambda: first in {e.token for e in lines(workers, "cancelled", late.pid)},
        description="the first attempt is cancelled",
        timeout=2 * LEASE_S,
    )
    gate.touch()
    await assert_all_is_well(client, workers.ledger, completed=1, most_duplicates=2)
    info = await client.job_info(QUEUE, "h0")
    assert (info.result, info.losses, info.interruptions) == (third, 1, 1)


def tokens_begun(workers: Crew) -> list[int]:
    """The tokens of all attempts, in the order in which they began."""
    return [e.token for e in lines(workers, "start")]


async def test_a_frozen_idle_crew_takes_nothing_along(
    redis_url: str, client: Client, workers: Crew
) -> None:
    """S11: the server hands wake-ups to workers that will never read them; a job never."""
    idle = workers.start_many(4)
    await wait_blocked(client, 4)
    for worker in idle:
        worker.freeze()
    await enqueue_work(client, workers.ledger, 1000, lambda: 1)
    for worker in idle:
        worker.kill()
    workers.start(concurrency=100)
    await assert_all_is_well(client, workers.ledger, completed=1000, most_duplicates=0)


async def test_a_wake_up_read_by_a_frozen_worker_delays_a_job_by_one_poll(
    client: Client, workers: Crew
) -> None:
    """S11 and S12: the third worker is idle, is not woken, and looks by itself."""
    frozen = workers.start_many(2)
    await wait_blocked(client, 2)
    workers.start()
    await wait_blocked(client, 3)
    for worker in frozen:
        worker.freeze()
    await enqueue_work(client, workers.ledger, 1, lambda: 1)
    await wait_until(
        lambda: workers.ledger.count("effect") == 1, description="the job runs", timeout=3.5
    )
    for worker in frozen:
        worker.thaw()


async def test_only_running_jobs_are_charged_for_a_lost_worker(
    client: Client, workers: Crew, tmp_path: Path
) -> None:
    """S09: a job that waited in the same queue is no suspect of having killed the worker."""
    gate = tmp_path / "gate"
    first = workers.start(concurrency=3)
    await hold(client, workers, 12, gate)
    await wait_counts(client, active=3, waiting=9)
    first.kill()
    gate.touch()
    workers.start(concurrency=3)
    await wait_settled(client)
    losses = [(await client.job_info(QUEUE, f"h{n}")).losses for n in range(12)]
    assert losses == [1, 1, 1] + [0] * 9

    async def forgotten() -> bool:
        return len(await client.queue(QUEUE).workers()) == 1

    await wait_until(forgotten, description="the dead worker is forgotten", timeout=2 * LEASE_S)
