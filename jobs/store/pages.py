"""Pages of jobs by their place: score and name, which stay whatever comes and goes around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from jobs.keys import QueueKeys
from jobs.states import State
from jobs.store._script import MAX_ITEMS, AsyncCommands, script
from jobs.store.record import first_record, grouped_id, late_id, split_body, unpack_record
from jobs.store.show import StoredJob

#: The sets in which the jobs of a state stand, in the order in which they are looked through.
SETS: dict[State, tuple[str, ...]] = {
    State.active: ("leases",),
    State.waiting: ("ready", "grouped"),
    State.delayed: ("later",),
    State.parked: ("parked",),
    State.failed: ("failed",),
    State.cancelled: ("cancelled",),
    State.expired: ("expired",),
    State.completed: ("completed",),
}
STATE_OF = {name: state for state, names in SETS.items() for name in names}
_IDS: dict[str, Callable[[bytes], str]] = {"later": late_id, "grouped": grouped_id}


class Place(NamedTuple):
    """Where a job stands in its set: the score as the server writes it, and its name there."""

    score: str
    member: bytes


class Row(NamedTuple):
    """One job of a page; `job` is `None` where only ids were asked for, or its body is gone."""

    id: str
    place: Place
    job: StoredJob | None


class Look(NamedTuple):
    """What is asked of one set."""

    name: str  #: one of those in `SETS`
    backwards: bool = False
    after: Place | None = None  #: the page begins behind it
    least: int | None = None  #: scores from this one on
    most: int | None = None  #: scores below this one
    whole: bool = True  #: with all that is stored of each job


async def page(
    client: AsyncCommands, keys: QueueKeys, look: Look, count: int = MAX_ITEMS
) -> tuple[list[Row], bool]:
    """Up to `count` jobs of one set (100 at most), read at one moment in one round trip.

    Returns:
        (the jobs, whether the set may hold more behind them).
    """
    score, member = look.after or ("", b"")
    bounds = ("" if bound is None else bound for bound in (look.least, look.most))
    most = min(count, MAX_ITEMS)
    args = (look.name, int(look.backwards), score, member, *bounds, most, int(look.whole))
    flat = await script("page")(client, keys, args)
    width = 5 if look.whole else 2
    rows = [row_of(look.name, *flat[at : at + width]) for at in range(0, len(flat), width)]
    return rows, len(rows) == most


def row_of(  # noqa: PLR0913 -- the five values of page.lua
    name: str,
    member: bytes,
    score: bytes,
    body: bytes | None = None,
    record: bytes | None = None,
    result: bytes | None = None,
) -> Row:
    """One job of a set from the values that the scripts give for it."""
    job_id = _IDS.get(name, bytes.decode)(member)
    place = Place(score.decode(), member)
    if body is None:
        return Row(job_id, place, None)
    enqueued_ms, envelope = split_body(body)
    packed = unpack_record(record) if record else first_record(float(score), enqueued_ms)
    lines = result.split(b"\n") if result else []
    job = StoredJob(job_id, STATE_OF[name], float(score), enqueued_ms, envelope, packed, lines)
    return Row(job_id, place, job)
