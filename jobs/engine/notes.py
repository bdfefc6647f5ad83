"""Writes what jobs tell of themselves: many notes in one call, a few calls a second."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Sequence

from jobs.connections import Trouble, trouble
from jobs.context import Context
from jobs.engine.link import Link
from jobs.keys import QueueKeys
from jobs.store import notes as store
from jobs.store._script import MAX_ITEMS
from jobs.tasks import end_tasks

logger = logging.getLogger("jobs.worker")

#: Notes of running jobs are written at most so often.
APART_S = 0.25


class NoteWriter:
    """Duties: 1. take notes from any thread; 2. write them soon, many jobs in one call, and those
    of a running job at most four times a second; 3. have them written before the end of their
    attempt is; 4. do nothing at all while no job tells anything.

    Notes of an attempt whose lease is lost are refused by its token. A full server refuses notes
    too; they are dropped then, since no job must wait for what it says of itself.
    """

    def __init__(self, link: Link, keys: QueueKeys) -> None:
        self._link, self._keys = link, keys
        self._loop = asyncio.get_running_loop()
        #: Re-entrant: what the collector ends meanwhile may log, and so make a note.
        self.lock = threading.RLock()
        self._pending: dict[int, AttemptNotes] = {}
        self._awake = False
        self._task: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()
        self._last_s = 0.0
        self._said = False

    # -- take ------------------------------------------------------------------------------

    def progress(self, ctx: Context, value: bytes) -> None:
        """Take the first note of an attempt."""
        self._own(ctx).progress(ctx, value)

    def line(self, ctx: Context, line: bytes) -> None:
        """The same."""
        self._own(ctx).line(ctx, line)

    def _own(self, ctx: Context) -> AttemptNotes:
        """From its first note on, an attempt has its own taker: most attempts need none."""
        with self.lock:
            if not isinstance(ctx.notes, AttemptNotes):
                ctx.notes = AttemptNotes(self, ctx)
            return ctx.notes

    def add(self, attempt: AttemptNotes) -> None:
        """Note, under the lock, that an attempt has something to be written."""
        self._pending[attempt.token] = attempt
        if not self._awake:
            self._awake = True
            try:
                self._loop.call_soon_threadsafe(self._begin)
            except RuntimeError:  # the loop is closed: a thread that outlived its worker
                self._awake = False

    def _begin(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._serve(), name="jobs-notes")

    # -- write -----------------------------------------------------------------------------

    @property
    def has_notes(self) -> bool:
        """Whether something is to be written, or is on its way."""
        return bool(self._pending) or self._writing.locked()

    async def write(self) -> None:
        """Write the notes that were taken until now; returns when the server has them.

        Raises:
            What the connection raises; the notes are kept for the next call then.
        """
        async with self._writing:
            self._last_s = self._loop.time()
            with self.lock:
                attempts, self._pending = list(self._pending.values()), {}
            for at in range(0, len(attempts), MAX_ITEMS):
                try:
                    await self._send(attempts[at : at + MAX_ITEMS])
                except BaseException:
                    self._keep(attempts[at:])
                    raise

    async def _send(self, attempts: Sequence[AttemptNotes]) -> None:
        with self.lock:
            notes = [attempt.take() for attempt in attempts]
        try:
            await store.note(self._link.lane, self._keys, notes)
            self._said = False
        except BaseException as error:
            if isinstance(error, Exception) and trouble(error) not in {None, Trouble.reconnect}:
                return self._say(len(notes), error)
            with self.lock:
                for attempt, note in zip(attempts, notes, strict=True):
                    attempt.give_back(note)
            raise

    def _keep(self, attempts: Sequence[AttemptNotes]) -> None:
        with self.lock:
            self._pending = {attempt.token: attempt for attempt in attempts} | self._pending

    def _say(self, number: int, error: Exception) -> None:
        if not self._said:
            self._said = True
            text = "the server refuses what %d jobs tell of themselves, so it is dropped: %s"
            logger.warning(text, number, error)

    async def _serve(self) -> None:
        """Write until nothing is left; a task that lives only while jobs tell something."""
        try:
            while self._goes_on():
                await asyncio.sleep(max(0.0, self._last_s + APART_S - self._loop.time()))
                await self._link.insist(self.write)
        except Exception:
            logger.exception("what jobs tell of themselves could not be written")
            with self.lock:
                self._awake = False

    def _goes_on(self) -> bool:
        with self.lock:
            self._awake = bool(self._pending)
            return self._awake

    async def aclose(self) -> None:
        """Write no more."""
        await end_tasks(self._task)


class AttemptNotes:
    """What one attempt has told and the server has not: its newest progress, its newest lines."""

    __slots__ = ("_lines", "_progress", "_told", "_writer", "job_id", "token")

    def __init__(self, writer: NoteWriter, ctx: Context) -> None:
        self._writer = writer
        self.job_id, self.token = ctx.job_id, ctx.token
        self._progress = b""
        self._lines: deque[bytes] = deque(maxlen=store.MOST_LINES)
        self._told = 0

    def progress(self, ctx: Context, value: bytes) -> None:
        """Take the newest progress; one that was not written yet is forgotten."""
        del ctx
        with self._writer.lock:
            self._progress = value
            self._writer.add(self)

    def line(self, ctx: Context, line: bytes) -> None:
        """Take a line; of more than are kept, the oldest are only counted."""
        del ctx
        with self._writer.lock:
            self._lines.append(line + b"\n")
            self._told += 1
            self._writer.add(self)

    def take(self) -> store.Note:
        """What is to be written now, under the lock."""
        lines = list(self._lines)
        size, first = 0, len(lines)
        while first > 0 and (size := size + len(lines[first - 1])) <= store.MOST_BYTES:
            first -= 1
        kept = lines[first:]
        before = self._told - len(kept)
        note = store.Note(
            self.job_id, self.token, self._progress, b"".join(kept), len(kept), before
        )
        self._progress = b""
        self._lines.clear()
        return note

    def give_back(self, note: store.Note) -> None:
        """What could not be written is to be written again, under the lock."""
        self._progress = self._progress or note.progress
        lines = note.lines.splitlines(keepends=True) + list(self._lines)
        self._lines.clear()
        self._lines.extend(lines)
