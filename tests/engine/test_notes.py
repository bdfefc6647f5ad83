"""The writer of notes: many in one call, few calls, nothing lost over a server that is away."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError

from jobs import Client, Context
from jobs.engine import notes
from jobs.engine.link import Link
from jobs.engine.notes import NoteWriter
from jobs.keys import queue_keys
from jobs.store.notes import Note
from tests.helpers.waiting import wait_until


class Keeper:
    """Takes notes in place of the script, unless an error is set."""

    def __init__(self) -> None:
        self.calls: list[list[Note]] = []
        self.errors: list[Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def note(self, client: Any, keys: Any, items: Sequence[Note], **_: Any) -> str:
        await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        self.calls.append(list(items))
        return "1" * len(items)

    @property
    def texts(self) -> list[str]:
        """The lines that arrived, in order."""
        return [
            line for call in self.calls for note in call for line in note.lines.decode().split()
        ]


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Keeper:
    kept = Keeper()
    monkeypatch.setattr("jobs.store.notes.note", kept.note)
    return kept


@pytest.fixture
async def writer(client: Client, kept: Keeper) -> AsyncIterator[NoteWriter]:
    writer = NoteWriter(Link(client), queue_keys("default"))
    yield writer
    await writer.aclose()


def context(writer: NoteWriter, token: int = 1) -> Context:
    ctx = Context(job_id=f"job{token}", token=token)
    ctx.notes = writer
    return ctx


def tell(ctx: Context, *lines: str) -> None:
    assert ctx.notes is not None
    for line in lines:
        ctx.notes.line(ctx, line.encode())


async def test_a_hundred_jobs_are_one_call(writer: NoteWriter, kept: Keeper) -> None:
    for token in range(1, 151):
        context(writer, token).progress(token)
    await writer.write()
    assert not writer.has_notes
    assert [len(call) for call in kept.calls] == [100, 50]
    assert kept.calls[0][41] == ("job42", 42, b"42", b"", 0, 0)


async def test_notes_of_a_running_job_are_written_by_themselves_and_seldom(
    writer: NoteWriter, kept: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes, "APART_S", 0.1)
    ctx, loop = context(writer), asyncio.get_running_loop()
    began = loop.time()
    while loop.time() - began < 0.35:
        ctx.progress(loop.time())
        await asyncio.sleep(0.001)
    await wait_until(lambda: not writer.has_notes, description="the last one is written")
    most = 2 + (loop.time() - began) / 0.1
    assert 3 <= len(kept.calls) <= most
    await wait_until(lambda: writer._task and writer._task.done(), description="the task ends")
    ctx.progress(0)
    await wait_until(lambda: kept.calls[-1][0].progress == b"0", description="it begins anew")


async def test_what_could_not_be_sent_is_sent_again(writer: NoteWriter, kept: Keeper) -> None:
    """With what came meanwhile behind it; an older progress does not come over a newer one."""
    ctx, other = context(writer), context(writer, 2)
    tell(ctx, "one", "two")
    ctx.progress("old")
    tell(other, "other")
    other.progress("kept")
    kept.errors = [RedisConnectionError("gone")]
    with pytest.raises(RedisConnectionError):
        await writer.write()
    assert writer.has_notes
    tell(ctx, "three")
    ctx.progress("new")
    await writer.write()
    (first, second), *rest = kept.calls
    assert not rest
    assert first == ("job1", 1, b'"new"', b"one\ntwo\nthree\n", 3, 0)
    assert second == ("job2", 2, b'"kept"', b"other\n", 1, 0)
    tell(ctx, "four")
    await writer.write()
    assert kept.calls[-1] == [("job1", 1, b"", b"four\n", 1, 3)]


async def test_an_older_progress_does_not_come_over_a_newer_one(
    writer: NoteWriter, kept: Keeper
) -> None:
    """The older one was on its way, and lost, when the newer one came."""
    ctx = context(writer)
    kept.gate.clear()
    kept.errors = [RedisConnectionError("gone")]
    ctx.progress("old")
    writing = asyncio.create_task(writer.write())
    await wait_until(writer._writing.locked, description="it is on its way")
    ctx.progress("new")
    kept.gate.set()
    with pytest.raises(RedisConnectionError):
        await writing
    await writer.write()
    assert [note.progress for call in kept.calls for note in call] == [b'"new"']


async def test_a_server_that_is_away_is_waited_for(writer: NoteWriter, kept: Keeper) -> None:
    kept.errors = [RedisConnectionError("gone")] * 3
    tell(context(writer), "one")
    await wait_until(lambda: kept.texts == ["one"], description="it is back")


async def test_a_full_server_loses_notes_and_says_so_once(
    writer: NoteWriter, kept: Keeper, caplog: pytest.LogCaptureFixture
) -> None:
    """No job waits for what it says of itself."""
    ctx = context(writer)
    kept.errors = [OutOfMemoryError("OOM"), OutOfMemoryError("OOM")]
    for line in ("lost", "lost too", "kept"):
        tell(ctx, line)
        await writer.write()
    assert kept.texts == ["kept"]
    assert kept.calls[0][0].before == 2, "they are counted"
    said = [record for record in caplog.records if "so it is dropped" in record.message]
    assert [record.levelno for record in said] == [logging.WARNING]


async def test_more_lines_than_are_kept_are_only_counted(writer: NoteWriter, kept: Keeper) -> None:
    ctx = context(writer)
    tell(ctx, *map(str, range(1_500)))
    await writer.write()
    (note,) = kept.calls[0]
    assert (note.number, note.before) == (1_000, 500)
    assert note.lines.startswith(b"500\n")
    tell(ctx, *(["x" * 999] * 100))
    await writer.write()
    (note,) = kept.calls[1]
    assert (note.number, note.before) == (65, 1_535), "64 KiB of them"


async def test_threads_may_tell(writer: NoteWriter, kept: Keeper) -> None:
    contexts = [context(writer, token) for token in (1, 2)]

    def work(ctx: Context) -> None:
        for n in range(400):
            tell(ctx, f"{ctx.token}.{n}")

    both = [contexts[0], contexts[0], contexts[1]]
    threads = [threading.Thread(target=work, args=(ctx,)) for ctx in both]
    for thread in threads:
        thread.start()
    await wait_until(lambda: len(kept.texts) == 1_200, description="all have arrived")
    for thread in threads:
        thread.join()
    assert [text for text in kept.texts if text[0] == "2"] == [f"2.{n}" for n in range(400)]


async def test_a_note_on_its_way_is_waited_for(writer: NoteWriter, kept: Keeper) -> None:
    """So the end of an attempt, which is written after `write`, cannot overtake it."""
    kept.gate.clear()
    tell(context(writer), "one")
    await wait_until(writer._writing.locked, description="it is on its way")
    assert writer.has_notes
    ended = asyncio.create_task(writer.write())
    await asyncio.sleep(0)
    assert not ended.done()
    kept.gate.set()
    await ended
    assert kept.texts == ["one"]
