"""Schedules as stored objects (B77): one test a promise, on a real server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any

import pytest

from jobs import (
    Client,
    Context,
    RedisSettings,
    Schedule,
    Worker,
    func,
    job,
    schedule,
)
from jobs.errors import (
    ConfigurationError,
    InvalidOption,
    InvalidPayload,
    ScheduleNotFound,
    WrongState,
)
from jobs.keys import queue_keys
from tests.fundamentals.conftest import Work
from tests.helpers.keyspace import untyped
from tests.helpers.schedules import Report, idle, rewind
from tests.helpers.waiting import wait_until


async def test_b77_schedules_are_stored_objects(client: Client, work: Work) -> None:
    made = await client.schedules.upsert("a", "f", cron="@daily")
    assert await client.schedules.upsert("a", "f", cron="@daily") == made, "deploys change nothing"
    changed = await client.schedules.upsert("a", "f", cron="@hourly", priority=9)
    assert (changed.rule, changed.definition.priority) == ("@hourly in UTC", 9)
    await client.schedules.upsert("b", "g", every="1h", queue="other")
    assert [info.name for info in await client.schedules.list()] == ["a", "b"]
    assert [info.name for info in await client.schedules.list("other")] == ["b"]

    await client.schedules.pause("a")
    paused = await client.schedules.get("a")
    assert (paused.state, paused.next_at) == ("paused", None)
    assert await client.schedules.next("a") == []
    with pytest.raises(WrongState, match="'a' is paused"):
        await client.schedules.pause("a")
    by_hand = await client.schedules.run("a")
    assert (await by_hand.status()).value == "queued", "also while it is paused"
    await client.schedules.resume("a")
    with pytest.raises(WrongState, match="'a' is not paused"):
        await client.schedules.resume("a")
    assert len(await client.schedules.next("a", 3)) == 3

    await client.schedules.upsert("b", "g", every="1h", queue="third")
    assert [(i.name, i.queue) for i in await client.schedules.list()][1:] == [("b", "third")]
    await client.schedules.remove("a")
    for call in (client.schedules.get, client.schedules.remove, client.schedules.run):
        with pytest.raises(ScheduleNotFound, match="there is no schedule 'a'"):
            await call("a")


async def test_b77_what_the_code_declares(client: Client, work: Work) -> None:
    ran: list[str] = []

    @schedule("@yearly")
    @schedule(every="1s", name="ticks")
    @job("f", queue="q")
    async def f(ctx: Context, n: int = 0) -> None:
        ran.append(ctx.job_id)

    worker = await work(f, schedules=[Schedule("given", f.request(n=5), every="1h")])
    await wait_until(lambda: ran, description="it ticks")
    found = {info.name: info for info in await client.schedules.list()}
    assert sorted(found) == ["f", "given", "ticks"]
    assert all(info.from_code for info in found.values())
    assert found["given"].args == [5]

    await client.schedules.pause("ticks")
    await worker.close()
    await work(f)

    async def beats() -> bool:
        return bool(await client.queue("q").workers())

    await wait_until(beats, description="the second worker is up")
    assert (await client.schedules.get("ticks")).state == "paused", "a deploy ends no pause"


def timed(function: Any) -> Any:
    """A decorator of the application's own."""

    @wraps(function)
    async def call(*args: Any) -> Any:
        return await function(*args)

    return call


async def test_b77_declared_among_other_decorators(client: Client, work: Work) -> None:
    @schedule("@daily")
    @timed
    async def above(ctx: Any) -> None: ...

    @timed
    @schedule("@daily")
    async def below(ctx: Any) -> None: ...

    @job("inside")
    @schedule("@daily")
    async def inside(ctx: Context) -> None: ...

    @schedule("@daily")
    @job("outside")
    @timed
    async def outside(ctx: Context) -> None: ...

    await work(*(func(f, name=f.__name__) for f in (above, below)), inside, outside)

    async def stored() -> bool:
        names = [info.name for info in await client.schedules.list()]
        return names == ["above", "below", "inside", "outside"]

    await wait_until(stored, description="all four are stored")
    with pytest.raises(InvalidOption, match="`@schedule` stands on a function"):
        schedule("@daily")([].append)


