"""What running jobs tell of themselves: kept with the job, fenced by the lease, bounded."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.store import notes
from jobs.store.notes import Note
from jobs.store.queue import Verb
from tests.helpers.keyspace import untyped
from tests.store.steps import NOTHING, Steps, end


async def note(steps: Steps, *items: Note, **options: Any) -> str:
    return await notes.note(steps.client, steps.keys, items, now_ms=steps.now, **options)


def lines(*texts: str, before: int = 0, job_id: str = "a", token: int = 1) -> Note:
    packed = "".join(f"{text}\n" for text in texts).encode()
    return Note(job_id, token, b"", packed, len(texts), before)


def progress(value: str, job_id: str = "a", token: int = 1) -> Note:
    return Note(job_id, token, value.encode(), b"", 0, 0)


async def held(steps: Steps, job_id: str = "a") -> tuple[int, str]:
    """(lines that were dropped, the others) of a job's log."""
    log = await notes.read_log(steps.client, steps.keys, job_id)
    assert log is not None
    return log.dropped, " ".join(line.decode() for line in log.lines)


async def fields(steps: Steps, name: str) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = await untyped(steps.client).hgetall(getattr(steps.keys, name))
    return found


async def test_progress_is_the_newest_value(steps: Steps) -> None:
    await steps.add("a", "b")
    await steps.claim()
    assert await note(steps, progress("1"), progress('{"step":2}', "b", 2)) == "11"
    assert await note(steps, progress("2")) == "1"
    assert await fields(steps, "progress") == {b"a": b"2", b"b": b'{"step":2}'}
    assert await fields(steps, "logs") == {}


async def test_lines_are_kept_in_order(steps: Steps) -> None:
    await steps.add("a")
    await steps.claim()
    assert await held(steps) == (0, "")
    await note(steps, lines("one", "two"))
    await note(steps, lines("three", before=2))
    assert await held(steps) == (0, "one two three")
    assert await notes.read_log(steps.client, steps.keys, "nobody") is None


async def test_the_same_note_again_changes_nothing(steps: Steps) -> None:
    """Its answer was lost on the way, and the worker sends it again, with what came since."""
    await steps.add("a")
    await steps.claim()
    for _ in range(2):
        assert await note(steps, lines("one", "two")) == "1"
    assert await note(steps, lines("one", "two", "three")) == "1"
    assert await held(steps) == (0, "one two three")


async def test_an_attempt_counts_its_own_lines(steps: Steps) -> None:
    await steps.add("a")
    (job,) = await steps.claim()
    await note(steps, lines("one"))
    await steps.ack(end(job, Verb.interrupt))
    await steps.claim()
    assert await note(steps, lines("two", token=2)) == "1"
    assert await held(steps) == (0, "one two")


async def test_only_the_holder_of_the_lease_is_heard(steps: Steps) -> None:
    await steps.add("a")
    assert await note(steps, progress("1"), lines("early")) == "00"
    (job,) = await steps.claim()
    assert await note(steps, progress("1", token=7), progress("1", "nobody")) == "00"
    await steps.rescue("a")
    assert await note(steps, progress("1"), lines("lost")) == "00"
    await steps.claim()
    assert await note(steps, progress("1")) == "0", "another has it now"
    await steps.ack(end(job, token=2))
    assert await note(steps, progress("1", token=2)) == "0"
    assert await fields(steps, "progress") == await fields(steps, "logs") == {}
    await steps.assert_sound()


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        ((3, 1000), (2, "cc dd ee")),
        ((100, 9), (2, "cc dd ee")),
        ((100, 8), (3, "dd ee")),
        ((100, 1), (4, "ee")),
        ((5, 15), (0, "aa bb cc dd ee")),
    ],
)
async def test_a_log_is_bounded_and_says_what_it_dropped(
    steps: Steps, most: tuple[int, int], expected: tuple[int, str]
) -> None:
    await steps.add("a", "b")
    await steps.claim()
    await note(steps, lines("aa", "bb", "cc", "dd", "ee"), most=most)
    assert await held(steps) == expected
    for n, text in enumerate(("aa", "bb", "cc", "dd", "ee")):
        await note(steps, lines(text, before=n, job_id="b", token=2), most=most)
    assert await held(steps, "b") == expected, "one by one too"


async def test_lines_that_the_worker_dropped_are_counted(steps: Steps) -> None:
    await steps.add("a")
    await steps.claim()
    await note(steps, lines("eleven", before=10))
    await note(steps, lines("twenty", before=19))
    assert await held(steps) == (18, "eleven twenty")


@pytest.mark.parametrize("keep", [NOTHING, (-1, 0, -1)])
async def test_they_go_with_the_job(steps: Steps, keep: tuple[int, int, int]) -> None:
    await steps.add("a")
    (job,) = await steps.claim()
    await note(steps, progress("1"))
    await note(steps, lines("one"))
    await steps.ack(end(job, keep=keep))
    assert await fields(steps, "progress") == await fields(steps, "logs") == {}


async def test_they_stay_with_a_kept_job_and_go_by_its_retention(steps: Steps) -> None:
    await steps.add("a")
    (job,) = await steps.claim()
    await note(steps, Note("a", 1, b"1", b"one\n", 1, 0))
    await steps.ack(end(job, keep=(1000, -1, -1)))
    assert await held(steps) == (0, "one")
    steps.now += 1000
    await steps.prune()
    assert await fields(steps, "progress") == await fields(steps, "logs") == {}
