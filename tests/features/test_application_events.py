"""Application events: A58, A81, A82."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from jobs import Client, Context, Event, Queue, State, emit, job, on, registry
from jobs.errors import InvalidOption
from tests.features.conftest import Work


class UserCreated(Event, name="user/created"):
    """Seed 003's first event."""

    user_id: int
    email: str


class OrderPlaced(Event, name="order/placed"):
    order_id: int
    total: float


class ReportScheduled(Event):
    account_id: int
    type: str
    token: SecretStr = SecretStr("")
    at: datetime | None = None


ADA = UserCreated(user_id=42, email="ada@example.com")


def subscribers() -> tuple[Any, Any]:
    """Two functions on two queues, subscribed to one event."""

    @on(UserCreated)
    @job("welcome", queue="email")
    async def welcome(ctx: Context, event: UserCreated) -> str:
        return f"{ctx.queue}: welcome {event.email}"

    @on(UserCreated)
    @job("count", queue=Queue("reports"))
    async def count(ctx: Context, event: UserCreated) -> str:
        return f"{ctx.queue}: user {event.user_id}"

    return welcome, count


async def test_a58_an_event_is_delivered_later(client: Client, work: Work) -> None:
    welcome, count = subscribers()
    at = datetime.now(UTC) + timedelta(hours=24)
    jobs = await emit(ADA, at=at)
    for one in jobs:
        details = await one.details()
        assert details.state is State.delayed
        assert details.due_at is not None
        assert abs((details.due_at - at).total_seconds()) < 0.01
    await work(welcome, count)
    soon = await emit(ADA, delay="30ms")
    assert len([await one.result(timeout=20) for one in soon]) == 2
    with pytest.raises(InvalidOption, match="not both"):
        await emit(ADA, at=at, delay=1)


async def test_a81_events_are_typed(client: Client, work: Work) -> None:
    seen: list[Event] = []

    @on(OrderPlaced, ReportScheduled)
    @job("audit")
    async def audit(ctx: Context, event: OrderPlaced | ReportScheduled) -> None:
        seen.append(event)

    await work(audit)
    order = OrderPlaced(order_id=7, total=12.5)
    report = ReportScheduled(
        account_id=1, type="daily", token=SecretStr("s3cret"), at=datetime(2026, 12, 1, tzinfo=UTC)
    )
    for event in (order, report):
        (queued,) = await emit(event)
        await queued.result(timeout=20)
    assert seen == [order, report]
    with pytest.raises(ValidationError):
        OrderPlaced(order_id="seven", total=1)  # type: ignore[arg-type]  # the mistake that is tested
    assert (OrderPlaced.event_name, ReportScheduled.event_name) == (
        "order/placed",
        "ReportScheduled",
    )


async def test_a81_events_with_the_same_fields_are_told_apart(client: Client, work: Work) -> None:
    """By the name that travels along, with the code and without it."""

    class Opened(Event):
        account: int

    class Closed(Event):
        account: int

    seen: list[Event] = []

    @on(Opened, Closed)
    @job("follow")
    async def follow(ctx: Context, event: Opened | Closed) -> None:
        seen.append(event)

    await work(follow)
    told: list[Event] = [Closed(account=1), Opened(account=2), Closed(account=3)]
    for event in told[:2]:
        (queued,) = await emit(event)
        await queued.result(timeout=20)
    registry.functions.clear()
    (queued,) = await emit(told[2])
    await queued.result(timeout=20)
    assert seen == told
    assert [type(event) for event in seen] == [Closed, Opened, Closed]
    with pytest.raises(ValidationError, match="expected the event 'Opened', got 'Closed'"):
        Opened.model_validate(told[0].model_dump())


async def test_a82_an_event_triggers_every_function_that_is_subscribed(
    client: Client, work: Work
) -> None:
    await work(*subscribers())
    jobs = await emit(ADA)
    assert [await one.result(timeout=20) for one in jobs] == [
        "reports: user 42",
        "email: welcome ada@example.com",
    ]


async def test_a82_an_event_with_an_id_makes_its_jobs_once(client: Client, work: Work) -> None:
    await work(*subscribers())
    first = await emit(ADA, id="signup-42")
    for one in first:
        await one.result(timeout=20)
    again = await emit(ADA, id="signup-42")
    assert [one.id for one in again] == ["signup-42:count", "signup-42:welcome"]
    assert [one.duplicate for one in (*first, *again)] == [False, False, True, True]
    other = await emit(ADA, id="signup-43")
    assert [one.duplicate for one in other] == [False, False]
    with pytest.raises(InvalidOption, match="non-empty"):
        await emit(ADA, id="")


async def test_a82_a_producer_without_the_code_reaches_all_subscribers(
    client: Client, work: Work
) -> None:
    """Workers note the subscriptions of their functions; values arrive as they were."""
    report = ReportScheduled(account_id=1, type="daily", token=SecretStr("s3cret"))
    seen: list[ReportScheduled] = []

    @on(ReportScheduled)
    @job("print", queue="reports")
    async def print_it(ctx: Context, event: ReportScheduled) -> None:
        seen.append(event)

    worker = await work(*subscribers(), print_it)
    await (await client.enqueue("print", report)).result(timeout=20)  # it has started
    registry.functions.clear()
    assert [one.id for one in await emit(ADA, id="e1")] == ["e1:count", "e1:welcome"]
    (queued,) = await emit(report)
    await queued.result(timeout=20)
    assert seen == [report, report]
    await worker.close()
    assert len(await emit(ADA)) == 2  # subscriptions outlive the worker


async def test_a82_a_function_that_subscribes_no_more_is_forgotten(
    client: Client, work: Work
) -> None:
    """When a worker starts with its new code."""
    welcome, count = subscribers()
    worker = await work(welcome, count)
    for one in await emit(ADA):
        await one.result(timeout=20)
    await worker.close()
    registry.functions.clear()

    @job("welcome", queue="email")
    async def without(ctx: Context, event: UserCreated) -> str:
        return "unsubscribed"

    await work(without)
    await (await client.enqueue("welcome", ADA)).result(timeout=20)
    assert [one.id for one in await emit(ADA, id="e2")] == ["e2:count"]


async def test_a82_an_event_that_nobody_wants_makes_no_job(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "jobs.events")
    assert await emit(ADA) == []
    assert "nobody is subscribed to the event 'user/created'" in caplog.text
    assert await client.queues() == []


def test_a82_what_cannot_be_subscribed_is_told() -> None:
    with pytest.raises(InvalidOption, match=r"takes subclasses of `jobs\.Event`, not None"):
        on()
    with pytest.raises(InvalidOption, match=r"takes subclasses of `jobs\.Event`"):
        on("user/created")  # type: ignore[arg-type]  # the mistake that is tested
    with pytest.raises(InvalidOption, match=r"write `@on\(…\)` above `@job`"):
        on(UserCreated)(test_a81_events_are_typed)  # type: ignore[type-var]  # the mistake that is tested
    with pytest.raises(InvalidOption, match="control characters"):

        class Wrong(Event, name="a\nb"):
            pass
