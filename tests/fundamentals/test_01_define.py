"""Chapter 1: a job is a function with `@job`; its annotations are its contract."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime
from typing import Any

import pytest
from pydantic import BaseModel

from jobs import Client, Context, job
from jobs.errors import InvalidOption
from tests.fundamentals.conftest import Work


async def test_calling_it_just_calls_it() -> None:
    @job
    async def add(ctx: Context, a: int, b: int) -> int:
        return a + b

    assert await add(Context(), 2, 3) == 5


async def test_it_is_called_as_the_function_or_as_it_is_told() -> None:
    @job
    async def resize(ctx: Context) -> None: ...

    @job("image.resize")
    async def other(ctx: Context) -> None: ...

    assert (resize.name, other.name) == ("resize", "image.resize")


async def test_a_worker_runs_it_and_the_result_comes_back(client: Client, work: Work) -> None:
    @job
    async def add(ctx: Context, a: int, b: int) -> int:
        return a + b

    await work(add)
    queued = await add.options(client=client).enqueue(2, 3)
    assert await queued.result(timeout=20) == 5


async def test_arguments_arrive_in_their_annotated_types(client: Client, work: Work) -> None:
    @job
    async def types(ctx: Context, day: date, sizes: set[int], at: datetime) -> list[str]:
        return [type(day).__name__, type(sizes).__name__, str(at.tzinfo)]

    await work(types)
    queued = await types.options(client=client).enqueue(
        date(2026, 12, 1), {1, 2}, datetime.now(UTC)
    )
    assert await queued.result(timeout=20) == ["date", "set", "UTC"]


async def test_one_model_is_the_usual_payload(client: Client, work: Work) -> None:
    class Order(BaseModel):
        number: int
        lines: list[str] = []

    @job("order")
    async def place(ctx: Context, order: Order) -> str:
        return f"{type(order).__name__} {order.number} {order.lines}"

    await work(place)
    queued = await place.enqueue(Order(number=7, lines=["tea"]), client=client)
    assert await queued.result(timeout=20) == "Order 7 ['tea']"


async def test_a_model_that_is_returned_comes_back_as_the_model(client: Client, work: Work) -> None:
    class Receipt(BaseModel):
        at: datetime

    @job
    async def pay(ctx: Context, cents: int) -> Receipt:
        return Receipt(at=datetime(2026, 12, 1, tzinfo=UTC))

    await work(pay)
    queued = await pay.options(client=client).enqueue(100)
    assert (await queued.result(timeout=20)).at.year == 2026


async def test_a_plain_def_runs_in_a_thread(client: Client, work: Work) -> None:
    @job
    def crunch(ctx: Context, n: int) -> tuple[int, bool]:
        return n * n, threading.current_thread() is threading.main_thread()

    await work(crunch)
    queued = await crunch.options(client=client).enqueue(12)
    assert tuple(await queued.result(timeout=20)) == (144, False)


async def test_ctx_holds_what_on_startup_made_and_what_the_job_is(
    client: Client, work: Work
) -> None:
    async def startup(ctx: dict[str, Any]) -> None:
        ctx["greeting"] = "hello"

    @job("greet", attempts=4)
    async def greet(ctx: Context) -> list[Any]:
        return [ctx["greeting"], ctx.job_id, ctx.function, ctx.queue, ctx.attempt, ctx.attempts]

    await work(greet, on_startup=startup)
    queued = await greet.options(client=client, id="g1").enqueue()
    assert await queued.result(timeout=20) == ["hello", "g1", "greet", "default", 1, 4]


async def test_a_job_can_enqueue_further_jobs_through_ctx(client: Client, work: Work) -> None:
    @job
    async def second(ctx: Context, text: str) -> str:
        return text.upper()

    @job
    async def first(ctx: Context, text: str) -> str:
        return (await second.enqueue(text)).id

    await work(first, second)
    started = await first.options(client=client).enqueue("hi")
    assert await client.job(await started.result(timeout=20)).result(timeout=20) == "HI"


async def test_the_idempotency_key_is_the_same_at_every_attempt(client: Client, work: Work) -> None:
    keys: list[str] = []

    @job("charge", attempts=2)
    async def charge(ctx: Context) -> None:
        keys.append(ctx.idempotency_key)
        raise ConnectionError

    await work(charge)
    from jobs import JobFailed, fixed

    queued = await charge.options(client=client, backoff=fixed("1ms")).enqueue()
    with pytest.raises(JobFailed):
        await queued.result(timeout=20)
    assert len(keys) == 2
    assert len(set(keys)) == 1


def test_a_function_without_ctx_is_refused_with_a_sentence() -> None:
    with pytest.raises(InvalidOption, match=r"write `lost\(ctx, …\)`"):

        @job("lost")  # type: ignore[arg-type]  # the mistake that is tested
        async def lost() -> None: ...
