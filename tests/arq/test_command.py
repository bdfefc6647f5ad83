"""arq's own command runs this worker: plain, `--burst`, `--check` and `--watch`."""

# ruff: noqa: N802 -- tests are named after the defects of arq

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from arq.jobs import JobStatus

from jobs import Client
from tests.helpers.arq_app import MODULE, ArqCommand
from tests.helpers.waiting import wait_until

MakeCommand = Callable[..., ArqCommand]


async def notes(pool: Client) -> list[str]:
    return [note.decode() for note in await cast("Any", pool).lrange("notes", 0, -1)]


async def enqueue_note(pool: Client, text: str) -> None:
    job = await pool.enqueue_job("note", text)
    assert job is not None
    await job.result(timeout=20)


async def until_noted(pool: Client, text: str, times: int = 1) -> None:
    async def seen() -> bool:
        return (await notes(pool)).count(text) >= times

    await wait_until(seen, description=f"{times} x {text!r} is noted", timeout=20)


async def test_the_command_runs_jobs_until_sigterm(pool: Client, arq_command: MakeCommand) -> None:
    command = arq_command()
    process = command.start()
    await enqueue_note(pool, "hello")
    assert await command.terminate(process) == 0
    assert await notes(pool) == ["startup", "hello", "shutdown"]
    log = command.log.read_text()
    assert ":note completed" in log, "the lines of this package go where arq's go"
    assert "hello" not in log


async def test_sigterm_gives_a_running_job_back_at_once_without_the_use_of_a_try(
    pool: Client, arq_command: MakeCommand
) -> None:
    command = arq_command(more=["max_tries = 1"])
    process = command.start()
    job = await pool.enqueue_job("slow", 30)
    assert job is not None
    await until_noted(pool, "slow 1")
    assert await command.terminate(process) == 0
    assert await job.status() is JobStatus.queued
    assert await notes(pool) == ["startup", "slow 1", "shutdown"]


async def test_job_completion_wait_lets_a_running_job_finish(
    pool: Client, arq_command: MakeCommand
) -> None:
    command = arq_command(more=["job_completion_wait = 20"])
    process = command.start()
    job = await pool.enqueue_job("slow", 0.5)
    assert job is not None
    await until_noted(pool, "slow 1")
    assert await command.terminate(process) == 0
    assert await job.status() is JobStatus.complete
    assert await notes(pool) == ["startup", "slow 1", "slow 1 done", "shutdown"]


async def test_burst_runs_what_is_queued_and_ends(pool: Client, arq_command: MakeCommand) -> None:
    for text in ("a", "b", "c"):
        await pool.enqueue_job("note", text)
    assert await arq_command(more=["max_jobs = 1"]).run("--burst") == 0
    assert await notes(pool) == ["startup", "a", "b", "c", "shutdown"]
    assert await pool.queued_jobs() == []


async def test_arq_E1_check_holds_while_any_worker_lives(
    pool: Client, arq_command: MakeCommand
) -> None:
    command = arq_command()
    assert await command.run("--check") == 1
    first, second = command.start(), command.start()
    await until_noted(pool, "startup", times=2)

    async def both() -> bool:
        return len(await pool.queue("default").workers()) == 2

    await wait_until(both, description="both workers are in the registry", timeout=20)
    assert await command.terminate(first) == 0
    assert await command.run("--check") == 0
    assert await command.terminate(second) == 0
    assert await command.run("--check") == 1


async def test_watch_reloads_the_worker_and_jobs_go_on(
    pool: Client, arq_command: MakeCommand
) -> None:
    command = arq_command()
    watched = command.folder / "watched"
    watched.mkdir()
    process = command.start("--watch", str(watched))
    await enqueue_note(pool, "before")
    (watched / "changed.py").write_text("x = 1\n")
    await until_noted(pool, "startup", times=2)
    await enqueue_note(pool, "after")
    key = "arq:queue:health-check"
    await wait_until(lambda: pool.exists(key), description="arq-i: the health key is back")
    assert await command.terminate(process) == 0
    expected = ["startup", "before", "shutdown", "startup", "after", "shutdown"]
    assert await notes(pool) == expected


async def test_arq_E7_settings_that_are_only_inherited_end_loudly(
    pool: Client, arq_command: MakeCommand
) -> None:
    """arq reads the class's own `__dict__` before this code sees it: no fix, but no silence."""
    command = arq_command()
    settings = command.folder / f"{MODULE}.py"
    text = settings.read_text().replace("class WorkerSettings:", "class Base:")
    settings.write_text(text + "\n\nclass WorkerSettings(Base):\n    pass\n")
    assert await command.run("--burst") == 1
    assert "at least one function" in command.log.read_text()
