"""What schedules do beyond being on time (B78 to B88): one test a row, on a real server."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from jobs import (
    Client,
    Context,
    Schedule,
    State,
    job,
    schedule,
)
from jobs.engine.scheduler import Scheduler
from jobs.errors import (
    InvalidOption,
)
from tests.fundamentals.conftest import Work
from tests.helpers.schedules import idle, instant_of, rewind
from tests.helpers.waiting import wait_until

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("30 2 * * *", "2026-02-01T02:30"),
        ("15 30 2 * * *", "2026-02-01T02:30:15"),
        ("@daily", "2026-02-01"),
        ("@hourly", "2026-01-31T13:00"),
        ("@weekly", "2026-02-01"),
        ("@monthly", "2026-02-01"),
        ("@yearly", "2027-01-01"),
        ("0 0 L * *", "2026-02-28"),
        ("0 0 * * MON#2", "2026-02-09"),
        ("0 0 * * 5L", "2026-02-27"),
    ],
)
async def test_b78_five_or_six_fields_aliases_and_l(
    client: Client, cron: str, expected: str
) -> None:
    start = datetime(2126, 1, 31, 12, tzinfo=UTC)
    made = Schedule("s", "f", cron=cron)
    instant = made.timing.next_after(int(start.replace(year=2026).timestamp() * 1000))
    assert instant is not None
    assert datetime.fromtimestamp(instant / 1000, UTC) == datetime.fromisoformat(expected).replace(
        tzinfo=UTC
    )
    assert len(await client.schedules.next((await client.schedules.put(made)).name)) == 5


async def test_b79_zone_and_daylight_saving(client: Client) -> None:
    """The next instants of two schedules through the changes of the clock of 2099."""
    spring = datetime(2099, 3, 27, tzinfo=BERLIN)  # the clock goes forward on the 29th
    autumn = datetime(2099, 10, 25, 1, 45, tzinfo=BERLIN)  # and back on this day
    await client.schedules.upsert("a", "f", cron="30 2 * * *", tz="Europe/Berlin", start=spring)
    local = [at.astimezone(BERLIN) for at in await client.schedules.next("a", 4)]
    assert [f"{at:%d %H:%M}" for at in local] == ["27 02:30", "28 02:30", "29 03:00", "30 02:30"]
    await client.schedules.upsert("b", "f", cron="*/30 * * * *", tz="Europe/Berlin", start=autumn)
    found = await client.schedules.next("b", 5)
    assert [f"{at.astimezone(BERLIN):%H:%M%z}" for at in found] == [
        "02:00+0200", "02:30+0200", "02:00+0100", "02:30+0100", "03:00+0100",
    ]  # fmt: skip


async def test_b80_bounds_and_spreading(client: Client, work: Work) -> None:
    start = datetime(2099, 1, 1, 0, 0, 30, tzinfo=UTC)
    end = start + timedelta(minutes=2)
    await client.schedules.upsert("a", "f", every="1m", start=start, end=end, offset="5s")
    found = await client.schedules.next("a", 9)
    assert found == [start + timedelta(seconds=5), start + timedelta(seconds=65)]

    await client.schedules.upsert("b", "f", every="1s", jitter="1h", limit=1)
    await work(idle)

    async def fired() -> Any:
        return await client.queue().jobs(State.delayed)

    (info,) = await wait_until(fired, description="the run is put off")
    late = info.due_at - instant_of(info.id)
    assert timedelta() < late < timedelta(hours=1)
    made = Schedule("b", "f", every="1s", jitter="1h")
    instant = int(instant_of(info.id).timestamp() * 1000)
    assert made.policy.due_ms("b", instant) == instant + late // timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("policy", "runs"),
    [
        ({"misfire": "skip"}, 0),
        ({"misfire": "once"}, 1),
        ({"misfire": "all"}, 10),
        ({"misfire": "all", "window": "150m"}, 2),
        ({"misfire": "once", "window": "10m"}, 0),
    ],
)
async def test_b81_missed_runs(
    client: Client, work: Work, policy: dict[str, Any], runs: int
) -> None:
    """Ten hours without a scheduler, which came back half an hour after the last instant."""
    half = datetime.now(UTC) - timedelta(minutes=30)
    await client.schedules.upsert("s", "f", every="1h", start=half - timedelta(days=1), **policy)
    await rewind(client, "s", timedelta(hours=10))
    await work(idle)

    async def decided() -> bool:
        info = await client.schedules.get("s")
        return info.next_at is not None and info.next_at > datetime.now(UTC)

    await wait_until(decided, description="the past is decided")
    assert (await client.schedules.get("s")).fired == runs
    waiting = await client.queue().jobs(State.parked) + await client.queue().jobs(State.waiting)
    made = sorted(info.options["schedule"][1:] for info in waiting)
    assert len(made) == runs
    assert [last for _, last in made[1:]] == [instant for instant, _ in made[:-1]]


@pytest.mark.parametrize(("overlap", "most"), [("allow", 3), ("skip", 1), ("queue", 2)])
async def test_b82_a_run_whose_predecessor_goes_on(
    client: Client, work: Work, overlap: Any, most: int
) -> None:
    gate, started = asyncio.Event(), []

    @schedule(every="200ms", overlap=overlap, name="slow")
    async def slow(ctx: Any) -> None:
        started.append(ctx["job_id"])
        await gate.wait()

    await work(slow, max_jobs=3)

    async def over() -> bool:
        info = await client.schedules.get("slow")
        enough = info.fired >= 3 if overlap == "allow" else info.skipped >= 2
        return enough and (overlap != "queue" or info.held_at is not None)

    await wait_until(lambda: started, description="the first one runs")
    await wait_until(over, description="some instants have come")
    if overlap == "allow":
        await wait_until(lambda: len(started) == most, description="they run at once")
    else:
        assert len(started) == 1
    held = (await client.schedules.get("slow")).held_at
    gate.set()
    await wait_until(lambda: len(started) >= most, description="it goes on")
    if held is not None:
        assert instant_of(started[1]) == held


async def test_b83_backfill_of_a_past_time(client: Client) -> None:
    now = datetime.now(UTC).replace(minute=30, second=0, microsecond=0)
    await client.schedules.upsert("s", "f", cron="0 * * * *")
    start, end = now - timedelta(hours=5), now - timedelta(hours=1)
    made = await client.schedules.backfill("s", start, end)
    assert [instant_of(j.id) for j in made] == [
        start + timedelta(minutes=30) + n * timedelta(hours=1) for n in range(4)
    ]
    assert await client.schedules.backfill("s", start, end) == [], "each instant once"
    assert (await client.queue().counts())[State.waiting] == 4
    with pytest.raises(InvalidOption, match="`end` lies before `start`"):
        await client.schedules.backfill("s", end, start)
    with pytest.raises(InvalidOption, match="at most 10,000 runs"):
        await client.schedules.backfill("s", datetime(2000, 1, 1, tzinfo=UTC), end)


async def test_b82_the_run_that_waits_needs_no_further_instant(client: Client, work: Work) -> None:
    gate, started = asyncio.Event(), []

    @schedule(every="200ms", overlap="queue", name="slow", limit=2)
    async def slow(ctx: Any) -> None:
        started.append(ctx["job_id"])
        await gate.wait()

    await work(slow)

    async def held() -> bool:
        return (await client.schedules.get("slow")).held_at is not None

    await wait_until(lambda: started, description="the first one runs")
    await wait_until(held, description="the second one waits")
    gate.set()
    await wait_until(lambda: len(started) == 2, description="it goes on")
    assert (await client.schedules.get("slow")).state == "finished"


async def test_b82_a_parked_run_has_not_ended(client: Client, work: Work) -> None:
    await client.schedules.upsert("s", "nobody-has-it", every="1s", overlap="skip")
    await work(idle)

    async def parked() -> Any:
        info = await client.schedules.get("s")
        return info.skipped and await client.queue().jobs(State.parked)

    found = await wait_until(parked, description="one run is parked, the next left out")
    assert len(found) == 1


async def test_b85_the_first_scheduler_leads_and_another_follows(
    client: Client, work: Work
) -> None:
    ran: list[str] = []

    @schedule(every="500ms", name="led", misfire="all")
    async def tick(ctx: Any) -> None:
        ran.append(ctx["job_id"])

    workers = [await work(tick) for _ in range(3)]
    await wait_until(lambda: len(ran) >= 3, description="it ticks")

    def lags() -> list[int]:
        loops = [loop for w in workers if w._session for loop in w._session._loops]
        found = [loop for loop in loops if isinstance(loop, Scheduler)]
        return [board.lag_ms for loop in found for board in loop.boards.values()]

    await wait_until(lambda: lags().count(0) == 1, description="one leads")
    leader = workers[lags().index(0)]
    await leader.close()
    workers.remove(leader)
    seen = len(ran)
    await wait_until(lambda: len(ran) >= seen + 3, description="another goes on")
    instants = sorted(instant_of(job_id) for job_id in ran)
    gaps = {b - a for a, b in pairwise(instants)}
    assert gaps == {timedelta(milliseconds=500)}, "no instant is lost, none made twice"


async def test_b87_a_job_knows_its_instant_and_the_one_before(client: Client, work: Work) -> None:
    seen: list[Any] = []

    @schedule(every="500ms", name="s")
    @job("f")
    async def f(ctx: Context) -> None:
        seen.append(ctx.schedule)

    await work(f)
    await wait_until(lambda: len(seen) >= 2, description="two have run")
    first, second = seen[:2]
    assert (first.name, first.last) == ("s", None)
    assert second.last == first.at
    assert second.at - first.at == timedelta(milliseconds=500)
    plain = await client.enqueue("f")
    await plain.result(5)
    assert None in seen, "a job of no schedule has none"
