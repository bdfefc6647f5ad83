"""arq's producer side: `create_pool`, `enqueue_job` and each of its options, the two lists."""

from __future__ import annotations

import asyncio
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from arq.connections import ArqRedis, RedisSettings
from arq.jobs import JobResult, JobStatus

from jobs import Client, Job, JobFailed, ServerError, create_pool
from jobs.errors import InvalidOption
from jobs.keys import queue_keys
from tests.helpers.arq_app import Ctx, add, burst, enqueued, fails, named, running


async def tries(ctx: Ctx) -> int:
    return int(ctx["job_try"])


async def due_in(job: Job[Any]) -> float:
    """Seconds until a deferred job is due."""
    info = await job.info()
    assert info is not None
    assert info.score is not None
    return info.score / 1000 - datetime.now(UTC).timestamp()


# -- create_pool -------------------------------------------------------------------------------


async def test_create_pool_gives_an_arq_redis_that_speaks_raw_redis(pool: Client) -> None:
    assert isinstance(pool, ArqRedis)
    await pool.set("mine", "1")
    assert await pool.get("mine") == b"1"


async def test_create_pool_takes_every_option_of_arqs(redis_settings: RedisSettings) -> None:
    pool = await create_pool(
        redis_settings,
        retry=1,
        job_serializer=pickle.dumps,
        job_deserializer=pickle.loads,
        default_queue_name="mail",
        expires_extra_ms=1,
    )
    job = await enqueued(pool, "add", {1, 2})
    assert job.queue == "mail"
    info = await job.info()
    assert info is not None
    assert info.args == ({1, 2},)
    await pool.aclose()


async def test_create_pool_tries_conn_retries_times_and_then_says_where(
    redis_settings: RedisSettings,
) -> None:
    closed = RedisSettings(port=1, conn_retries=2, conn_retry_delay=0)
    with pytest.raises(ServerError) as caught:
        await create_pool(closed)
    assert "localhost:1" in str(caught.value)


# -- enqueue_job -------------------------------------------------------------------------------


async def test_arguments_arrive(pool: Client, redis_settings: RedisSettings) -> None:
    job = await enqueued(pool, "add", 2, b=3)
    await burst([add], redis_settings)
    assert await job.result() == 5


async def test_job_id_is_taken_until_the_job_has_ended(
    pool: Client, redis_settings: RedisSettings
) -> None:
    job = await enqueued(pool, "add", 1, _job_id="one")
    assert job.job_id == "one"
    assert await pool.enqueue_job("add", 2, _job_id="one") is None
    await burst([add], redis_settings)
    assert await pool.enqueue_job("add", 3, _job_id="one") is not None


async def test_ids_are_made_up_and_differ(pool: Client) -> None:
    ids = {(await enqueued(pool, "add", n)).job_id for n in range(50)}
    assert len(ids) == 50


async def test_queue_name_chooses_the_queue(pool: Client, redis_settings: RedisSettings) -> None:
    job = await enqueued(pool, "add", 1, _queue_name="other")
    await burst([add], redis_settings)
    assert await job.status() is JobStatus.queued
    await burst([add], redis_settings, queue_name="other")
    assert await job.result() == 2


async def test_arqs_default_queue_and_ours_are_one(pool: Client) -> None:
    job = await enqueued(pool, "add", 1, _queue_name="arq:queue")
    assert job.queue == "default"
    assert [found.job_id for found in await pool.queued_jobs()] == [job.job_id]


@pytest.mark.parametrize("delay", [30, 30.0, timedelta(seconds=30)], ids=["int", "float", "delta"])
async def test_defer_by(pool: Client, delay: float | timedelta) -> None:
    job = await enqueued(pool, "add", 1, _defer_by=delay)
    assert await job.status() is JobStatus.deferred
    assert 25 < await due_in(job) <= 30.1


async def test_defer_by_is_waited_for(pool: Client, redis_settings: RedisSettings) -> None:
    async with running([add], redis_settings):
        loop = asyncio.get_running_loop()
        before = loop.time()
        job = await enqueued(pool, "add", 1, _defer_by=0.2)
        assert await job.result(timeout=20) == 2
    assert loop.time() - before >= 0.2


