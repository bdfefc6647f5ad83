"""The starts that a rate counts, and when they are forgotten."""

from __future__ import annotations

import pytest

from jobs.store import limits, queue
from jobs.store.queue import Entry, Flow
from tests.store.steps import NOW, Steps

BODY = b"j0000\x04work[]"
DAY_MS = 86_400_000
#: Steps forget old starts in one of sixteen ms only; here in none.
QUIET = NOW + 1


async def start(steps: Steps, *keys: str) -> None:
    """Enqueue a job of each key, and claim it."""
    flows = [Flow(group=key, key=key) for key in keys]
    entries = [Entry(f"{steps.now}{f.key}", BODY, 3, flow=f) for f in flows]
    for at in range(0, len(entries), 100):
        await steps.put(entries[at : at + 100])
        assert len(await steps.claim(100)) == len(entries[at : at + 100])


async def counted(steps: Steps) -> dict[str, int]:
    """Starts by gate."""
    gates = await limits.read_gates(steps.client, steps.keys)
    return {gate.name: gate.starts for gate in gates if gate.starts}


async def prune(steps: Steps) -> int:
    """Prune as a worker does; in how many calls."""
    calls, cursor = 0, ""
    while cursor != "0":
        _, cursor = await queue.prune(
            steps.client, steps.keys, cursor=cursor or "0", now_ms=steps.now
        )
        calls += 1
    return calls


@pytest.fixture
async def rated(steps: Steps) -> Steps:
    """A queue whose keys start three jobs a second each."""
    steps.now = QUIET
    await limits.write_rules(steps.client, steps.keys, {"k": "r3/1000 r9/5000"}, now_ms=QUIET)
    return steps


async def test_a_prune_forgets_what_no_rule_counts(rated: Steps) -> None:
    """Also of keys at which nobody looks any more."""
    await start(rated, "a", "b")
    rated.now += 4999
    await start(rated, "b", "c")
    await prune(rated)
    assert await counted(rated) == {"k:a": 1, "k:b": 2, "k:c": 1}
    rated.now += 1
    await prune(rated)
    assert await counted(rated) == {"k:b": 1, "k:c": 1}
    rated.now += 5000
    await prune(rated)
    assert await counted(rated) == {}


async def test_the_starts_of_many_keys_take_several_calls(rated: Steps) -> None:
    await start(rated, *(f"é{n}" for n in range(250)))
    assert await prune(rated) == 4
    assert len(await counted(rated)) == 250
    rated.now += 5000
    await prune(rated)
    assert await counted(rated) == {}


async def test_starts_without_a_rule_stay_for_a_day(rated: Steps) -> None:
    """It may have gone by mistake, and come back."""
    await start(rated, "a")
    await limits.write_rules(rated.client, rated.keys, {"k": ""}, now_ms=rated.now)
    rated.now += DAY_MS - 1
    await prune(rated)
    assert await counted(rated) == {"k:a": 1}
    rated.now += 1
    await prune(rated)
    assert await counted(rated) == {}


@pytest.mark.parametrize(("later_ms", "left"), [(15, 1), (16, 0)])
async def test_a_step_forgets_now_and_then(rated: Steps, later_ms: int, left: int) -> None:
    """Whether it does or not, old starts count for nothing."""
    rated.now = NOW
    await start(rated, "a")
    await start(rated, "b")
    rated.now = NOW + 5000 // 16 * 16 + later_ms
    assert rated.now % 16 == (0 if left == 0 else 15)
    await start(rated, "a")
    assert await counted(rated) == {"k:a": 1 + left, "k:b": 1}
