"""What a worker fills in: A9, B139."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from jobs import (
    Client,
    Context,
    Depends,
    JobFailed,
    fixed,
    func,
    job,
    overriding,
)
from jobs.errors import InvalidOption, InvalidPayload
from tests.features.conftest import Work


class Mail:
    """A service that jobs are given."""

    def __init__(self, sender: str = "shop") -> None:
        self.sender, self.closed = sender, False


async def test_a9_dependencies_with_lifetimes(client: Client, work: Work) -> None:
    """Made once for the worker and once for each attempt; closed in reverse, and with them."""
    story: list[str] = []

    async def pool(ctx: dict[str, Any]) -> AsyncIterator[str]:
        story.append(f"pool for {'redis' in ctx}")
        yield "pool"
        story.append("pool closed")

    def session(ctx: Context, pool: str = Depends(pool, lifetime="worker")) -> Iterator[str]:
        story.append(f"session on {pool}")
        yield f"session of {ctx.job_id}"
        story.append("session closed")

    async def mail(session: str = Depends(session)) -> str:
        return f"mail through {session}"

    @job
    async def send(
        ctx: Context, user: int, mail: str = Depends(mail), session: str = Depends(session)
    ) -> str:
        story.append(f"send {user}")
        return f"{mail}, {session}"

    worker = await work(send)
    for number in (1, 2):
        queued = await send.options(id=f"job-{number}").enqueue(number)
        assert await queued.result(timeout=20) == (
            f"mail through session of job-{number}, session of job-{number}"
        )
    await worker.close()
    assert story == [
        "pool for True",
        *("session on pool", "send 1", "session closed"),
        *("session on pool", "send 2", "session closed"),
        "pool closed",
    ]


async def test_a9_a_value_of_the_application_is_shared_by_its_workers(
    client: Client, work: Work
) -> None:
    made: list[Mail] = []

    async def mail() -> AsyncIterator[Mail]:
        made.append(Mail())
        yield made[-1]
        made[-1].closed = True

    @job(queue="one")
    async def first(ctx: Context, mail: Mail = Depends(mail, lifetime="app")) -> int:
        return id(mail)

    @job(queue="two")
    async def second(ctx: Context, mail: Mail = Depends(mail, lifetime="app")) -> int:
        return id(mail)

    workers = [await work(first), await work(second)]
    one = await (await first.enqueue()).result(timeout=20)
    assert one == await (await second.enqueue()).result(timeout=20)
    await workers[0].close()
    assert [item.closed for item in made] == [False]
    await workers[1].close()
    assert [item.closed for item in made] == [True]


async def test_a9_two_jobs_that_need_a_value_at_once_make_it_once(
    client: Client, work: Work
) -> None:
    made = 0

    async def pool() -> int:
        nonlocal made
        made += 1
        await asyncio.sleep(0.02)
        return made

    @job
    async def use(ctx: Context, pool: int = Depends(pool, lifetime="worker")) -> int:
        return pool

    await work(use)
    queued = await client.enqueue_many([use.request() for _ in range(10)])
    assert {await one.result(timeout=20) for one in queued} == {1}


async def test_a9_a_dependency_sees_the_error_and_cannot_hide_it(
    client: Client, work: Work
) -> None:
    story: list[str] = []

    async def transaction() -> AsyncIterator[str]:
        try:
            yield "open"
        except ValueError as error:
            story.append(f"rolled back: {error}")
        else:
            story.append("committed")

    @job(attempts=1)
    async def book(ctx: Context, fails: bool, db: str = Depends(transaction)) -> str:
        if fails:
            raise ValueError("no money")
        return db

    await work(book)
    assert await (await book.enqueue(fails=False)).result(timeout=20) == "open"
    with pytest.raises(JobFailed, match="no money"):
        await (await book.enqueue(fails=True)).result(timeout=20)
    assert story == ["committed", "rolled back: no money"]


async def test_a9_a_provider_that_fails_fails_the_attempt_and_is_tried_again(
    client: Client, work: Work
) -> None:
    tries = 0

    async def pool() -> str:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ConnectionError("no database yet")
        return "pool"

    @job(attempts=2, backoff=fixed("1ms"))
    async def use(ctx: Context, pool: str = Depends(pool, lifetime="worker")) -> str:
        return pool

    await work(use)
    queued = await use.enqueue()
    assert await queued.result(timeout=20) == "pool"
    first = (await queued.details()).history[0]
    assert first["error"]["message"] == "no database yet"


async def test_b139_dependencies_are_no_part_of_the_payload(client: Client, work: Work) -> None:
    """A producer can neither forget nor forge them, and a lone model stays the payload."""

    class Order(BaseModel):
        number: int

    @job("ship")
    async def ship(
        ctx: Context, order: Order, mail: Annotated[Mail, Depends(Mail)], note: str = "none"
    ) -> list[Any]:
        return [order.number, mail.sender, note]

    @job("pay")
    async def pay(ctx: Context, order: Order, mail: Mail = Depends(Mail)) -> str:
        return f"{order.number} {mail.sender}"

    await work(ship, pay)
    queued = await client.enqueue("ship", {"order": {"number": 7}, "note": "soon"})
    assert await queued.result(timeout=20) == [7, "shop", "soon"]
    assert await (await client.enqueue("pay", {"number": 8})).result(timeout=20) == "8 shop"
    with pytest.raises(InvalidPayload, match="mail"):
        await client.enqueue("ship", {"order": {"number": 7}, "mail": "evil"})


async def test_b139_a_plain_def_in_a_thread_has_dependencies_too(
    client: Client, work: Work
) -> None:
    @job
    def crunch(ctx: Context, n: int, mail: Mail = Depends(Mail)) -> list[Any]:
        return [n, mail.sender, threading.current_thread() is threading.main_thread()]

    await work(crunch)
    assert await (await crunch.enqueue(3)).result(timeout=20) == [3, "shop", False]


async def test_b139_plain_arq_functions_have_dependencies_too(client: Client, work: Work) -> None:
    async def send(ctx: dict[str, Any], to: str, mail: Mail = Depends(Mail)) -> str:
        return f"{to} from {mail.sender}"

    await work(func(send, name="send"))
    queued = await client.enqueue_job("send", "ada")
    assert queued is not None
    assert await queued.result(timeout=20) == "ada from shop"


async def test_b139_a_test_gives_another_one(client: Client, work: Work) -> None:
    """By argument where the function is called, by `overriding` where a worker runs it."""

    @job
    async def send(ctx: Context, mail: Mail = Depends(Mail)) -> str:
        return mail.sender

    assert await send(Context()) == "shop"
    assert await send(Context(), Mail("fake")) == "fake"
    assert await send(Context(), mail=Mail("fake")) == "fake"
    await work(send)
    with overriding(Mail, lambda: Mail("double")):
        assert await (await send.enqueue()).result(timeout=20) == "double"
    assert await (await send.enqueue()).result(timeout=20) == "shop"


def test_b139_what_cannot_be_filled_in_is_told_where_it_is_written() -> None:
    def needs(host: str) -> str:
        return host

    def short() -> str:
        return "short"

    def long(value: str = Depends(short)) -> str:
        return value

    with pytest.raises(InvalidOption, match="nobody can fill in 'host'"):
        Depends(needs)
    with pytest.raises(InvalidOption, match="lives as long as the worker"):
        Depends(long, lifetime="worker")
    with pytest.raises(InvalidOption, match="did you mean 'worker'"):
        Depends(short, lifetime="workers")  # type: ignore[call-overload]  # the mistake that is tested
    with pytest.raises(InvalidOption, match="function or a class"):
        Depends("short")  # type: ignore[call-overload]  # the mistake that is tested
    with pytest.raises(InvalidOption, match="nobody can provide mail"):

        @job(executor="process")
        def far(ctx: Context, mail: Mail = Depends(Mail)) -> None: ...
