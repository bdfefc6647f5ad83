"""What stands in the way of a job, as the store sees it at one moment."""

from __future__ import annotations

from jobs.states import State
from jobs.store import workers
from jobs.store.explain import Obstacles, read_obstacles
from jobs.store.pausing import Note
from jobs.store.queue import Entry, Verb
from tests.helpers.keyspace import untyped
from tests.store.steps import NOW, Steps
from tests.store.test_groups import body, grouped, rules


async def look(steps: Steps, job_id: str) -> Obstacles:
    before = await steps.dump()
    found = await read_obstacles(steps.client, steps.keys, job_id, now_ms=steps.now)
    assert found is not None
    assert await steps.dump() == before, "it writes nothing"
    return found


async def test_an_unknown_job(steps: Steps) -> None:
    assert await read_obstacles(steps.client, steps.keys, "nobody") is None


async def test_the_place_of_a_plain_job(steps: Steps) -> None:
    await steps.add("a", "b")
    await steps.add("urgent", priority=1)
    assert ((await look(steps, "b")).before, (await look(steps, "b")).size) == (2, 3)
    assert (await look(steps, "urgent")).before == 0
    assert (await look(steps, "a")).state is State.waiting


async def test_the_switches_of_the_queue(steps: Steps) -> None:
    await steps.add("a")
    switches = {"paused": '{"reason":"dinner","at":5}', "closed": NOW + 9}
    await untyped(steps.client).hset(steps.keys.config, mapping=switches)
    found = await read_obstacles(steps.client, steps.keys, "a", now_ms=NOW)
    assert found is not None
    assert found.paused == Note("dinner", 5)
    assert found.closed_ms == NOW + 9


async def test_the_workers_that_are_heard_of(steps: Steps) -> None:
    await workers.beat(steps.client, steps.keys, "alive", {"pid": 1}, 45_000)
    await steps.add("a")
    steps.now = round((await workers.workers(steps.client, steps.keys))[0].beat_ms)
    assert [worker.id for worker in (await look(steps, "a")).workers] == ["alive"]
    steps.now += 45_001
    assert (await look(steps, "a")).workers == []


async def test_a_full_key_and_who_holds_it(steps: Steps) -> None:
    await rules(steps, k="c2")
    await steps.put(grouped("a1", "a2", "a3", "a4", group="a"))
    await steps.claim()
    found = await look(steps, "a4")
    (gate,) = found.gates
    assert (gate.gate, gate.kind, gate.limit, gate.used) == ("k:a", "c", 2, 2)
    assert (gate.holders, gate.is_full) == (("a1", "a2"), True)
    assert (found.group, found.place, found.first, found.gate) == ("a", 1, "a3", "k:a")
    assert (found.before, found.active, found.running) == (None, 2, ["a1", "a2"])


async def test_a_rate_and_when_it_opens(steps: Steps) -> None:
    await rules(steps, f_work="r2/1000")
    await steps.put([Entry(i, body(i), 3) for i in "abc"])
    await steps.claim()
    steps.now += 300
    found = await look(steps, "c")
    (gate,) = found.gates
    assert (gate.gate, gate.kind, gate.limit, gate.used) == ("f:work", "r", 2, 2)
    assert gate.opens_ms == NOW + 1000
    assert found.gate == "f:work"
    steps.now = NOW + 1000
    assert not (await look(steps, "c")).gates[0].is_full


async def test_the_places_of_the_whole_queue(steps: Steps) -> None:
    await rules(steps, q="c1")
    await steps.put([Entry(i, body(i), 3) for i in "ab"])
    await steps.claim()
    (gate,) = (await look(steps, "b")).gates
    assert (gate.gate, gate.limit, gate.used, gate.holders) == ("q", 1, 1, ("a",))


async def test_the_order_of_a_key(steps: Steps) -> None:
    await rules(steps, k="o")
    await steps.put(grouped("a1", "a2", group="a"))
    await steps.claim()
    (gate,) = (await look(steps, "a2")).gates
    assert (gate.gate, gate.kind, gate.holders) == ("o:a", "o", ("a1",))


async def test_a_limit_that_queues_share(steps: Steps) -> None:
    await rules(steps, q="c1@site")
    await steps.put([Entry(i, body(i), 3) for i in "ab"])
    await steps.claim()
    (gate,) = (await look(steps, "b")).gates
    assert (gate.gate, gate.used, gate.holders) == ("s:site", 1, ("a",))


async def test_a_paused_function(steps: Steps) -> None:
    await rules(steps, p_work='{"reason":"bug","at":7}')
    await steps.put([Entry("a", body("a"), 3)])
    assert (await look(steps, "a")).function_paused == Note("bug", 7)


async def test_groups_and_plain_jobs_before_a_group(steps: Steps) -> None:
    await steps.put([Entry("plain", body("plain"), 3)])
    await steps.put(grouped("a1", group="a"))
    await steps.put(grouped("b1", "b2", group="b"))
    found = await look(steps, "b2")
    assert (found.place, found.before, found.groups, found.size) == (1, 2, 2, 4)


async def test_jobs_that_do_not_wait(steps: Steps) -> None:
    await steps.add("done", "runs")
    await steps.finish("done", Verb.complete, line=b'{"outcome":"completed"}')
    await steps.claim()
    await steps.add("later", delay_ms=5_000)
    done, runs, later = [await look(steps, i) for i in ("done", "runs", "later")]
    assert (done.state, done.history) == (State.completed, [b'{"outcome":"completed"}'])
    assert (runs.state, runs.before) == (State.active, None)
    assert (later.state, later.score, later.before) == (State.delayed, NOW + 5_000, None)
