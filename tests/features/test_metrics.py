"""The figures of queues: windows instead of set sizes, per function, in days, for Prometheus."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobs import Client, Context, JobFailed, Keep, State, func
from jobs.cli.metrics import as_json, sparkline
from jobs.errors import InvalidOption
from jobs.keys import queue_keys
from jobs.operations.prometheus import scrape
from jobs.store.stats import DAY_MS, HOUR_MS, MINUTE_MS
from tests.helpers.acting import act
from tests.helpers.keyspace import untyped
from tests.helpers.waiting import wait_until
from tests.helpers.worker import running

KEYS = queue_keys("default")


async def quick(ctx: Context) -> None:
    """Return at once."""


async def slow(ctx: Context) -> None:
    await asyncio.sleep(0.05)


async def broken(ctx: Context) -> None:
    raise OSError


FUNCTIONS = [func(quick, name="quick"), func(slow, name="slow"), func(broken, name="broken")]


async def do(client: Client, url: str, **numbers: int) -> None:
    """So many jobs of each function, one attempt each."""
    async with running(url, FUNCTIONS):
        queued = [
            await client.enqueue(name, attempts=1) for name, n in numbers.items() for _ in range(n)
        ]
        for one in queued:
            try:
                await one.result(timeout=10)
            except JobFailed:
                assert "broken" in numbers


async def seed(client: Client, **counters: int) -> None:
    """Counters of the past: `name__minutes` ago -> number."""
    now = int((await client.time())[0]) // 60
    for text, number in counters.items():
        name, _, ago = text.rpartition("__")
        await untyped(client).hset(KEYS.stats, f"{now - int(ago)}:{name}", number)


async def test_a113_queue_metrics(client: Client, redis_url: str) -> None:
    """Seed 001's six fields; what has ended counts although retention removed it (K10, K11)."""
    nothing = Keep(count=0)
    forgetful = act.options(client=client, attempts=1, keep_completed=nothing, keep_failed=nothing)
    for how in ("ok", "ok", "ok", "error"):
        await forgetful.enqueue(how, "x")
    async with running(redis_url):

        async def ended() -> bool:
            found = await client.queue().metrics()
            return found.completed + found.failed == 4

        await wait_until(ended, description="four have ended", timeout=10)
    await act.options(client=client).enqueue("ok")
    await act.options(client=client, delay="1h").enqueue("ok")
    document = as_json(await client.queue().metrics())
    wanted = {"waiting": 1, "active": 0, "completed": 3, "failed": 1, "delayed": 1}
    assert wanted.items() <= document.items()
    assert document["avgProcessingTime"] == pytest.approx(document["run"]["average"])
    counts = await client.queue().counts()
    assert counts[State.completed] == counts[State.failed] == 0


async def test_a114_metrics_with_total(client: Client, redis_url: str) -> None:
    """Seed 003's form: the name, five counts and their sum."""
    await do(client, redis_url, quick=2, broken=1)
    await client.enqueue("quick")
    document = as_json(await client.queue().metrics())
    names = ("name", "waiting", "active", "completed", "failed", "delayed", "total")
    assert [document[name] for name in names] == ["default", 1, 0, 2, 1, 0, 4]


async def test_a115_success_failure_duration_and_worker_health(
    client: Client, redis_url: str
) -> None:
    await do(client, redis_url, slow=4, broken=2)
    figures = await client.queue().metrics()
    assert (figures.completed, figures.failed, figures.run.count) == (4, 2, 6)
    text = await scrape(client, {"default": KEYS})
    assert 'jobs_ended_total{queue="default",function="slow",state="completed"} 4' in text
    assert 'jobs_ended_total{queue="default",function="broken",state="failed"} 2' in text
    async with running(redis_url, FUNCTIONS) as worker:
        text = await scrape(client, {"default": KEYS})
        assert 'jobs_queue_workers{queue="default"} 1' in text
        assert f'jobs_worker_loop_lag_seconds{{queue="default",worker="{worker.id}"}}' in text


