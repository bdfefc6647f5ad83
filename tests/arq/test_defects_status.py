"""arq-E: status, health, configuration, safety."""

# ruff: noqa: N802 -- tests are named after the defects of arq

from __future__ import annotations

import asyncio
import base64
import logging
import pickle
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import redis.asyncio.sentinel
from arq.connections import RedisSettings
from arq.jobs import JobStatus

import jobs
from jobs import Client, Job, JobFailed, State, func
from jobs.codec import encode_body
from jobs.keys import queue_keys
from jobs.store import queue as store
from tests.helpers.arq_app import (
    ArqCommand,
    Ctx,
    add,
    burst,
    enqueued,
    fails,
    make_worker,
    named,
    running,
)
from tests.helpers.waiting import wait_until

HEALTH_KEY = "arq:queue:health-check"
KEYS = queue_keys("default")


# -- E1, E2: health ----------------------------------------------------------------------------


async def test_arq_E1_the_health_key_stays_while_another_worker_lives(
    pool: Client, redis_settings: RedisSettings
) -> None:
    async with running([add], redis_settings, lease=5):
        async with running([add], redis_settings, lease=5):

            async def both() -> bool:
                return len(await pool.queue().workers()) == 2

            await wait_until(both, description="both are in the registry")
        assert await pool.exists(HEALTH_KEY) == 1
    assert await pool.exists(HEALTH_KEY) == 0


def test_arq_E2_the_default_interval_is_thirty_seconds(redis_url: str) -> None:
    async def interval() -> float:
        return make_worker([add], RedisSettings.from_dsn(redis_url)).health_check_interval

    assert asyncio.run(interval()) == 30


async def test_arq_E2_a_hung_worker_is_noticed_within_an_interval(
    pool: Client, arq_command: Callable[..., ArqCommand]
) -> None:
    command = arq_command(more=["health_check_interval = 0.2"])
    process = command.start()
    await wait_until(lambda: pool.exists(HEALTH_KEY), description="it is healthy", timeout=20)
    process.send_signal(signal.SIGSTOP)

    async def gone() -> bool:
        return not await pool.exists(HEALTH_KEY)

    await wait_until(gone, description="the health key expires")
    process.send_signal(signal.SIGCONT)
    await wait_until(lambda: pool.exists(HEALTH_KEY), description="it is healthy again")


# -- E3, E4, E5: answers -----------------------------------------------------------------------


async def test_arq_E3_a_handle_knows_its_queue(pool: Client, redis_settings: RedisSettings) -> None:
    made = await enqueued(pool, "add", 1, _queue_name="A")
    assert await made.status() is JobStatus.queued
    assert await pool.job(made.job_id, "A").status() is JobStatus.queued
    assert await Job(made.job_id, pool, "A").status() is JobStatus.queued
    assert await Job(made.job_id, pool).status() is JobStatus.not_found, "ids belong to a queue"
    await burst([add], redis_settings, queue_name="A")
    assert await made.result() == 2


async def test_arq_E4_the_lists_survive_expired_jobs_and_scan_no_keys(
    pool: Client, redis_settings: RedisSettings
) -> None:
    await enqueued(pool, "add", 1, _expires=0.001)
    await enqueued(pool, "add", 2)
    await asyncio.sleep(0.005)
    assert [info.args for info in await pool.queued_jobs()] == [(1,), (2,)]
    await burst([add], redis_settings)
    assert {r.success for r in await pool.all_job_results()} == {False, True}
    assert await _scans_during(pool, pool.all_job_results) == 0


async def _scans_during(pool: Client, action: Callable[[], Any]) -> int:
    """How often KEYS and SCAN were called during an action."""

    async def count() -> int:
        stats = await pool.info("commandstats")
        names = ("cmdstat_keys", "cmdstat_scan")
        return sum(int(stats.get(name, {}).get("calls", 0)) for name in names)

    before = await count()
    await action()
    return await count() - before


async def test_arq_E5_early_ends_obey_the_functions_keep_result(
    pool: Client, redis_settings: RedisSettings
) -> None:
    """A job that ended before its function ran; a failed one is a dead letter and is kept."""
    expired = await enqueued(pool, "short", _expires=0.001)
    failed = await enqueued(pool, "fails")
    await asyncio.sleep(0.005)
    functions = [func(add, name="short", keep_result=10), func(fails, keep_result=10)]
    await burst(functions, redis_settings, keep_result=5000)
    info = await expired.result_info()
    assert info is not None
    until_ms = await pool.zscore(KEYS.expiry, expired.job_id)
    assert until_ms == pytest.approx(info.finish_time.timestamp() * 1000 + 10_000, abs=1)
    assert await failed.state() is State.failed
    assert await pool.zscore(KEYS.expiry, failed.job_id) is None


# -- E6, E10: settings -------------------------------------------------------------------------


def test_arq_E6_from_dsn_decodes_the_password_and_reads_its_options() -> None:
    dsn = "rediss://me:p%40ss%2F1@example.com:7000/2?ssl_cert_reqs=none&conn_retries=9"
    settings = jobs.RedisSettings.from_dsn(dsn)
    assert (settings.username, settings.password) == ("me", "p@ss/1")
    assert (settings.host, settings.port, settings.database) == ("example.com", 7000, 2)
    assert (settings.ssl, settings.ssl_cert_reqs, settings.conn_retries) == (True, "none", 9)
    assert "p@ss" not in repr(settings)
    assert "p%40ss" not in repr(settings)


