"""The rate limit is an exact sliding window over all workers."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.store.steps import NOW, Steps


async def fill(steps: Steps, number: int) -> None:
    for at in range(0, number, 100):
        await steps.add(*(f"{n:04}" for n in range(at, min(number, at + 100))))


async def test_the_limit_is_granted_at_once_and_then_its_wait_is_told(steps: Steps) -> None:
    await fill(steps, 10)
    first = await steps.step(want=10, rate_limit=3, rate_period_ms=1_000)
    assert (len(first.jobs), first.rate_wait_ms) == (3, -1)
    steps.now += 400
    second = await steps.step("other", want=10, rate_limit=3, rate_period_ms=1_000)
    assert (second.jobs, second.rate_wait_ms) == ([], 600)
    assert (await steps.dump())["rate"] == [NOW] * 3
    steps.now += 600
    third = await steps.step(want=10, rate_limit=3, rate_period_ms=1_000)
    assert len(third.jobs) == 3


async def test_a_refused_claim_writes_nothing_and_wakes_nobody(steps: Steps) -> None:
    await fill(steps, 2)
    await steps.step(want=1, rate_limit=1, rate_period_ms=1_000)
    await steps.client.delete(steps.keys.wake)
    before = await steps.dump()
    await steps.step(want=1, rate_limit=1, rate_period_ms=1_000)
    assert await steps.changes(before) == {"claims": {"w": 2}}


async def test_only_jobs_that_were_there_count(steps: Steps) -> None:
    await steps.step(want=10, rate_limit=2, rate_period_ms=1_000)
    await fill(steps, 5)
    answer = await steps.step(want=10, rate_limit=2, rate_period_ms=1_000)
    assert len(answer.jobs) == 2


_CALLS = st.lists(
    st.tuples(st.integers(0, 400), st.integers(1, 8), st.sampled_from("xy")),
    min_size=1,
    max_size=25,
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.integers(1, 6), period=st.integers(1, 1_000), calls=_CALLS)
async def test_no_window_ever_holds_more_than_the_limit(
    steps: Steps, limit: int, period: int, calls: list[tuple[int, int, str]]
) -> None:
    """And no claim is refused that the window would have allowed."""
    await steps.client.flushdb()
    steps.now = NOW
    await fill(steps, 200)
    granted: list[int] = []
    for wait, want, worker in calls:
        steps.now += wait
        recent = sum(at > steps.now - period for at in granted)
        answer = await steps.step(worker, want=want, rate_limit=limit, rate_period_ms=period)
        assert len(answer.jobs) == min(want, limit - recent)
        if recent >= limit:
            assert answer.rate_wait_ms == sorted(granted)[-limit] + period - steps.now
        granted += [steps.now] * len(answer.jobs)
    assert all(sum(at <= t < at + period for t in granted) <= limit for at in granted)
