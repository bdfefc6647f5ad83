"""Leases: renewing them, losing them, and the poison limit."""

from __future__ import annotations

import redis

from jobs.store import queue
from jobs.store.queue import Verb, Verdict
from tests.helpers.servers import Server
from tests.store.steps import BEGUN, LEASE, MINUTE, NOW, Steps, end, record, score


async def test_a_renewal_moves_only_the_deadlines_that_are_the_callers(steps: Steps) -> None:
    await steps.add("a", "b", "c")
    await steps.claim()
    await steps.rescue("b")
    steps.now += 10_000
    before = await steps.dump()
    assert await steps.renew(("a", 1), ("b", 2), ("c", 2), ("nobody", 1)) == "1000"
    assert await steps.changes(before) == {"leases": {"a": NOW + 10_000 + LEASE, "c": NOW + LEASE}}


async def test_a_renewal_of_nothing_that_is_held_writes_nothing(steps: Steps) -> None:
    before = await steps.dump()
    assert await steps.renew(("a", 1)) == "0"
    assert await steps.changes(before) == {}


async def test_a_renewal_hears_of_a_wish_to_cancel(steps: Steps) -> None:
    await steps.add("a")
    await steps.claim()
    assert await steps.cancel("a") == "active"
    assert await steps.renew(("a", 1)) == "2"


async def test_the_blocking_client_of_the_lease_thread_renews(steps: Steps, server: Server) -> None:
    """It reads the server's clock, and sends the script's text when the server forgot it."""
    steps.now = 0
    await steps.add("a")
    await steps.claim()
    before = (await steps.dump())["leases"]["a"]
    with server.client() as client:
        client.script_flush()
        verdicts = queue.renew(client, steps.keys, [("a", 1), ("b", 1)], LEASE + 60_000)
        assert isinstance(client, redis.Redis)
    assert verdicts == [Verdict.extended, Verdict.lost]
    assert (await steps.dump())["leases"]["a"] >= before + 60_000


async def test_a_rescued_job_is_first_in_its_line_again(steps: Steps) -> None:
    await steps.add("a", "b")
    await steps.claim(1)
    await steps.client.delete(steps.keys.wake)
    before = await steps.dump()
    assert await steps.rescue("a") == "waiting"
    assert await steps.changes(before) == {
        "leases": {},
        "ready": {"a": score(3, 1), "b": score(3, 2)},
        "record": {"a": record(sequence=1.0, losses=1, flags=BEGUN)},
        "result": {"a": [b"lost"]},
        "stats": before["stats"] | {f"{MINUTE}:lost": 1},
        "wake": 1,
    }


async def test_only_the_deadline_that_was_seen_is_taken(steps: Steps) -> None:
    """Rule 11: a lease that was renewed since it was looked at is alive."""
    await steps.add("a")
    await steps.claim()
    steps.now += 1
    await steps.renew(("a", 1))
    before = await steps.dump()
    assert await steps.rescue_seen([("a", NOW + LEASE), ("nobody", NOW)]) == "alive alive"
    assert await steps.changes(before) == {}


async def test_a_rescue_repeated_in_one_call_or_another_happens_once(steps: Steps) -> None:
    await steps.add("a")
    await steps.claim()
    seen = [("a", NOW + LEASE)] * 2
    assert await steps.rescue_seen(seen) == "alive", "the later answer of one id stands in the dict"
    before = await steps.dump()
    assert before["record"]["a"].losses == 1
    assert await steps.rescue_seen(seen) == "alive"
    assert await steps.changes(before) == {}


async def test_a_job_that_kills_its_workers_is_failed_as_poison(steps: Steps) -> None:
    await steps.add("a")
    fates = []
    for _ in range(3):
        await steps.claim()
        fates.append(await steps.rescue("a", most_losses=3, keep=(60_000, -1, -1)))
    assert fates == ["waiting", "waiting", "failed"]
    found = await steps.dump()
    assert found["failed"] == {"a": NOW}
    assert found["expiry"] == {"a": NOW + 60_000}
    assert found["result"] == {"a": [b"lost"] * 3}
    assert found["record"]["a"] == record(sequence=1.0, token=3, losses=3, flags=BEGUN)
    assert found["config"]["bytes:failed"] == 6 + 3 + len(b"lost\nlost\nlost")
    stats = await steps.stats()
    assert (stats["lost"], stats["failed"]) == (3, 1)
    await steps.assert_sound()


async def test_losses_and_interruptions_and_failures_are_three_counters(steps: Steps) -> None:
    await steps.add("a")
    for verb in (Verb.interrupt, Verb.interrupt, Verb.retry, Verb.snooze):
        await steps.finish("a", verb)
    await steps.claim()
    assert await steps.rescue("a") == "waiting"
    found = (await steps.dump())["record"]["a"]
    assert (found.failures, found.losses, found.interruptions) == (1, 1, 3), (
        "a snooze gives the attempt back too"
    )


async def test_a_lost_job_that_was_to_stop_is_cancelled(steps: Steps) -> None:
    await steps.add("a")
    await steps.claim()
    await steps.cancel("a")
    assert await steps.rescue("a") == "cancelled"
    found = await steps.dump()
    assert found["cancelled"] == {"a": NOW}
    assert found["result"]["a"][-1] == b"lost"
    assert (await steps.stats())["cancelled"] == 1
    await steps.assert_sound()


async def test_the_oldest_leases_come_first(steps: Steps) -> None:
    for job_id in "abc":
        await steps.add(job_id)
        await steps.claim(1)
        steps.now += 5
    seen = await queue.oldest_leases(steps.client, steps.keys, 2)
    assert list(seen.items()) == [("a", NOW + LEASE), ("b", NOW + LEASE + 5)]


async def test_an_attempt_ends_in_time_or_not_at_all(steps: Steps) -> None:
    """A zombie's ack, its renewal and its job: all refused after the rescue."""
    await steps.add("a")
    (job,) = await steps.claim()
    await steps.rescue("a")
    assert await steps.renew(("a", 1)) == "0"
    assert await steps.ack(end(job)) == "0"
