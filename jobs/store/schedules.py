"""Schedules as they are stored: define, fire, pause, remove, and what each has done."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from itertools import chain
from typing import NamedTuple

from jobs.keys import QueueKeys
from jobs.store._script import AsyncCommands, script

#: What a message on the control channel begins with that is about a schedule.
_NEWS = b"schedule "


class ScheduleState(NamedTuple):
    """What a schedule has done so far; times are ms, 0 stands for never.

    revision: grows with every change of the definition.
    after: every instant up to this one is decided.
    fired, skipped: runs made; runs left out because the last one went on.
    held: the instant whose run waits until the last one ends.
    last: the instant of the last run.
    paused: since when it is paused.
    """

    revision: int
    after: int
    fired: int
    skipped: int
    held: int
    last: int
    paused: int


class Stored(NamedTuple):
    """One schedule: its name, what it has done, and two JSON documents, the rule and the rest."""

    name: str
    state: ScheduleState
    rule: bytes
    rest: bytes


class Run(NamedTuple):
    """The job of one instant."""

    instant: int
    due_ms: int
    id: str
    body: bytes


class Stage(Enum):
    """What became of a plan."""

    done = 1
    stale = 0  #: somebody else was first, or the schedule was changed
    gone = -1
    early = -2


class Fired(NamedTuple):
    """The answer to a plan: `state` is that of now, `None` if the schedule is gone; `runs` has
    one letter a run: + made, = was there, h held, s skipped, . nothing to do.
    """

    stage: Stage
    state: ScheduleState | None
    now_ms: int
    runs: str


class Defined(Enum):
    """What became of a definition."""

    unchanged = 0
    added = 1
    changed = 2


async def define(  # noqa: PLR0913 -- what is stored, where, and whom to tell
    client: AsyncCommands,
    keys: QueueKeys,
    name: str,
    rule: bytes,
    rest: bytes,
    *,
    channel: str,
    now_ms: int = 0,
) -> Defined:
    """Store a schedule, or change the one of this name."""
    return Defined(await script("schedule")(client, keys, (now_ms, name, rule, rest, channel)))


async def remove(client: AsyncCommands, keys: QueueKeys, name: str, *, channel: str) -> bool:
    """Remove a schedule; whether there was one."""
    removed: int = await script("unschedule")(client, keys, (name, channel))
    return removed == 1


async def pause(  # noqa: PLR0913 -- which schedule, what to do, and whom to tell
    client: AsyncCommands,
    keys: QueueKeys,
    name: str,
    *,
    paused: bool,
    channel: str,
    now_ms: int = 0,
) -> bool | None:
    """Pause a schedule or let it go on; False: it was so already, `None`: there is none."""
    done: int = await script("shelve")(client, keys, (now_ms, name, int(paused), channel))
    return None if done < 0 else done == 1


async def fire(  # noqa: PLR0913 -- the plan, what it was made from, and the policies of the script
    client: AsyncCommands,
    keys: QueueKeys,
    name: str,
    runs: Sequence[Run],
    *,
    revision: int = 0,
    after: int = 0,
    upto: int = 0,
    by_hand: bool = False,
    overlap: str = "allow",
    limit: int | None = None,
    priority: int,
    group: str = "",
    key: str = "",
    now_ms: int = 0,
) -> Fired:
    """Make the jobs of up to 100 instants, if the plan is not stale; see lua/fire.lua."""
    args = (
        *(now_ms, name, revision, after, upto),
        *(int(by_hand), overlap, limit or 0, priority, group, key),
    )
    answer = await script("fire")(client, keys, args, list(chain.from_iterable(runs)))
    status, line, now, letters = answer
    return Fired(Stage(status), read_state(line) if line else None, int(now), letters.decode())


async def read(client: AsyncCommands, keys: QueueKeys, names: Sequence[str]) -> list[Stored | None]:
    """The schedules of these names, in order; `None` for one that is not there.

    A value that cannot be read counts as not there, so that it stops no other; audits name it.
    """
    if not names:
        return []
    values = await client.execute_command("HMGET", keys.schedules, *names)
    return [_try_to_read(name, value) for name, value in zip(names, values, strict=True)]


async def read_all(client: AsyncCommands, keys: QueueKeys) -> list[Stored]:
    """Every schedule of a queue, by name."""
    flat = await client.execute_command("HGETALL", keys.schedules)
    pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
    found = [_try_to_read(name.decode(), value) for name, value in pairs]
    return sorted(stored for stored in found if stored is not None)


async def version(client: AsyncCommands, keys: QueueKeys) -> int:
    """How often a schedule of the queue was changed; whoever knows this number knows them all."""
    return int(await client.execute_command("HGET", keys.config, "schedules") or 0)


async def server_ms(client: AsyncCommands) -> int:
    """The server's clock, in ms."""
    seconds, micros = await client.execute_command("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


def read_stored(name: str, value: bytes) -> Stored:
    """One value of the hash."""
    line, rule, rest = value.split(b"\n", 2)
    return Stored(name, read_state(line), rule, rest)


def _try_to_read(name: str, value: bytes | None) -> Stored | None:
    try:
        return None if value is None else read_stored(name, value)
    except (TypeError, ValueError):
        return None


def read_state(line: bytes) -> ScheduleState:
    """The line of numbers that the scripts write."""
    return ScheduleState(*map(int, line.split()))


def read_news(data: bytes) -> tuple[int, str] | None:
    """(version, name of the changed schedule) of a message, `None` if it is about another thing."""
    if not data.startswith(_NEWS):
        return None
    number, _, name = data[len(_NEWS) :].partition(b" ")
    return int(number), name.decode()
