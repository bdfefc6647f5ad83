"""The application of these tests: one payload of every kind, a plain arq function, failures."""

from __future__ import annotations

import asyncio
from datetime import datetime
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, SecretStr

from jobs import Context, Queue, exponential, job


class Tone(Enum):
    warm = "warm"
    cold = "cold"


class Level(IntEnum):
    low = 1
    high = 2


class Address(BaseModel):
    city: str


class Email(BaseModel):
    to: str = Field(description="Who gets it.", pattern=".+@.+")
    template: str = "welcome"
    copies: int = 1
    track: bool = True
    tone: Tone = Tone.warm
    level: Level = Level.low
    language: Literal["de", "en"] = "en"
    tags: list[str] = []
    when: datetime | None = None
    params: dict[str, int] = {}
    address: Address | None = None
    queue: str = "none"
    password: SecretStr | None = None
    either: int | str | None = None


@job("email", queue="email", attempts=5, backoff=exponential(3), timeout=30, priority=1)
async def send_email(ctx: Context, email: Email) -> dict[str, Any]:
    """Send one e-mail [really]."""
    return email.model_dump(mode="json", exclude={"password"}, exclude_defaults=True)


@job("flaky", attempts=2, backoff=exponential("10ms"))
async def flaky(ctx: Context, note: str = "boom") -> None:
    """Fail always."""
    raise RuntimeError(note)


@job("secret")
async def secret(ctx: Context, key: SecretStr, size: int = 1) -> int:
    """Take a secret that is no field of a model."""
    return len(key.get_secret_value()) * size


def note(name: str) -> None:
    Path(name).touch()


@job("sleep", queue="slow")
async def sleep(ctx: Context, seconds: float, mark: str) -> str:
    """Sleep, and say in files that it began and ended."""
    note(f"{mark}.began")
    await asyncio.sleep(seconds)
    note(f"{mark}.ended")
    return mark


async def add(ctx: dict[str, Any], a: int, b: int = 2, *more: int) -> int:
    """Add numbers."""
    return a + b + sum(more)


class WorkerSettings:
    functions = (send_email, flaky, secret, sleep, add)
    queues = (Queue("email", concurrency=5),)
    max_tries = 2