async def test_b77_what_the_code_no_longer_declares_rests(client: Client, work: Work) -> None:
    @schedule(every="1s", name="old")
    @job("f", queue="q")
    async def f(ctx: Context) -> None: ...

    old = await work(f)

    async def fired() -> bool:
        found = await client.schedules.list("q")
        return bool(found) and found[0].fired > 0

    await wait_until(fired, description="the old release makes runs")
    await old.close()
    before = await client.schedules.get("old")

    @job("f", queue="q")
    async def g(ctx: Context) -> None: ...

    await client.schedules.upsert("new", "f", every="1s", queue="q")
    await work(g)

    async def new_fired() -> bool:
        return (await client.schedules.get("new")).fired >= 2

    await wait_until(new_fired, description="the new release makes runs")
    assert (await client.schedules.get("old")).fired == before.fired
    await rewind(client, "old", timedelta(hours=1), "q")
    assert (await client.schedules.get("old")).state == "overdue"


async def test_b77_two_declarations_of_one_name_are_refused(work: Work) -> None:
    @schedule("@daily")
    @schedule("@hourly")
    @job("f")
    async def f(ctx: Context) -> None: ...

    with pytest.raises(ConfigurationError, match=r"two schedules are called 'f'.*f-2"):
        await work(f)


async def test_b77_one_that_cannot_be_read_stops_no_other(client: Client, work: Work) -> None:
    keys = queue_keys("default")
    value = b"1 0 0 0 0 0 0\n" + b'{"cron":"@daily","tz":"Mars/Base"}\n{"function":"f"}'
    await untyped(client).hset(keys.schedules, mapping={"bad": value, "worse": b"x"})
    await client.schedules.upsert("good", "idle", every="1s")
    await work(idle)

    async def fired() -> bool:
        (info,) = await client.schedules.list()
        return info.fired > 0

    await wait_until(fired, description="the good one makes runs")
    await untyped(client).hdel(keys.schedules, "bad", "worse")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "one of `cron` .* not none of them"),
        ({"cron": "@daily", "every": "5m"}, "not `cron` and `every`"),
        ({"cron": "61 * * * *"}, "the minute of '61"),
        ({"cron": "@daily", "tz": "Mars/Base"}, "no time zone is called 'Mars/Base'"),
        ({"every": "5m", "tz": "UTC"}, "`tz` is the zone of `cron`"),
        ({"every": "-5m"}, "`every` is a duration"),
        ({"cron": "@daily", "misfire": "twice"}, "'skip', 'once' or 'all'"),
        ({"cron": "@daily", "overlap": "quue"}, "did you mean 'queue'"),
        ({"cron": "@daily", "misfire": "skip", "window": "1h"}, "makes up for nothing"),
        ({"cron": "@daily", "limit": True}, "`limit` is a whole number"),
        ({"cron": "@daily", "start": datetime(2026, 1, 1)}, "has no time zone"),  # noqa: DTZ001
        (
            {
                "cron": "@daily",
                "start": datetime(2026, 1, 2, 1, tzinfo=UTC),
                "end": datetime(2026, 1, 2, 2, tzinfo=UTC),
            },
            "is never due",
        ),
        ({"cron": "@daily", "id": "x"}, "`id` is an option of a single job"),
        ({"cron": "@daily", "jiter": "1m"}, "did you mean 'jitter'"),
        ({"cron": "@daily", "priority": 0}, "`priority`"),
    ],
)
async def test_b77_what_cannot_be_stores_nothing(
    client: Client, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidOption, match=sentence):
        await client.schedules.upsert("s", "f", **options)
    assert await client.schedules.list() == []


async def test_b77_a_payload_that_does_not_fit_stops_the_worker_at_its_start(
    redis_settings: RedisSettings,
) -> None:
    @schedule("@daily", payload={"account": "many"})
    @job("report")
    async def report(ctx: Context, report: Report) -> None: ...

    worker = Worker([report], redis_settings=redis_settings, handle_signals=False)
    with pytest.raises(InvalidPayload, match="account: Input should be a valid integer"):
        await worker.async_run()
    await worker.close()
