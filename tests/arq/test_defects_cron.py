"""arq-D: cron jobs, by given instants and by a ticker whose clock the test moves."""

# ruff: noqa: N802 -- tests are named after the defects of arq

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from arq.connections import RedisSettings
from arq.cron import CronJob
from arq.jobs import JobStatus

from jobs import Client, Job, Retry, cron
from jobs.crontab import fields_spec
from jobs.engine.cron_ticker import CronTicker
from jobs.engine.link import Link
from jobs.errors import InvalidOption
from jobs.keys import queue_keys
from jobs.states import State
from tests.helpers.arq_app import Ctx, make_worker, named, running
from tests.helpers.waiting import wait_until

NEW_YORK = ZoneInfo("America/New_York")
AUTUMN, SPRING = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 3, 8, tzinfo=UTC)
EVERY_FIVE_MINUTES = set(range(0, 60, 5))


async def tick(ctx: Ctx) -> None:
    """Do nothing; what counts is that it was fired."""


class Ticker:
    """A ticker against the real scripts, whose server time is what the test says."""

    def __init__(self, client: Client, job: CronJob, zone: tzinfo, start: datetime) -> None:
        self.client, self.now = client, start
        client.time = self._time  # type: ignore[method-assign]  # the test's clock
        link = Link(client)
        self._ticker = CronTicker(link, "default", queue_keys("default"), [job], zone=zone)

    async def _time(self, **_: Any) -> tuple[int, int]:
        return int(self.now.timestamp()), self.now.microsecond

    async def advance(self, to: datetime, step: timedelta) -> None:
        """Look again and again until `to`."""
        while self.now <= to:
            await self._ticker.run_once()
            self.now += step

    async def fired(self) -> list[datetime]:
        """The instants of all jobs that were made."""
        states = (State.waiting, State.delayed)
        ids = [info.id async for info in self.client.queue().iterate(*states)]
        return sorted(
            datetime.fromtimestamp(int(job_id.rpartition(":")[2]) / 1000, UTC) for job_id in ids
        )


@pytest.fixture
async def ticking(redis_settings: RedisSettings) -> AsyncIterator[Client]:
    client = Client.from_settings(redis_settings)
    yield client
    await client.aclose()


def gaps(instants: list[datetime]) -> set[timedelta]:
    return {later - earlier for earlier, later in pairwise(instants)}


def following(spec: Any, start: datetime, end: datetime) -> list[datetime]:
    found = [spec.next_after(start)]
    while found[-1] < end:
        found.append(spec.next_after(found[-1]))
    return found


async def test_arq_D1_every_tick_of_the_repeated_hour_is_fired(ticking: Client) -> None:
    job = cron(tick, name="t", minute=EVERY_FIVE_MINUTES, microsecond=0)
    ticker = Ticker(ticking, job, NEW_YORK, AUTUMN + timedelta(hours=4, minutes=58))
    end = AUTUMN + timedelta(hours=8)
    await ticker.advance(end, timedelta(minutes=1))
    fired = await ticker.fired()
    assert gaps(fired) == {timedelta(minutes=5)}
    assert (fired[0], fired[-1]) == (AUTUMN + timedelta(hours=5), end)


async def test_arq_D2_the_skipped_hour_is_not_fired_at_once_and_no_id_twice(
    ticking: Client,
) -> None:
    job = cron(tick, name="t", minute=EVERY_FIVE_MINUTES, microsecond=0)
    start = SPRING + timedelta(hours=5, minutes=58)
    ticker = Ticker(ticking, job, NEW_YORK, start)
    await ticker.advance(SPRING + timedelta(hours=9), timedelta(minutes=1))
    fired = await ticker.fired()
    assert gaps(fired) == {timedelta(minutes=5)}
    assert len(fired) == len(set(fired)) == 37


@pytest.mark.parametrize(
    ("day", "fields", "expected"),
    [
        (AUTUMN, {"minute": {0, 30}}, ["04:30", "05:00", "05:30", "06:00", "06:30", "07:00"]),
        (SPRING, {"minute": {0, 30}}, ["04:30", "05:00", "05:30", "06:00", "06:30", "07:00"]),
        (SPRING, {"hour": 2, "minute": 30}, ["07:00"]),
        (AUTUMN, {"hour": 1, "minute": 30}, ["05:30"]),
    ],
    ids=["autumn half hours", "spring half hours", "spring gap once", "autumn fold once"],
)
def test_arq_D1_D2_further_measurements(
    day: datetime, fields: dict[str, Any], expected: list[str]
) -> None:
    spec = fields_spec(tz=NEW_YORK, microsecond=0, **fields)
    start, end = day + timedelta(hours=4, minutes=10), day + timedelta(hours=7)
    found = [instant for instant in following(spec, start, end) if instant <= end]
    assert [f"{instant:%H:%M}" for instant in found] == expected


