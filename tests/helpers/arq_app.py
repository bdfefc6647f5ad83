"""Workers for the tests of the arq contract: in this loop, in a thread, and under arq's command."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import arq.worker
from arq.connections import RedisSettings
from arq.jobs import JobStatus

import jobs
from jobs import Client, Job, Worker, func
from tests.helpers.waiting import wait_until

Ctx: TypeAlias = dict[Any, Any]

LEASE_S = 0.6
"""Short, so that the loss of a worker is noticed within a test."""


def named(coroutine: Callable[..., Any], **options: Any) -> arq.worker.Function:
    """A function under its plain name: arq's default holds `<locals>` inside a test."""
    return func(coroutine, name=coroutine.__name__, **options)


def make_worker(functions: Sequence[Any], settings: RedisSettings | None, **options: Any) -> Worker:
    """A worker that leaves the signals of the test process alone and stops at once."""
    quiet = {"handle_signals": False, "lease": LEASE_S, "job_completion_wait": 0}
    return Worker(functions, redis_settings=settings, **(quiet | options))


@asynccontextmanager
async def running(
    functions: Sequence[Any], settings: RedisSettings | None, **options: Any
) -> AsyncIterator[Worker]:
    """A worker that serves for the length of the block; its own error comes out at the end."""
    worker = make_worker(functions, settings, **options)
    async with serving(worker):
        yield worker


@asynccontextmanager
async def serving(worker: Worker) -> AsyncIterator[None]:
    """The worker runs for the length of the block."""
    worker._session = None
    task = asyncio.create_task(worker.async_run())

    def serves() -> bool:
        return task.done() or (worker._session is not None and bool(worker._session._tasks))

    await wait_until(serves, description="the worker serves its queues", timeout=20)
    try:
        yield
    finally:
        await worker.close()
        await task


async def burst(functions: Sequence[Any], settings: RedisSettings | None, **options: Any) -> Worker:
    """Run what waits, and close; the worker for its counters."""
    worker = make_worker(functions, settings, burst=True, **options)
    try:
        await worker.async_run()
    finally:
        await worker.close()
    return worker


@contextmanager
def in_thread(make: Callable[[], Worker]) -> Iterator[None]:
    """A worker with a loop of its own, so that a blocking job does not stop the test's loop."""
    started = threading.Event()
    box: list[tuple[asyncio.AbstractEventLoop, Worker]] = []

    async def main() -> None:
        worker = make()
        box.append((asyncio.get_running_loop(), worker))
        started.set()
        await worker.async_run()
        await worker.close()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert started.wait(10), "the worker of the thread did not start"
    loop, worker = box[0]
    try:
        yield
    finally:
        with contextlib.suppress(RuntimeError):  # its loop is closed when it ended by itself
            loop.call_soon_threadsafe(worker.stop)
        thread.join(20)
        assert not thread.is_alive(), "the worker of the thread did not end"


# -- jobs --------------------------------------------------------------------------------------


async def add(ctx: Ctx, a: int = 0, b: int = 1) -> int:
    """The job that works."""
    return a + b


async def fails(ctx: Ctx) -> None:
    """The job that does not."""
    raise ValueError("no")


async def waits(ctx: Ctx) -> None:
    """The job that runs until it is stopped."""
    await asyncio.sleep(60)


async def enqueued(pool: Client, *args: Any, **kwargs: Any) -> Job[Any]:
    """`enqueue_job` of a job whose id is free."""
    made = await pool.enqueue_job(*args, **kwargs)
    assert made is not None
    return made


async def until(job: Job[Any], status: JobStatus, timeout: float = 5) -> None:
    """Wait until the job has this status."""

    async def reached() -> bool:
        return await job.status() is status

    await wait_until(reached, description=f"the job is {status}", timeout=timeout)


# -- arq's command -----------------------------------------------------------------------------

MODULE = "app_settings"
SETTINGS = """
import asyncio

import arq.worker
from arq import cron
from arq.connections import RedisSettings
from arq.jobs import JobStatus

from jobs import Retry, Worker

# arq's command takes the class by this name; there is no option for it.
arq.worker.Worker = Worker


async def note(ctx, text):
    await ctx["redis"].rpush("notes", text)


async def slow(ctx, seconds):
    await ctx["redis"].rpush("notes", f"slow {ctx['job_try']}")
    await asyncio.sleep(seconds)
    await ctx["redis"].rpush("notes", f"slow {ctx['job_try']} done")


async def startup(ctx):
    await ctx["redis"].rpush("notes", "startup")


async def shutdown(ctx):
    await ctx["redis"].rpush("notes", "shutdown")


class WorkerSettings:
    functions = [note, slow]
    redis_settings = RedisSettings.from_dsn("{url}")
    on_startup = startup
    on_shutdown = shutdown
    lease = {lease}
    job_completion_wait = 0
"""


class ArqCommand:
    """The `arq` of this environment, in a folder with a settings module of its own.

    Args:
        folder: where the settings are written and the command runs.
        url: the server.
        lease: seconds.
        more: further lines for the class `WorkerSettings`.
    """

    def __init__(
        self, folder: Path, url: str, *, lease: float = LEASE_S, more: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self.log = folder / "arq.log"
        self._started: list[subprocess.Popen[bytes]] = []
        text = SETTINGS.replace("{url}", url).replace("{lease}", str(lease))
        lines = "".join(f"    {line}\n" for line in more)
        (folder / f"{MODULE}.py").write_text(text + lines)

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Start the command; `close` ends what a test leaves running."""
        root = str(Path(jobs.__file__).parents[1])
        command: list[str | Path] = [
            Path(sys.executable).parent / "arq",
            f"{MODULE}.WorkerSettings",
            *options,
        ]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=os.environ | {"PYTHONPATH": root, "PYTHONUNBUFFERED": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._started.append(process)
        return process

    async def run(self, *options: str) -> int:
        """Run the command to its end; its exit code."""
        return await self.ended(self.start(*options))

    async def ended(self, process: subprocess.Popen[bytes]) -> int:
        """Wait for the end of a command; its exit code."""
        return await asyncio.to_thread(process.wait, 30)

    async def terminate(self, process: subprocess.Popen[bytes]) -> int:
        """SIGTERM, and wait; its exit code."""
        process.send_signal(signal.SIGTERM)
        return await self.ended(process)

    def close(self) -> None:
        """End what still runs, also what is stopped."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.wait()
