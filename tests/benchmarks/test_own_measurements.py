"""What the bench of this project alone relies on, above all a judge that finds faults."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks import family, ledger
from benchmarks.ledger import Entry, Ledger, judge
from benchmarks.model import Context, Failed
from benchmarks.notebook import Notebook, at_least, at_most
from benchmarks.safety_producer import CALL, wanted
from benchmarks.sinks import content_length


def entries(*lines: str) -> list[Entry]:
    """`kind job token pid` a line, one nanosecond apart."""
    parts = [line.split() for line in lines]
    return [
        Entry(kind, job_id, int(token), int(pid), at)
        for at, (kind, job_id, token, pid) in enumerate(parts)
    ]


def ran(job_id: str, token: int = 1, pid: int = 7) -> list[str]:
    return [f"{kind} {job_id} {token} {pid}" for kind in ("start", "effect", "written")]


def test_a_clean_run_has_no_faults() -> None:
    found = judge(entries("attempt a 0 1", "ack a 0 1", *ran("a")))
    assert (found.lost, found.unexpected, found.doubled, found.reruns) == (0, 0, 0, 0)
    assert found.effects == 1


def test_an_acknowledged_job_without_an_effect_is_lost() -> None:
    found = judge(entries("attempt a 0 1", "ack a 0 1", "start a 1 7", "kill - 0 7"))
    assert (found.lost, found.in_flight) == (1, 1)


def test_a_job_without_an_answer_is_not_lost() -> None:
    assert judge(entries("attempt a 0 1", "kill - 0 1")).lost == 0


def test_two_recorded_ends_are_a_doubled_end() -> None:
    found = judge(entries("attempt a 0 1", "ack a 0 1", *ran("a"), *ran("a", token=2, pid=8)))
    assert (found.doubled, found.reruns) == (1, 1)


def test_an_effect_that_nobody_asked_for_is_unexpected() -> None:
    assert judge(entries(*ran("ghost"))).unexpected == 1


def test_an_end_that_was_recorded_is_not_under_way() -> None:
    assert judge(entries("attempt a 0 1", *ran("a"), "start b 2 7", "kill - 0 7")).in_flight == 1


def test_a_ledger_is_read_as_it_was_written(tmp_path: Path) -> None:
    book = Ledger(tmp_path / "new" / "ledger")
    book.note_all("attempt", ["a", "b"])
    book.note("start", "a", 3, pid=9)
    book.close()
    found = ledger.read(book.path)
    assert [(e.kind, e.job_id, e.token) for e in found] == [
        ("attempt", "a", 0),
        ("attempt", "b", 0),
        ("start", "a", 3),
    ]
    assert [e.pid for e in found] == [os.getpid(), os.getpid(), 9]


def test_a_producer_that_is_started_again_asks_for_the_same() -> None:
    assert wanted("p0", 20) == wanted("p0", 20)
    assert len(wanted("p0", 20)) == CALL


def test_a_family_has_grandchildren_in_other_sessions() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        assert {os.getpid(), child.pid} <= family.members([os.getpid()])
    finally:
        child.communicate(b"\n")


def test_content_length_is_found_in_any_case() -> None:
    assert content_length(b"POST / HTTP/1.1\r\nContent-Length: 12\r\nhost: x") == 12
    assert content_length(b"POST / HTTP/1.1") == 0


def silent(text: str, share: float | None = None) -> None:
    """A progress that shows nothing."""
    assert text or share


def refuse() -> dict[str, float]:
    raise Failed("no such program")


def test_a_failed_measurement_is_a_caveat_and_the_run_goes_on(tmp_path: Path) -> None:
    notebook = Notebook()
    context = Context(None, {}, silent, scratch=tmp_path)  # type: ignore[arg-type]  # no server is started
    notebook.run(
        context, [("one", refuse), ("two", lambda: {"x": 3.0}), ("two", lambda: {"x": 5.0})]
    )
    assert notebook.caveats() == ["one: no such program"]
    assert notebook.get("x") == 4.0
    assert notebook.percent("x", "absent") is None


def test_targets_look_at_figures_of_their_section() -> None:
    assert at_least("speed", "a", 10).met({"a": 11}) is True
    assert at_most("lost", "b", 0).met({"b": 1}) is False
    assert at_most("lost", "b", 0).met({}) is None