@pytest.mark.parametrize("zone", [None, UTC], ids=["naive is local", "aware"])
async def test_defer_until(pool: Client, zone: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    until = datetime.now(UTC) + timedelta(seconds=30)
    given = until if zone else (until + timedelta(hours=5, minutes=45)).replace(tzinfo=None)
    job = await enqueued(pool, "add", 1, _defer_until=given)
    assert 25 < await due_in(job) <= 30.1


async def test_defer_until_and_defer_by_exclude_each_other(pool: Client) -> None:
    with pytest.raises(InvalidOption, match="not both"):
        await pool.enqueue_job("add", 1, _defer_until=datetime.now(UTC), _defer_by=1)


@pytest.mark.parametrize("limit", [0.05, timedelta(milliseconds=50)], ids=["float", "delta"])
async def test_expires_ends_a_job_that_was_not_started_in_time(
    pool: Client, redis_settings: RedisSettings, limit: float | timedelta
) -> None:
    job = await enqueued(pool, "add", 7, _expires=limit)
    fresh = await enqueued(pool, "add", 8, _expires=30)
    await asyncio.sleep(0.06)
    await burst([add], redis_settings)
    with pytest.raises(JobFailed, match="not started within"):
        await job.result()
    info = await job.result_info()
    assert info is not None
    assert (info.function, info.args, info.success) == ("add", (7,), False)
    assert await fresh.result() == 9


async def test_job_try_is_the_number_of_the_first_try(
    pool: Client, redis_settings: RedisSettings
) -> None:
    job = await enqueued(pool, "tries", _job_try=3)
    await burst([tries], redis_settings)
    assert await job.result() == 3
    info = await job.info()
    assert info is not None
    assert info.job_try == 3


async def test_nothing_that_a_job_needs_expires_on_the_server(pool: Client) -> None:
    await enqueued(pool, "add", 1)
    await enqueued(pool, "add", 1, _defer_by=60)
    await enqueued(pool, "add", 1, _expires=60)
    keys = [key for name in queue_keys("default").all() if (key := name)]
    assert [ttl for key in keys if (ttl := await pool.pttl(key)) >= 0] == []


# -- the two lists -----------------------------------------------------------------------------


async def test_queued_jobs_lists_what_waits_and_what_is_deferred(pool: Client) -> None:
    await enqueued(pool, "add", 1, b=2, _job_id="now")
    await enqueued(pool, "add", 2, _job_id="later", _defer_by=60)
    await enqueued(pool, "add", 3, _queue_name="other")
    found = {job.job_id: job for job in await pool.queued_jobs()}
    assert found.keys() == {"now", "later"}
    assert (found["now"].function, found["now"].args, found["now"].kwargs) == (
        "add",
        (1,),
        {"b": 2},
    )
    assert found["later"].score is not None
    assert found["now"].score is not None
    assert found["later"].score - found["now"].score > 55_000
    assert [job.args for job in await pool.queued_jobs(queue_name="other")] == [(3,)]


async def test_all_job_results_lists_every_queue_by_time_of_enqueue(
    pool: Client, redis_settings: RedisSettings
) -> None:
    await enqueued(pool, "add", 1, _job_id="a")
    await asyncio.sleep(0.002)
    await enqueued(pool, "fails", _job_id="b", _queue_name="other")
    await asyncio.sleep(0.002)
    await enqueued(pool, "add", 2, _job_id="c")
    await enqueued(pool, "add", 9, _job_id="still", _defer_by=60)
    for queue in ("default", "other"):
        await burst([named(add), named(fails)], redis_settings, queue_name=queue)
    results = await pool.all_job_results()
    assert all(isinstance(result, JobResult) for result in results)
    seen = [(r.job_id, r.queue_name, r.success, r.function) for r in results]
    assert seen == [
        ("a", "default", True, "add"),
        ("b", "other", False, "fails"),
        ("c", "default", True, "add"),
    ]
    assert [r.result for r in results if r.success] == [2, 3]
    assert isinstance(results[1].result, JobFailed)
