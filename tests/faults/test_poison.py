"""S07: jobs that kill their worker are tried three times and then kept as dead letters."""

from __future__ import annotations

from pathlib import Path

from jobs import Client, Request, State
from jobs.store.audit import audit
from tests.faults.judging import KEYS, UNENDED, counts, enqueue_noted, enqueue_work
from tests.helpers.ledger import judge
from tests.helpers.processes import QUEUE, Crew, crew
from tests.helpers.waiting import wait_until

WAYS = ("exit", "segv", "kill")
DELIVERIES = 3


async def run_until_settled(workers: Crew, client: Client, timeout_s: float = 50) -> None:
    """Replace every worker that dies until no job is left."""

    async def settled() -> bool:
        for worker in workers.workers:
            if worker.returncode is not None and worker.note_end():
                workers.start_many(1, ready=False)
        return not UNENDED & (await counts(client)).keys()

    await wait_until(settled, description="no job is left", timeout=timeout_s, poll=0.05)


async def test_poison_is_tried_three_times(redis_url: str, tmp_path: Path) -> None:
    with crew(redis_url, tmp_path, lease=0.6, concurrency=1) as workers:
        async with Client.connect(redis_url) as client:
            await enqueue_work(client, workers.ledger, 60, lambda: 2)
            poison = {f"p-{how}": Request("poison", kwargs={"how": how}) for how in WAYS}
            await enqueue_noted(client, workers.ledger, poison)
            workers.start_many(3, ready=False)
            await run_until_settled(workers, client)
            assert await counts(client) == {State.completed: 60, State.failed: len(WAYS)}
            await assert_dead_letters(client, workers)
            assert len(workers.workers) <= 3 + len(WAYS) * DELIVERIES
            assert await audit(client, KEYS) == []


async def assert_dead_letters(client: Client, workers: Crew) -> None:
    judgement = judge(workers.ledger.read())
    assert not [job_id for job_id in judgement.lost if not job_id.startswith("p-")]
    for how in WAYS:
        info = await client.job_info(QUEUE, f"p-{how}")
        assert (info.losses, info.kwargs, info.failures) == (DELIVERIES, {"how": how}, 0)
        assert judgement.attempts[info.id] == DELIVERIES
        assert [entry["outcome"] for entry in info.history] == ["lost"] * DELIVERIES
        assert info.error is not None
        assert info.error["type"] == "WorkerLost"
        assert "worker lost" in info.error["message"]
