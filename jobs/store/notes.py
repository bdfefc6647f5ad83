"""What running jobs tell of themselves: progress and log lines, written by lua/note.lua."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from jobs.keys import QueueKeys
from jobs.store._script import AsyncCommands, script

#: What is kept of the log of one job.
MOST_LINES, MOST_BYTES = 1000, 64 * 1024


class Note(NamedTuple):
    """What one attempt told since the last note."""

    job_id: str
    token: int
    progress: bytes  #: JSON; nothing if there is none new
    lines: bytes  #: lines of the log, each with its end
    number: int  #: how many lines these are
    before: int  #: how many the attempt had written before


class StoredLog(NamedTuple):
    """The log of a job as it is stored."""

    dropped: int  #: lines that were dropped, the oldest
    lines: list[bytes]


async def note(
    client: AsyncCommands,
    keys: QueueKeys,
    notes: Sequence[Note],
    *,
    most: tuple[int, int] = (MOST_LINES, MOST_BYTES),
    now_ms: int = 0,
) -> str:
    """Keep up to 100 notes in one round trip; one character each, 0 for a lost lease.

    `most` is how many lines and bytes are kept of the log of one job. A note that is sent again
    changes nothing.
    """
    rest = list(chain.from_iterable(notes))
    answer = await script("note")(client, keys, (now_ms, *most), rest)
    return str(answer.decode())


async def read_log(client: AsyncCommands, keys: QueueKeys, job_id: str) -> StoredLog | None:
    """The log of a job; `None` if the queue does not hold the job."""
    stored = await client.execute_command("HGET", keys.logs, job_id)
    if stored is None:
        held = await client.execute_command("HEXISTS", keys.body, job_id)
        return StoredLog(0, []) if held else None
    header, *lines = stored.split(b"\n")
    _, dropped, _, _ = header.split(b" ")
    return StoredLog(int(dropped), lines[:-1])
