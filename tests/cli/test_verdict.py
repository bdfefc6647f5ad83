"""The verdict of `bench`: which figures lead to which sentence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jobs.cli.verdict import Drained, Figures, Finding, Place, Rate, Spread, about, verdict

PLACE = Place(
    server="Valkey 9.1.2",
    address="127.0.0.1:6379",
    append_only=True,
    others_per_s=3,
    concurrency=100,
    loop="uvloop",
    cores=8,
    load=0.5,
)
#: A server in the same network that nobody else uses: nothing to complain about.
GOOD = Figures(
    place=PLACE,
    ping=Spread(1000, 0.1, 0.3),
    write=Spread(1000, 0.1, 0.3),
    one_by_one=Rate(9000, 3),
    bulk=Rate(50_000, 2),
    drain=Drained(50_000, 4, worker_cpu_s=3.9, server_cpu_s=0.8),
    pickup=Spread(200, 0.6, 1.2),
    awaited=Spread(200, 0.9, 1.9),
    bytes_a_job=380,
)


def drained(worker: float, server: float | None, jobs: int = 10_000) -> Drained:
    """A drain of one second in which each side used this share of a core."""
    return Drained(jobs, 1.0, worker, server)


def at(**changes: Any) -> Place:
    return replace(PLACE, **changes)


def found(topic: str, **changes: Any) -> Finding | None:
    """The sentence of one topic about figures that are good but for these."""
    return next((f for f in verdict(replace(GOOD, **changes)) if f.topic == topic), None)


def text(topic: str, level: str, **changes: Any) -> str:
    finding = found(topic, **changes)
    assert finding is not None
    assert finding.level == level
    return finding.text


def test_everything_fine() -> None:
    capacity, worker = verdict(GOOD)
    assert capacity.text == (
        "Everything fine: this server and one worker process carry about 12,000 jobs/s, "
        "if the jobs themselves take no time."
    )
    assert worker.text == (
        "The worker's CPU bounds the work (98% of a core, the server 20%): the server has room "
        "for about 5 such processes, `arq-jobs worker --processes N`."
    )


def test_a_note_is_not_fine() -> None:
    capacity = text("capacity", "ok", place=at(loop="asyncio"))
    assert capacity.startswith("This server and one worker process")


# -- what bounds the work ------------------------------------------------------------------


def test_worker_and_server_take_turns() -> None:
    said = text("worker", "ok", drain=drained(0.65, 0.36))
    assert said.startswith("The worker (65% of a core) and the server (36%) take turns")
    assert "room for about 2 such processes" in said


def test_a_second_process_fills_the_server() -> None:
    said = text("worker", "ok", drain=drained(0.9, 0.6))
    assert said.endswith("a second process would fill the server's core.")


@pytest.mark.parametrize("server", [0.0, 0.04])
def test_room_for_many(server: float) -> None:
    assert "room for about many" not in text("worker", "ok", drain=drained(0.9, 0.06))
    assert "room for about many such processes" in text("worker", "ok", drain=drained(0.9, server))


def test_a_server_that_does_not_tell_its_costs() -> None:
    said = text("worker", "ok", drain=drained(0.95, None))
    assert said.startswith("The worker's CPU bounds the work (95% of a core): run several")
    waits = text("round trip", "note", drain=drained(0.4, None))
    assert waits.startswith("The worker used 40% of a core: it waits for round trips")


def test_the_server_uses_more_than_the_worker() -> None:
    said = text("server", "note", drain=drained(0.3, 0.6))
    assert said.startswith("The server uses more CPU than the worker (60 µs a job against 30 µs):")
    full = text("server", "note", drain=drained(0.3, 0.95))
    assert "and its core is 95% full" in full


def test_the_way_to_the_server() -> None:
    far = Spread(100, 2.5, 3)
    said = text("round trip", "note", drain=drained(0.3, 0.1), write=far)
    assert said == (
        "The worker used 30% of a core, the server 10%: it waits for round trips of 2.50 ms. "
        "Place it nearer to the server, or run several: `arq-jobs worker --processes 2`."
    )


def test_a_low_concurrency() -> None:
    said = text("concurrency", "note", drain=drained(0.3, 0.1), place=at(concurrency=10))
    assert said.startswith("The concurrency of 10 bounds the work")
    assert found("concurrency", place=at(concurrency=10)) is None


def test_a_busy_machine_bounds_nothing_else() -> None:
    place = at(load=9.1)
    said = text("machine", "note", drain=drained(0.3, 0.1), place=place)
    assert said.startswith("This machine was busy before (load 9.1 on 8 cores)")
    assert found("round trip", drain=drained(0.3, 0.1), place=place) is None
    assert found("round trip", drain=drained(0.3, 0.1), place=place, write=Spread(9, 5, 6))
    assert found("machine", place=at(load=8.0)) is None


def test_a_drain_without_time() -> None:
    nothing = Drained(1, 0.0, 0.0, 0.0)
    assert (nothing.per_s, nothing.worker_share, nothing.server_share) == (0.0, 0.0, None)
    assert verdict(replace(GOOD, drain=nothing))


# -- the rest ------------------------------------------------------------------------------


def test_a_round_trip_bounds_one_by_one() -> None:
    far = Spread(100, 1.8, 2)
    said = text("enqueue", "note", write=far, one_by_one=Rate(1500, 3))
    assert said == (
        "The server's round trip of 1.80 ms bounds one-by-one enqueueing (500 jobs/s): enqueue in "
        "bulk (25,000 jobs/s with `enqueue_many`), or place producers and workers nearer to it."
    )


def test_a_near_server_is_no_reason_to_move() -> None:
    said = text("enqueue", "ok", one_by_one=Rate(20_000, 3))
    assert said.endswith("where you have many jobs at once.")
    assert found("enqueue") is None


def test_stalls() -> None:
    said = text("stalls", "note", write=Spread(1000, 0.2, 40))
    assert said.startswith("One round trip in a hundred takes 40 ms, the usual one 0.20 ms:")
    assert found("stalls", ping=Spread(1000, 0.2, 4.9)) is None  # a scheduler's slice
    assert found("stalls", ping=Spread(1000, 1, 9.9)) is None  # a wide spread, no stall


def test_a_late_pick_up() -> None:
    said = text("pick-up", "note", pickup=Spread(100, 12, 20))
    assert said.startswith("A job of an idle queue begins only 12 ms after it was enqueued")
    assert found("pick-up", pickup=Spread(100, 12, 20), write=Spread(100, 2, 3)) is None


def test_without_uvloop() -> None:
    assert "arq-jobs[uvloop]" in text("event loop", "note", place=at(loop="asyncio"))


def test_others_at_the_server() -> None:
    said = text("others", "ok", place=at(others_per_s=5180))
    assert said.startswith("Other clients asked 5,200 commands/s of the server before")
    assert found("others", place=at(others_per_s=999)) is None


def test_without_an_append_only_file() -> None:
    assert "appendonly yes" in text("persistence", "ok", place=at(append_only=False))


# -- numbers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0.0"), (9.94, "9.9"), (10, "10"), (99.6, "100"), (123, "120"), (12_345, "12,000"),
     (987_654, "990,000")],
)  # fmt: skip
def test_numbers_in_prose(number: float, said: str) -> None:
    assert about(number) == said


def test_the_spread_is_by_nearest_rank() -> None:
    assert Spread.of([0.001 * n for n in range(100, 0, -1)]) == Spread(100, 50.0, 99.0)
    assert Spread.of([0.002]) == Spread(1, 2.0, 2.0)


def test_a_rate_without_time_is_none() -> None:
    assert Rate(10, 0).per_s == 0