async def test_a119_depth_and_processing_time(client: Client, redis_url: str) -> None:
    await do(client, redis_url, slow=3)
    await client.enqueue("slow")
    await asyncio.sleep(0.02)
    figures = await client.queue().metrics()
    assert (figures.waiting, figures.run.count) == (1, 3)
    assert figures.oldest_waiting_ms is not None
    assert figures.oldest_waiting_ms >= 10
    for share in (figures.run.average, figures.run.p50, figures.run.p95, figures.run.p99):
        assert share is not None
        assert 40 < share < 1000
    assert figures.wait.p99 is not None


async def test_b169_per_minute_counters(client: Client) -> None:
    """A point a minute for charts, empty minutes included; completed jobs a minute."""
    await seed(client, completed__0=1, completed__3=6, failed__3=2, completed__61=100)
    figures = await client.queue().metrics()
    assert len(figures.series) == 60
    assert [point.completed for point in figures.series][-4:] == [6, 0, 0, 1]
    assert [point.failed for point in figures.series][-4:] == [2, 0, 0, 0]
    assert figures.series[-1].at - figures.series[0].at == timedelta(minutes=59)
    assert (figures.completed, figures.failed) == (7, 2)
    assert figures.per_minute == pytest.approx(7 / 60)


@pytest.mark.parametrize(
    ("since", "completed", "points"),
    [("5m", 1, 5), ("2h", 3, 120), ("24h", 7, 25), ("10d", 31, 11)],
)
async def test_the_window_is_chosen(
    client: Client, since: str, completed: int, points: int
) -> None:
    now = int((await client.time())[0]) * 1000
    before = {f"h{now // HOUR_MS - 5}:completed": 4, f"h{now // HOUR_MS - 200}:completed": 8}
    days = {f"d{now // DAY_MS - 8}:completed": 28, f"d{now // DAY_MS - 20}:completed": 64}
    await untyped(client).hset(KEYS.stats, mapping=before | days)
    await seed(client, completed__0=1, completed__90=2)
    figures = await client.queue().metrics(since)
    assert (figures.completed, len(figures.series)) == (completed, points)


@pytest.mark.parametrize("since", ["59s", "91d", "0", "soon"])
async def test_a_window_that_is_not_counted(client: Client, since: str) -> None:
    with pytest.raises(InvalidOption, match="`since`"):
        await client.queue().metrics(since)


async def test_b170_latency_percentiles_run_and_wait_per_function(
    client: Client, redis_url: str
) -> None:
    await do(client, redis_url, quick=5, slow=5, broken=2)
    figures = {one.function: one for one in (await client.queue().metrics()).functions}
    assert list(figures) == ["broken", "quick", "slow"]
    assert {name: one.run.count for name, one in figures.items()} == {
        "broken": 2, "quick": 5, "slow": 5,
    }  # fmt: skip
    assert (figures["broken"].failed, figures["slow"].completed) == (2, 5)
    quick, slow = figures["quick"].run.p95, figures["slow"].run.p50
    assert quick is not None
    assert slow is not None
    assert quick < 40 < slow
    assert figures["slow"].wait.count == 5
    assert figures["slow"].enqueued == 5


async def test_b171_age_of_the_oldest_job(client: Client) -> None:
    """How long the oldest has been free to run, also behind others of a better priority, and
    also as one of a group.
    """
    queue = client.queue()
    assert (await queue.metrics()).oldest_waiting_ms is None
    for options in ({"priority": 9}, {"key": "ada", "priority": 9}):
        old = await act.options(client=client, **options).enqueue("ok")
        await asyncio.sleep(0.05)
        await act.options(client=client, priority=1).enqueue("ok")
        oldest = (await queue.metrics()).oldest_waiting_ms
        assert oldest is not None
        assert 45 <= oldest < 5000
        await old.cancel()


async def test_b172_memory_per_queue(client: Client) -> None:
    before = await client.queue().memory()
    for _ in range(20):
        await act.options(client=client).enqueue("ok", "x" * 10_000)
    assert 200_000 < await client.queue().memory() - before < 400_000