def test_arq_E6_a_misspelt_option_of_the_address_is_refused() -> None:
    with pytest.raises(jobs.JobsError, match="did you mean 'conn_retries'"):
        jobs.RedisSettings.from_dsn("redis://localhost?conn_retry=1")


def test_arq_E10_sentinels_get_their_own_password_and_everybody_the_timeouts() -> None:
    """Built, not run: a fail-over under sentinels is a test of its own."""
    settings = jobs.RedisSettings(
        host=[("a", 1), ("b", 2)],
        sentinel=True,
        password="servers",
        socket_timeout=3,
        conn_timeout=2,
        ssl=True,
        ssl_ca_certs="/ca.pem",
        sentinel_kwargs={"password": "sentinels"},
    )
    pool = Client.from_settings(settings).connection_pool
    assert isinstance(pool, redis.asyncio.sentinel.SentinelConnectionPool)
    options = pool.connection_kwargs
    assert (options["password"], options["socket_timeout"]) == ("servers", 3)
    assert (options["socket_connect_timeout"], options["ssl_ca_certs"]) == (2, "/ca.pem")
    manager = cast("Any", pool.sentinel_manager)
    asked = [sentinel.connection_pool.connection_kwargs for sentinel in manager.sentinels]
    assert [(o["host"], o["port"], o["password"]) for o in asked] == [
        ("a", 1, "sentinels"),
        ("b", 2, "sentinels"),
    ]


# -- E8: signals -------------------------------------------------------------------------------


async def test_arq_E8_building_a_worker_leaves_the_applications_signals_alone(
    redis_settings: RedisSettings,
) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    make_worker([add], redis_settings, handle_signals=True)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


async def test_arq_E8_the_applications_handlers_are_back_when_the_worker_has_ended(
    redis_settings: RedisSettings,
) -> None:
    heard: list[int] = []
    previous = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        await burst([add], redis_settings, handle_signals=True)
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(0)
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, previous)


async def test_arq_E8_a_handler_of_the_applications_loop_is_back_as_well(
    redis_settings: RedisSettings,
) -> None:
    heard = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, heard.set)
    try:
        await burst([add], redis_settings, handle_signals=True)
        signal.raise_signal(signal.SIGTERM)
        await asyncio.wait_for(heard.wait(), 2)
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


# -- E9, E12, E13: safety ----------------------------------------------------------------------


async def test_arq_E9_arguments_and_results_are_logged_nowhere(
    pool: Client, redis_settings: RedisSettings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def echo(ctx: Ctx, secret: str, *, word: str) -> str:
        return secret + word

    async def loses(ctx: Ctx, secret: str) -> None:
        raise ValueError("no")

    await enqueued(pool, "echo", "hush-1", word="hush-2")
    await enqueued(pool, "loses", "hush-3")
    await enqueued(pool, "unknown", "hush-4")
    await enqueued(pool, "echo", "hush-5", _expires=0.001)
    await asyncio.sleep(0.005)
    await burst([named(echo), named(loses)], redis_settings)
    assert "echo completed" in caplog.text
    assert "loses failed for good" in caplog.text
    assert "hush" not in caplog.text


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("header", [True, False], ids=["in our envelope", "as arq writes it"])
async def test_arq_E12_pickle_written_straight_to_the_server_is_never_loaded(
    pool: Client, redis_settings: RedisSettings, tmp_path: Path, header: bool
) -> None:
    bomb = pickle.dumps({"f": "add", "a": (Bomb(tmp_path / "boom"),), "k": {}, "o": {}})
    body = encode_body("evil", "add", [], {}, serializer=lambda _: bomb) if header else bomb
    await store.enqueue(pool, KEYS, [store.Entry("evil", body, 3)], again=False)
    worker = await burst([add], redis_settings)
    job: Job[Any] = Job("evil", pool)
    assert await job.state() is State.parked
    assert (worker.jobs_complete, worker.jobs_failed) == (0, 0)
    info = await job.info()
    assert info is not None
    assert info.args == ()
    assert not (tmp_path / "boom").exists()


async def test_arq_E12_a_pickled_result_is_never_loaded_by_a_client(
    pool: Client, redis_settings: RedisSettings, tmp_path: Path
) -> None:
    job = await enqueued(pool, "add", 1)
    await burst([add], redis_settings)
    own = base64.b64encode(pickle.dumps({"r": Bomb(tmp_path / "boom")}))
    line = b'{"outcome":"completed","own":"%s"}' % own
    await cast("Any", pool).hset(KEYS.result, job.job_id, line)
    assert await job.result() is None
    assert len(await pool.all_job_results()) == 1
    assert not (tmp_path / "boom").exists()


async def test_arq_E13_the_traceback_of_a_failed_job_is_kept(
    pool: Client, redis_settings: RedisSettings
) -> None:
    async def deep(ctx: Ctx) -> None:
        await fails(ctx)

    job = await enqueued(pool, "deep")
    await burst([named(deep)], redis_settings)
    with pytest.raises(JobFailed) as caught:
        await job.result()
    assert caught.value.traceback is not None
    assert "in deep" in caught.value.traceback
    assert 'raise ValueError("no")' in caught.value.traceback
