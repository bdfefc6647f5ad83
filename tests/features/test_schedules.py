"""Schedules as the seeds have them: one test a row of the list, on a real server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from jobs import (
    Client,
    Context,
    State,
    exponential,
    func,
    job,
    schedule,
)
from jobs.errors import (
    InvalidOption,
)
from tests.fundamentals.conftest import Work
from tests.helpers.schedules import Report, instant_of
from tests.helpers.waiting import wait_until


async def test_a35_repeat_inside_the_options_of_enqueue(client: Client) -> None:
    end = datetime(2099, 12, 31, tzinfo=UTC)
    repeat = {"cron": "0 9 * * 1", "tz": "America/New_York", "limit": 100, "endDate": end}
    first = await client.enqueue("report", {"account": 1}, repeat=repeat, attempts=5, priority=2)
    again = await client.enqueue("report", {"account": 1}, repeat=repeat, attempts=5, priority=2)
    assert again.id == first.id
    (info,) = await client.schedules.list()
    assert first.id == f"{info.name}:{int(info.next_at.timestamp() * 1000) if info.next_at else 0}"
    assert (info.rule, info.kwargs) == ("0 9 * * 1 in America/New_York", {"account": 1})
    assert (info.definition.timing.limit, info.definition.priority) == (100, 2)
    await client.enqueue("report", {"account": 2}, repeat=repeat)
    assert len(await client.schedules.list()) == 2, "another payload is another schedule"

    milliseconds = await client.enqueue("report", repeat={"every": 300_000}, id="health-check")
    assert milliseconds.id.startswith("health-check:")
    assert (await client.schedules.get("health-check")).rule == "every 5 m"
    text = {"pattern": "0 2 * * *", "endDate": "2099-12-31T00:00:00Z", "key": "cleanup"}
    await client.enqueue("report", repeat=text)
    assert (await client.schedules.get("cleanup")).definition.timing.end is not None
    assert (await client.queue().counts())[State.waiting] == 0, "nothing runs before its instant"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"repeat": {}}, "one of `cron`"),
        ({"repeat": "daily"}, "`repeat` is a dict"),
        ({"repeat": {"cron": "@daily", "every": 5}}, "not `cron` and `every`"),
        ({"repeat": {"crom": "@daily"}}, "did you mean 'cron'"),
        ({"repeat": {"cron": "@daily", "endDate": "soon"}}, "`endDate` is an aware datetime"),
        ({"repeat": {"cron": "@daily", "limit": 0}}, "`limit` is a whole number"),
        ({"repeat": {"cron": "@daily"}, "delay": 5}, "`delay` is an option of a single job"),
        ({"repeat": {"every": 0}}, "longer than zero"),
    ],
)
async def test_a35_a_repeat_that_cannot_be_stores_nothing(
    client: Client, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidOption, match=sentence):
        await client.enqueue("report", **options)
    assert await client.schedules.list() == []


async def test_a35_one_schedule_a_call(client: Client) -> None:
    @job("report")
    async def report(ctx: Context, report: Report) -> None: ...

    with pytest.raises(InvalidOption, match="`repeat` makes a schedule"):
        await client.enqueue_many([report.request(Report(), repeat={"cron": "@daily"})])
    await report.enqueue(Report(), repeat={"cron": "@daily"})
    (info,) = await client.schedules.list()
    assert info.function == "report"


async def test_a49_cron_strings(client: Client, work: Work) -> None:
    ran: list[str] = []

    @schedule("* * * * * *")
    async def tick(ctx: Any) -> None:
        ran.append(ctx["job_id"])

    @schedule(pattern="0 0 * * *")
    @job("nightly")
    async def nightly(ctx: Context) -> None: ...

    await work(tick, nightly)
    await wait_until(lambda: len(ran) >= 2, description="two seconds have fired")
    assert instant_of(ran[1]) - instant_of(ran[0]) == timedelta(seconds=1)
    assert instant_of(ran[0]).microsecond == 0
    found = {info.name: info.rule for info in await client.schedules.list()}
    assert found["nightly"] == "0 0 * * * in UTC"


async def test_a50_a_pattern_with_a_zone_upserted_at_start(client: Client, work: Work) -> None:
    @schedule(pattern="0 9 * * 1", tz="America/New_York", name="weekly-digest")
    @job("digest", queue="email")
    async def digest(ctx: Context) -> None: ...

    for _ in range(2):
        await work(digest)

    async def there() -> bool:
        return len(await client.schedules.list()) == 1

    await wait_until(there, description="it is stored")
    info = await client.schedules.get("weekly-digest")
    assert (info.queue, info.from_code, info.function) == ("email", True, "digest")
    assert info.next_at is not None
    local = info.next_at.astimezone(ZoneInfo("America/New_York"))
    assert (local.hour, local.minute, local.weekday()) == (9, 0, 0)


async def test_a51_every(client: Client) -> None:
    info = await client.schedules.upsert("health", "check", every="5m")
    assert info.next_at is not None
    assert info.next_at.timestamp() % 300 == 0, "aligned: :00, :05 … on every machine"
    now = datetime.now(UTC)
    from_now = await client.schedules.upsert("later", "check", every="5m", start=now)
    assert from_now.next_at is not None
    since = (from_now.next_at - now) / timedelta(minutes=5)
    assert since == pytest.approx(round(since), abs=1e-4)


async def test_a52_zone_end_and_limit_together(client: Client, work: Work) -> None:
    end = datetime.now(UTC) + timedelta(hours=1)
    info = await client.schedules.upsert(
        "three", "tick", cron="* * * * * *", tz="America/New_York", end=end, limit=2
    )
    assert info.definition.timing.limit == 2
    ran: list[str] = []

    async def tick(ctx: Any) -> None:
        ran.append(ctx["job_id"])

    await work(func(tick, name="tick"))

    async def finished() -> bool:
        return (await client.schedules.get("three")).state == "finished"

    await wait_until(finished, description="the limit is reached")
    assert await client.schedules.next("three") == []
    info = await client.schedules.get("three")
    assert (info.fired, info.next_at) == (2, None)
    await wait_until(lambda: len(ran) == 2, description="both have run")


async def test_a53_any_coroutine_fans_out(client: Client, work: Work) -> None:
    done: list[int] = []

    @job("cleanup")
    async def cleanup(ctx: Context, part: int) -> None:
        done.append(part)

    @schedule(every="1s", limit=1)
    async def at_two(ctx: Any) -> None:
        for part in range(3):
            await cleanup.enqueue(part)

    await work(at_two, cleanup)
    await wait_until(lambda: sorted(done) == [0, 1, 2], description="the three parts ran")


async def test_a54_a_function_with_a_trigger(client: Client, work: Work) -> None:
    got: list[Report] = []

    @schedule("* * * * * *", payload=Report(account=7), limit=1)
    @job("daily-report", queue="reports", attempts=2, backoff=exponential("10ms"))
    async def daily_report(ctx: Context, report: Report) -> str:
        got.append(report)
        if ctx.attempt == 1:
            raise RuntimeError("the first attempt fails")
        return "sent"

    await work(daily_report)
    await wait_until(lambda: len(got) == 2, description="its second attempt ran")
    assert got == [Report(account=7)] * 2
    info = await client.schedules.get("daily-report")
    assert info.last_at is not None
    job_id = f"daily-report:{int(info.last_at.timestamp() * 1000)}"
    assert await client.job(job_id, "reports").result(5) == "sent", "kept with its history"


async def test_a55_the_scheduler_lives_in_the_worker_and_every_run_is_recorded(
    client: Client, work: Work
) -> None:
    @schedule(every="1s", limit=1)
    async def fails(ctx: Any) -> None:
        raise RuntimeError("said in the history")

    await work(fails)

    async def failed() -> Any:
        return await client.queue().jobs(State.failed)

    (info,) = await wait_until(failed, description="the run has failed")
    assert info.error["message"] == "said in the history"


async def test_a56_one_firing_an_instant_over_the_fleet(client: Client, work: Work) -> None:
    ran: list[str] = []

    @schedule(every="500ms", name="once")
    async def tick(ctx: Any) -> None:
        ran.append(ctx["job_id"])

    for _ in range(4):
        await work(tick)
    await wait_until(lambda: len(ran) >= 5, description="five instants have fired")
    instants = sorted(instant_of(job_id) for job_id in ran)
    assert len(set(ran)) == len(ran)
    assert {b - a for a, b in pairwise(instants)} == {timedelta(milliseconds=500)}
    assert len(await client.schedules.list()) == 1


async def test_a57_scheduled_at_run_time_by_parameters(client: Client, work: Work) -> None:
    got: list[Report] = []

    @job("report")
    async def report(ctx: Context, report: Report) -> None:
        got.append(report)

    await work(report)

    async def beats() -> bool:
        return bool(await client.queue().workers())

    await wait_until(beats, description="the worker has read the schedules")
    await client.schedules.upsert("by-name", "report", {"account": 1}, every="1s", limit=1)
    await client.schedules.upsert(
        "by-request", report.request(Report(account=2)), cron="* * * * * *", limit=1
    )
    await wait_until(lambda: len(got) == 2, description="a running worker heard of both")
    assert sorted(r.account for r in got) == [1, 2]
