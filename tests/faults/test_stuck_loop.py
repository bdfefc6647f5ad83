"""S06: a job that blocks the event loop keeps its lease as long as it may run, and no longer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from jobs import Client, Request
from tests.faults.judging import KEYS, assert_all_is_well, enqueue_noted, lost
from tests.helpers.processes import QUEUE, Crew, crew
from tests.helpers.waiting import wait_until

LEASE_S = 1.0


@pytest.fixture
def workers(redis_url: str, tmp_path: Path) -> Iterator[Crew]:
    with crew(redis_url, tmp_path, lease=LEASE_S) as made:
        yield made


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Client]:
    async with Client.connect(redis_url) as made:
        yield made


async def test_the_lease_of_a_blocked_loop_is_renewed(
    client: Client, workers: Crew, tmp_path: Path
) -> None:
    """The renewing thread does not need the loop; it says what is wrong, once."""
    gate = tmp_path / "gate"
    stuck = workers.start()
    await enqueue_noted(client, workers.ledger, {"b": Request("block", kwargs={"gate": str(gate)})})
    await wait_until(lambda: workers.ledger.count("start") == 1, description="it blocks")
    workers.start()
    deadline = await client.zscore(KEYS.leases, "b")
    assert deadline is not None

    async def renewed_for_three_leases() -> bool:
        now = await client.zscore(KEYS.leases, "b")
        return now is not None and now > deadline + 3000 * LEASE_S

    await wait_until(renewed_for_three_leases, description="it is renewed", timeout=8)
    gate.touch()
    judgement = await assert_all_is_well(client, workers.ledger, completed=1, most_duplicates=0)
    assert judgement.attempts.total() == 1
    assert await lost(client) == 0
    assert stuck.log.count("the event loop has not run for") == 1


async def test_a_loop_stuck_beyond_the_timeout_lets_go(
    client: Client, workers: Crew, tmp_path: Path
) -> None:
    """The job runs once more, elsewhere; what the stuck worker says in the end is refused."""
    gate = tmp_path / "gate"
    stuck = workers.start()
    request = Request("block", kwargs={"gate": str(gate)}, options={"timeout": 1})
    await enqueue_noted(client, workers.ledger, {"b": request})
    await wait_until(lambda: workers.ledger.count("start") == 1, description="it blocks")
    taker = workers.start()
    await wait_until(
        lambda: workers.ledger.count("start") == 2, description="another takes over", timeout=12
    )
    gate.touch()
    await wait_until(
        lambda: "its result is void" in stuck.log, description="the stuck worker is refused"
    )
    await assert_all_is_well(client, workers.ledger, completed=1, most_duplicates=1)
    info = await client.job_info(QUEUE, "b")
    assert (info.losses, info.failures) == (1, 0)
    starts = [entry for entry in workers.ledger.read() if entry.kind == "start"]
    assert [entry.pid for entry in starts] == [stuck.pid, taker.pid]
    assert info.result == starts[1].token
