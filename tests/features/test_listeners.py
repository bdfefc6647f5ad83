"""What a worker tells of the ends of attempts."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from jobs import (
    Client,
    Context,
    JobFailed,
    fixed,
    job,
)
from tests.features.conftest import Work
from tests.helpers.waiting import wait_until


@job("double")
async def double(ctx: Context, number: int) -> int:
    return 2 * number


@job("broken", attempts=1)
async def broken(ctx: Context, text: str) -> None:
    raise ValueError(text)


async def test_listeners_hear_of_each_end(client: Client, work: Work) -> None:
    """on_completed, on_failed at each failed attempt, on_exhausted at the last one."""
    heard: list[Any] = []

    def listener(name: str) -> Any:
        async def listen(ctx: Context, what: Any) -> None:
            heard.append((name, ctx.function, ctx.attempt, what if name == "c" else str(what)))

        return listen

    @job("fragile", attempts=3, backoff=fixed("1ms"))
    async def fragile(ctx: Context) -> None:
        raise OSError(f"disk {ctx.attempt}")

    names = {"on_completed": "c", "on_failed": "f", "on_exhausted": "e"}
    await work(double, fragile, **{name: listener(short) for name, short in names.items()})
    await (await double.enqueue(2)).result(timeout=20)
    with pytest.raises(JobFailed):
        await (await fragile.enqueue()).result(timeout=20)
    await wait_until(lambda: len(heard) == 5, description="five ends are told")
    assert heard == [
        ("c", "double", 1, 4),
        ("f", "fragile", 1, "disk 1"),
        ("f", "fragile", 2, "disk 2"),
        ("f", "fragile", 3, "disk 3"),
        ("e", "fragile", 3, "disk 3"),
    ]


async def test_a_listener_that_fails_is_only_logged(
    client: Client, work: Work, caplog: pytest.LogCaptureFixture
) -> None:
    async def listen(ctx: Context, result: Any) -> None:
        raise RuntimeError("no dashboard")

    await work(double, on_completed=listen)
    for number in range(3):
        assert await (await double.enqueue(number)).result(timeout=20) == 2 * number
    await wait_until(
        lambda: sum("the listener" in r.getMessage() for r in caplog.records) == 3,
        description="three failures are logged",
    )
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR and "listener" not in r.msg]