async def test_arq_D3_the_default_zone_is_a_zone_that_follows_clock_changes(
    redis_settings: RedisSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    zone = make_worker([tick], redis_settings).timezone
    assert zone is not None
    offsets = {datetime(2026, month, 1, tzinfo=zone).utcoffset() for month in (1, 7)}
    assert offsets == {timedelta(hours=1), timedelta(hours=2)}


async def test_arq_D4_run_at_startup_runs_once_over_all_workers(
    pool: Client, redis_settings: RedisSettings
) -> None:
    runs: list[str] = []

    async def once(ctx: Ctx) -> None:
        runs.append(ctx["job_id"])

    crons = [cron(once, name="once", month=1, run_at_startup=True) for _ in range(3)]
    async with (
        running([], redis_settings, cron_jobs=crons[:1]),
        running([], redis_settings, cron_jobs=crons[1:2]),
        running([], redis_settings, cron_jobs=crons[2:]),
    ):
        await wait_until(
            lambda: runs and all(job.next_run for job in crons), description="all have looked"
        )

        async def empty() -> bool:
            return not any((await pool.queue().counts()).values())

        await wait_until(empty, description="the queue is empty")
    assert len(runs) == 1


async def test_arq_D5_a_cron_with_a_job_id_runs_at_each_of_its_instants(
    pool: Client, redis_settings: RedisSettings
) -> None:
    runs: list[float] = []

    async def each(ctx: Ctx) -> None:
        runs.append(asyncio.get_running_loop().time())

    every_second = cron(each, second=set(range(60)), job_id="mine")
    async with running([], redis_settings, cron_jobs=[every_second]):
        await wait_until(lambda: len(runs) == 3, description="it ran three times")
    assert runs[2] - runs[0] == pytest.approx(2, abs=0.9)


async def test_arq_D6_retry_in_a_cron_waits_as_long_as_it_says(
    pool: Client, redis_settings: RedisSettings
) -> None:
    tries: list[int] = []

    async def again(ctx: Ctx) -> None:
        tries.append(ctx["job_try"])
        if len(tries) == 1:
            raise Retry(defer=0.05)

    job = cron(again, month=1, run_at_startup=True, max_tries=3, job_id="mine")
    async with running([], redis_settings, cron_jobs=[job]):
        await wait_until(lambda: len(tries) == 2, description="it ran again")
    assert tries == [1, 2]


@pytest.mark.parametrize(
    "fields",
    [
        {"minute": 60},
        {"hour": 24},
        {"weekday": {"monday"}},
        {"month": 2, "day": 31},
        {"month": 2, "day": 30},
        {"second": set()},
        {"microsecond": 1_000_000},
    ],
    ids=str,
)
async def test_arq_D7_impossible_fields_are_refused_at_once(
    redis_settings: RedisSettings, fields: dict[str, Any]
) -> None:
    worker = make_worker([], redis_settings, cron_jobs=[cron(tick, **fields)])
    with pytest.raises(InvalidOption):
        await asyncio.wait_for(worker.async_run(), 20)
    await worker.close()


@pytest.mark.parametrize("name", ["tue", "tues", "thu", "thurs"])
def test_arq_D7_weekdays_have_the_names_of_people_and_of_arq(name: str) -> None:
    spec = fields_spec(tz=UTC, weekday=name, hour=0, minute=0)
    assert spec.next_after(AUTUMN).weekday() == (1 if name.startswith("tu") else 3)


async def test_arq_D8_after_a_stall_the_present_tick_is_fired_and_not_every_missed_one(
    ticking: Client,
) -> None:
    job = cron(tick, name="t", second=set(range(60)), microsecond=0)
    ticker = Ticker(ticking, job, UTC, AUTUMN)
    await ticker.advance(AUTUMN + timedelta(seconds=5), timedelta(seconds=1))
    before = len(await ticker.fired())
    ticker.now += timedelta(seconds=60)
    await ticker.advance(ticker.now + timedelta(seconds=1), timedelta(seconds=1))
    assert len(await ticker.fired()) - before <= 3


async def test_arq_D9_the_last_fired_instant_is_on_record(ticking: Client) -> None:
    """Ticks are not made up for, as in arq; but a look at the record shows the gap."""
    job = cron(tick, name="t", minute=EVERY_FIVE_MINUTES, microsecond=0)
    ticker = Ticker(ticking, job, UTC, AUTUMN)
    await ticker.advance(AUTUMN + timedelta(minutes=11), timedelta(minutes=1))
    (last,) = await cast("Any", ticking).hvals(queue_keys("default").ticks)
    assert int(last) == (AUTUMN + timedelta(minutes=10)).timestamp() * 1000


async def test_a_cron_job_made_ahead_of_time_waits_for_its_instant(
    pool: Client, redis_settings: RedisSettings
) -> None:
    at: list[float] = []

    async def notes(ctx: Ctx) -> None:
        at.append(datetime.now(UTC).timestamp())

    job = cron(notes, name="notes", second=set(range(60)), microsecond=0)
    async with running([named(tick)], redis_settings, cron_jobs=[job]):
        await wait_until(lambda: len(at) == 2, description="it ran twice")
    assert all(second % 1 < 0.5 for second in at), "at the top of a second, not before it"
    assert await Job(f"notes:{int(at[0]) * 1000}", pool).status() is JobStatus.not_found
