"""Chapter 10: the figures of a queue."""

from __future__ import annotations

import pytest

from jobs import Client, Context, JobFailed, fixed, job
from tests.fundamentals.conftest import Work


async def test_counts_and_times_of_the_last_hour(client: Client, work: Work) -> None:
    @job("flaky", attempts=2, backoff=fixed("1ms"))
    async def flaky(ctx: Context, good: bool) -> None:
        if not good:
            raise OSError

    await work(flaky)
    for good in (True, True, False):
        queued = await client.enqueue("flaky", {"good": good})
        try:
            await queued.result(timeout=20)
        except JobFailed:
            assert not good
    figures = await client.queue().metrics()
    assert (figures.enqueued, figures.completed, figures.failed, figures.retried) == (3, 2, 1, 1)
    assert (figures.waiting, figures.active, figures.delayed, figures.dead) == (0, 0, 0, 1)
    assert figures.run.count == 4, "every attempt is timed"
    assert figures.run.p50 is not None
    assert figures.wait.count >= 3
    assert figures.avg_processing_ms == pytest.approx(figures.run.average)


async def test_how_long_the_first_waiting_job_has_been_free_to_run(client: Client) -> None:
    queue = client.queue()
    assert (await queue.metrics()).oldest_waiting_ms is None
    await client.enqueue("anything")
    assert (await queue.metrics()).waiting == 1
    oldest = (await queue.metrics()).oldest_waiting_ms
    assert oldest is not None
    assert 0 <= oldest < 5000
