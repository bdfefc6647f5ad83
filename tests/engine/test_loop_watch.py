"""What blocks a loop: whose frame is named, and what is only measured."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from jobs import Client, func
from jobs.engine.loop_watch import LoopWatch, culprit
from jobs.keys import control_channel
from jobs.store.commands import Command, Wish, read_command, send_command
from tests.helpers.waiting import wait_until
from tests.helpers.worker import running


def frame_here() -> FrameType:
    frame = sys._getframe(1)  # the caller's, as the watch would see it
    assert frame is not None
    return frame


def test_the_innermost_line_of_the_users_own_code() -> None:
    """Frames of the standard library on top of it are passed over."""
    seen: list[str] = []

    class Spy:
        def __repr__(self) -> str:
            return "x"

        def __str__(self) -> str:
            return "y"

    def default(_: object) -> str:
        seen.append(culprit(library_frame())[1])
        return "z"

    def library_frame() -> FrameType | None:
        frame: FrameType | None = frame_here()
        while frame is not None and "json" not in frame.f_code.co_filename:
            frame = frame.f_back
        return frame

    json.dumps({"a": Spy()}, default=default, indent=1)
    (where,) = seen
    assert where.startswith(f"{Path(__file__)}:")
    assert where.endswith("test_the_innermost_line_of_the_users_own_code")


def test_code_that_is_nobodys_has_no_place() -> None:
    """A loop that waits for its machine, or for another thread, is only late."""
    name = sysconfig.get_path("stdlib") + "/selectors.py"
    spaces: dict[str, Any] = {"sys": sys, "__name__": "selectors"}
    exec(compile("frame = sys._getframe()", name, "exec"), spaces)
    frame = spaces["frame"]

    class Alone:
        f_code, f_lineno, f_globals, f_back = frame.f_code, 1, spaces, None

    alone: Any = Alone()
    assert culprit(alone) == (None, "")
    assert culprit(None) == (None, "")


async def test_a_function_that_is_installed_as_a_library(
    client: Client,
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its own outermost line is named: there is no other code of the user's."""
    monkeypatch.setattr("jobs.engine.loop_watch._LIBRARIES", (str(tmp_path),))
    module = load(
        tmp_path / "installed.py",
        "import time\nasync def heavy(ctx):\n    deep()\ndef deep():\n    time.sleep(1.2)\n",
    )
    job = await client.enqueue("heavy")
    async with running(redis_url, [func(module.heavy, name="heavy")]):
        await wait_for_log(caplog, "blocks the event loop")
        await job.result(timeout=10)
    assert "installed.py:3 in heavy" in caplog.text


def load(path: Path, text: str) -> Any:
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_the_lag_is_measured_and_a_short_one_is_not_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watch = LoopWatch(asyncio.get_running_loop(), blocked_s=5)
    assert not watch.look()
    time.sleep(0.2)  # noqa: ASYNC251 -- the lag that is measured
    assert not watch.look()
    await asyncio.sleep(0)
    assert 200 <= watch.take_worst_ms() < 2000
    assert watch.take_worst_ms() == 0, "each is told once"
    assert watch.last is None
    assert "blocks the event loop" not in caplog.text


async def test_each_blockage_is_told_once_and_its_length_grows(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watch = LoopWatch(asyncio.get_running_loop(), blocked_s=0.1)
    for _ in range(2):
        found = await asyncio.gather(asyncio.to_thread(look_on, watch, 0.5), stand_still(0.4))
        assert found[0] == 1
    assert caplog.text.count("code outside of jobs blocks the event loop") == 2
    assert watch.last is not None
    assert watch.last.where.endswith("in stand_still")
    assert watch.last.job is None
    assert 300 <= watch.last.lasted_ms < 2000
    assert not watch.is_blocked


def look_on(watch: LoopWatch, for_s: float) -> int:
    """Look as the lease thread does; how many times something was found."""
    found, over_s = 0, time.monotonic() + for_s
    while time.monotonic() < over_s:
        found += watch.look()
        time.sleep(0.02)
    return found


async def stand_still(seconds: float) -> None:
    await asyncio.sleep(0.05)
    time.sleep(seconds)  # noqa: ASYNC251 -- the fault that is looked for


# -- commands ------------------------------------------------------------------------------


def test_a_command_is_no_request_to_cancel() -> None:
    assert read_command(b"\x00\x02id{}") is None
    message = b'\xff\xff{"worker":"*","wish":"quiet"}'
    assert read_command(message) == Command("*", Wish.quiet, {})


async def wait_for_log(caplog: pytest.LogCaptureFixture, text: str) -> None:
    await wait_until(lambda: text in caplog.text, description=f"{text!r} is logged")


async def test_commands_that_make_no_sense_harm_no_worker(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever can write to the server can write to the channel."""

    async def ok(ctx: Any) -> int:
        return 1

    channel = control_channel("default")
    wrong: list[Callable[[str], Command]] = [
        lambda worker: Command(worker, Wish.concurrency, {"limit": 0}),
        lambda worker: Command(worker, Wish.concurrency, {"limit": "many"}),
        lambda worker: Command(worker, Wish.concurrency, {}),
        lambda worker: Command(worker, Wish.concurrency, {"limit": 1, "queue": "nobody's"}),
    ]
    async with (
        Client.connect(redis_url) as client,
        running(redis_url, [func(ok, name="ok")]) as worker,
    ):
        for number, make in enumerate(wrong, 1):
            assert await send_command(client, channel, make(worker.id)) == 1
            await wait_until(
                lambda number=number: caplog.text.count("this was refused") == number,  # type: ignore[misc]  # mypy infers no type for the default
                description="it is refused",
            )
        for raw in (
            b"\xff\xffnonsense",
            b'\xff\xff{"worker":"*","wish":"dance"}',
            b"",
            b"\xff\xff[]",
        ):
            await client.publish(channel, raw)
        assert await (await client.enqueue("ok")).result(timeout=10) == 1
        await send_command(client, channel, Command(worker.id, Wish.quiet, {}))
        await wait_for_log(caplog, "asked from outside: quiet")
