"""Ids: twelve letters and digits, never two alike, in the order in which they were made."""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from string import ascii_letters, digits

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import clock
from jobs.ids import IdMaker, new_id

ALPHABET = sorted(digits + ascii_letters)
#: The most that a key may have for the small sizes of the servers' allocators.
LENGTH = 12


def number(text: str) -> int:
    """The number that the digits of `text` make."""
    value = 0
    for digit in text:
        value = value * len(ALPHABET) + ALPHABET.index(digit)
    return value


def at(ms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clock."""
    monkeypatch.setattr(clock, "now_ms", lambda: ms)


def test_an_id_tells_when_it_was_made() -> None:
    make = IdMaker()  # another test may have set the clock of the process's own maker ahead
    before = clock.now_ms()
    job_id = make()
    assert len(job_id) == LENGTH
    assert set(job_id) <= set(ALPHABET)
    assert before <= number(job_id[:7]) <= clock.now_ms()


def test_many_ids_are_different_and_sorted() -> None:
    made = [new_id() for _ in range(100_000)]
    assert made == sorted(set(made))


def test_ids_of_one_millisecond_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while the clock stands, or is set back."""
    make = IdMaker()
    at(1_700_000_000_000, monkeypatch)
    first = make()
    at(1_600_000_000_000, monkeypatch)
    assert number(make()) == number(first) + 1


def test_the_first_id_of_a_millisecond_is_random(monkeypatch: pytest.MonkeyPatch) -> None:
    at(1_700_000_000_000, monkeypatch)
    tails = {IdMaker()()[7:] for _ in range(2_000)}
    assert len(tails) > 1_995, "two of them meet by chance once in hundreds of runs"
    for place in range(LENGTH - 7):
        assert len({tail[place] for tail in tails}) == len(ALPHABET)


def test_the_end_of_the_counted_digits_begins_the_next_millisecond(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at(1_700_000_000_000, monkeypatch)
    make = IdMaker()
    made = [make()]
    make._count = 62**4 - 1
    made += [make() for _ in range(3)]
    assert [number(job_id[:7]) - 1_700_000_000_000 for job_id in made] == [0, 0, 1, 1]
    assert all(first < second for first, second in pairwise(made))


@given(ms=st.integers(0, 2**48))
def test_every_time_has_ids(ms: int) -> None:
    """Also those after 2081, when the digits of the time begin anew."""
    with pytest.MonkeyPatch.context() as patch:
        at(ms, patch)
        job_id = IdMaker()()
    assert len(job_id) == LENGTH
    assert ms == 0 or number(job_id[:7]) == ms % 62**7


def test_threads_make_different_ids() -> None:
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: [new_id() for _ in range(2_000)], range(8)))
    assert len({job_id for each in made for job_id in each}) == 16_000


def test_a_forked_process_makes_other_ids() -> None:
    """Within the millisecond of the last id of its parent, too."""
    make, (reads, writes) = IdMaker(), os.pipe()
    last = make()
    make.part()
    assert number(make()) != number(last) + 1
    new_id()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the runner has threads; ours end here
        pid = os.fork()
    if pid == 0:
        try:
            os.write(writes, new_id().encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    try:
        theirs = os.read(reads, 100).decode()
    finally:
        os.close(reads)
        os.close(writes)
    assert len(theirs) == LENGTH
    assert theirs != new_id()
