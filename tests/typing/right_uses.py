"""What users write, as mypy and basedpyright must accept it; never run, only checked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import assert_type

from pydantic import BaseModel

from jobs import Client, Context, Job, JobFunction, Queue, Request, exponential, job


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
