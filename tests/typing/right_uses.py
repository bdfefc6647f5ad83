"""What users write, as mypy and basedpyright must accept it; never run, only checked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from pydantic import BaseModel

from jobs import (
    CallNext,
    Client,
    Context,
    Depends,
    EnqueueCall,
    Event,
    Job,
    JobFunction,
    Queue,
    Request,
    Router,
    RunCall,
    emit,
    exponential,
    job,
    on,
)


class Email(BaseModel):
    """A payload."""

    to: str
    cc: list[str] = []


class Delivery(BaseModel):
    """A result."""

    message_id: str


@job("typed.email", queue=Queue("email", rate="30/s"), attempts=5, backoff=exponential(3))
async def send_email(ctx: Context, email: Email) -> Delivery:
    """One pydantic payload: options are keywords of the same call."""
    return Delivery(message_id=f"{email.to}:{ctx.attempt}")


@job("typed.resize", timeout="5m", priority=1, no_retry=(ValueError,))
async def resize(ctx: Context, image: int, *, width: int = 100) -> list[str]:
    """Any other signature: arguments only."""
    return [f"{image}:{width}:{ctx.job_id}"]


@job("typed.report")
def report(ctx: Context, year: int) -> bytes:
    """A plain function, which runs in a thread."""
    return f"{year}:{ctx.token}".encode()


@job("typed.thumbnail", executor="process")
def thumbnail(ctx: Context, width: int) -> tuple[int, int]:
    """A plain function, which runs in a process."""
    return width, ctx.attempt


@job
async def bare(ctx: Context) -> None:
    """Without arguments of its own, and the decorator without any."""
    ctx["called"] = True


async def enqueue(client: Client) -> None:
    """Every way to put a job into a queue."""
    sent = await send_email.enqueue(Email(to="ada"), delay="5m", id="a", client=client)
    assert_type(sent, Job[Delivery])
    assert_type(await sent.result(), Delivery)
    assert_type(await sent.result(timeout=5), Delivery)

    resized = await resize.enqueue(7, width=50)
    assert_type(await resized.result(), list[str])
    optional = resize.options(run_at=datetime(2030, 1, 1, tzinfo=UTC), attempts=2)
    assert_type(await (await optional.enqueue(7)).result(), list[str])

    assert_type(await (await report.enqueue(2026)).result(), bytes)
    assert_type(await (await report.options(delay=timedelta(days=1)).enqueue(1)).result(), bytes)
    assert_type(await (await thumbnail.enqueue(8)).result(), tuple[int, int])
    assert_type(await (await bare.enqueue()).result(), None)

    requests: list[Request] = [
        send_email.request(Email(to="ada"), id="b"),
        resize.request(7),
        resize.options(id="c").request(7, width=1),
    ]
    await client.enqueue_many(requests)
    await client.enqueue("typed.email", Email(to="ada"), delay=1)
    await client.enqueue("typed.resize", {"image": 7})
    by_name = await client.enqueue_job("typed.email", to="ada", _defer_by=300)
    if by_name is not None:
        assert_type(by_name.duplicate, bool)


async def call(ctx: Context) -> None:
    """A job function is a function: calling it runs the code."""
    assert_type(await send_email(ctx, Email(to="ada")), Delivery)
    assert_type(await resize(ctx, 7, width=1), list[str])
    assert_type(await report(ctx, 2026), bytes)
    plain: JobFunction[[int], bytes] = report
    assert_type(plain.name, str)


class Mailer:
    """A service."""

    host = "localhost"


async def mailer() -> AsyncIterator[Mailer]:
    """Provides one, and would close it."""
    yield Mailer()


async def address() -> str:
    """Provides a text."""
    return "ada"


desk = Queue("desk")
router = Router(prefix="typed.", queue=desk, attempts=3, aliases=("older",))


@router.job("routed", timeout="5m")
async def routed(
    ctx: Context,
    number: int,
    mail: Mailer = Depends(mailer),
    to: str = Depends(address, lifetime="worker"),
) -> float:
    """Filled in by the worker, or given where it is called."""
    return number / len(f"{mail.host}{to}")


@desk.job("typed.ticket")
async def ticket(ctx: Context, email: Email) -> int:
    """On its queue."""
    return len(email.to)


@desk.fallback
async def anything(ctx: Context, **payload: Any) -> None:
    """Whatever else comes."""


class UserCreated(Event, name="typed/user"):
    """Something that happened."""

    user_id: int


@on(UserCreated)
@job("typed.greet")
async def greet(ctx: Context, event: UserCreated) -> int:
    """Subscribed."""
    return event.user_id


async def around_run(call: RunCall, call_next: CallNext) -> Any:
    """Round every run."""
    call.kwargs["width"] = 7
    return await call_next()


async def around_enqueue(call: EnqueueCall, call_next: CallNext) -> Any:
    """Round every enqueue."""
    call.options["priority"] = 1
    return await call_next()


async def application(client: Client, ctx: Context) -> None:
    """What an application is made of."""
    Client.connect(middleware=(around_enqueue,))
    assert_type(await (await routed.enqueue(7)).result(), float)
    assert_type(await routed(ctx, 7, mail=Mailer()), float)
    assert_type(await (await ticket.enqueue(Email(to="ada"))).result(), int)
    assert_type(await (await greet.enqueue(UserCreated(user_id=1))).result(), int)
    assert_type(await emit(UserCreated(user_id=1), delay="5m", client=client), list[Job[Any]])
    async with ctx.once("send", ttl="1h") as first:
        assert_type(first, bool)
    async with client.once("send", hold=60) as first:
        assert_type(first, bool)
