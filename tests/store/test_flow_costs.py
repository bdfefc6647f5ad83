"""What groups, limits and unique keys cost the server, in commands (see test_costs).

A plain step that ends a hundred jobs and claims a hundred takes 27. None of these numbers grows
with the jobs; some grow with the groups, of which there are ten here.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from jobs.store import limits
from jobs.store.queue import Entry, Flow
from tests.store.steps import Steps, end
from tests.store.test_costs import HUNDRED, Meter, meter

__all__ = ["meter"]

BODY = b"j0000\x04work" + b"x" * 204


def made(flow: Callable[[int], Flow | None], *, prefix: str = "") -> list[Entry]:
    """A hundred jobs of one function."""
    return [Entry(f"{prefix}{n:011}", BODY, 3, flow=flow(n)) for n in HUNDRED]


def of_tenants(n: int) -> Flow:
    """Ten tenants."""
    return Flow(f"t{n % 10}", f"t{n % 10}")


def unique(n: int) -> Flow:
    return Flow(unique=f"u{n}")


def unique_again(n: int) -> Flow:
    return Flow(unique=f"v{n}")


async def set_rules(steps: Steps, rules: dict[str, str]) -> None:
    await limits.write_rules(steps.client, steps.keys, rules, now_ms=steps.now)


async def a_busy_step(meter: Meter, *flows: Callable[[int], Flow | None]) -> int:
    """Commands of a step that ends a hundred jobs and claims a hundred."""
    first, second = flows[0], flows[-1]
    await meter.steps.put(made(first))
    acks = [end(claimed) for claimed in await meter.steps.claim(100)]
    await meter.steps.put(made(second, prefix="a"))
    await meter.reset()
    answer = await meter.steps.step(acks=acks, want=100)
    calls, _, _ = await meter.read()
    assert (answer.accepted, len(answer.jobs)) == ("1" * 100, 100)
    return sum(calls.values())


@pytest.mark.parametrize(
    ("rules", "flows", "most"),
    [
        pytest.param({"f:work": "c1000"}, [lambda _: None], 40, id="places of a function"),
        pytest.param({"f:work": "r10000/1000"}, [lambda _: None], 39, id="rate of a function"),
        pytest.param({"q": "r10000/1000"}, [lambda _: None], 41, id="rate of the queue"),
        pytest.param({}, [of_tenants], 48, id="turns of ten"),
        pytest.param({"k": "c100"}, [of_tenants], 61, id="places of ten keys"),
        pytest.param({"k": "r1000/1000"}, [of_tenants], 69, id="rates of ten keys"),
        pytest.param({}, [unique, unique_again], 40, id="unique keys"),
    ],
)
async def test_a_busy_step_of(
    meter: Meter, rules: dict[str, str], flows: list[Callable[[int], Flow | None]], most: int
) -> None:
    await set_rules(meter.steps, rules)
    assert await a_busy_step(meter, *flows) <= most


@pytest.mark.parametrize(("flow", "most"), [(of_tenants, 13), (unique, 14)])
async def test_a_hundred_enqueued(
    meter: Meter, flow: Callable[[int], Flow | None], most: int
) -> None:
    await meter.reset()
    await meter.steps.put(made(flow))
    calls, _, _ = await meter.read()
    assert sum(calls.values()) <= most
