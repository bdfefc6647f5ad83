"""A job that fails on purpose, to watch retries, backoff and dead letters at work."""

from __future__ import annotations

from pydantic import BaseModel, Field

from jobs import Context, exponential, job


class Flaky(BaseModel):
    """What the job does.

    Attributes:
        succeed_on: the attempt that succeeds, from 1; 0, the default, stands for none.
        message: the text of the error.
    """

    succeed_on: int = Field(default=0, ge=0, le=100)
    message: str = Field(default="failed on purpose", max_length=200)


class FlakyError(Exception):
    """Raised on purpose."""


@job("flaky", attempts=3, backoff=exponential(0.5), timeout=10)
async def flaky(ctx: Context, what: Flaky) -> int:
    """Fail until the attempt that shall succeed; the number of that attempt.

    Raises:
        FlakyError: on every other attempt.
    """
    if ctx.attempt != what.succeed_on:
        raise FlakyError(f"{what.message} (attempt {ctx.attempt} of {ctx.attempts})")
    return ctx.attempt