async def test_b173_daily_history_90_days(client: Client) -> None:
    now = int((await client.time())[0]) * 1000
    today = now // DAY_MS
    days = {f"d{today - 89}:completed|a": 5, f"d{today - 1}:failed": 2, f"d{today - 90}:failed": 9}
    await untyped(client).hset(KEYS.stats, mapping=days)
    await seed(client, completed__0=3)
    history = await client.queue().history()
    assert len(history) == 90
    assert (history[0].completed, history[-2].failed, history[-1].completed) == (5, 2, 3)
    assert history[-1].at == datetime.fromtimestamp(today * DAY_MS / 1000, UTC)
    assert len(await client.queue().history(1)) == 1
    for wrong in (0, 91):
        with pytest.raises(InvalidOption, match="`days` is 1 to 90"):
            await client.queue().history(wrong)


SAMPLE = re.compile(r'^[a-z_]+\{([a-z]+="(?:[^"\\\n]|\\.)*",?)*\} -?[0-9.e+]+$')


async def test_b174_prometheus(client: Client, redis_url: str) -> None:
    """Every line is of the format, counters never fall when minutes are moved, histograms grow."""
    await do(client, redis_url, quick=3, slow=2)
    await client.enqueue('odd "name"\\', id="odd")
    text = await scrape(client, {"default": KEYS})
    families = re.findall(r"^# TYPE (\S+) (gauge|counter|histogram)$", text, re.MULTILINE)
    assert ("jobs_run_seconds", "histogram") in families
    for line in text.splitlines():
        assert line.startswith("# ") or SAMPLE.match(line), line
    assert 'jobs_queue_jobs{queue="default",state="waiting"} 1' in text
    assert 'function="odd \\"name\\"\\\\"' in text
    buckets = [
        float(number)
        for number in re.findall(
            r'^jobs_run_seconds_bucket\{queue="default",function="slow",le="[^"]+"\} (\S+)$',
            text, re.MULTILINE,
        )
    ]  # fmt: skip
    assert buckets == sorted(buckets)
    assert (buckets[0], buckets[-1]) == (0, 2)
    before = samples(text)
    fields: dict[bytes, bytes] = await untyped(client).hgetall(KEYS.stats)
    long_ago = (int((await client.time())[0]) * 1000 - 5 * HOUR_MS) // MINUTE_MS
    await client.delete(KEYS.stats)
    for field, number in fields.items():
        name = field.decode().partition(":")[2]
        await untyped(client).hincrby(KEYS.stats, f"{long_ago}:{name}", int(number))
    async with running(redis_url, FUNCTIONS, autorun=False):  # prunes when it starts

        async def moved() -> bool:
            return bool(await untyped(client).hget(KEYS.stats, "moved"))

        await wait_until(moved, description="old minutes are moved", timeout=10)
    after = samples(await scrape(client, {"default": KEYS}))
    assert {name: after[name] for name in before if "_total" in name} == {
        name: number for name, number in before.items() if "_total" in name
    }


def samples(text: str) -> dict[str, float]:
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


async def test_figures_of_a_busy_year_are_read_quickly(client: Client) -> None:
    """Three hours of ten busy functions, a week of hours and a quarter of days: under a second."""
    now = int((await client.time())[0]) // 60
    names = [f"{kind}:{n}|f{f}" for kind in ("run", "wait") for n in range(10) for f in range(10)]
    fields: dict[str, Any] = {
        f"{prefix}{start}:{name}": 1
        for prefix, starts in (("", range(now - 180, now)), ("h", range(168)), ("d", range(90)))
        for start in starts
        for name in names
    }
    for at in range(0, len(fields), 10_000):
        page = dict(list(fields.items())[at : at + 10_000])
        await untyped(client).hset(KEYS.stats, mapping=page)
    began = asyncio.get_running_loop().time()
    figures = await client.queue().metrics()
    took = asyncio.get_running_loop().time() - began
    assert figures.run.count == 59 * 100
    assert took < 2.0, f"{took:.2f} s for {len(fields)} counters"


def test_a_chart_of_one_line() -> None:
    assert sparkline([0, 0, 0]) == "▁▁▁"
    assert sparkline([0, 1, 7]) == "▁▂█"
    assert len(sparkline(list(range(60)))) == 20
    assert sparkline([]) == ""
