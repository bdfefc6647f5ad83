"""Finding jobs: the rows on lists, filters and cursors."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import pytest
from redis.asyncio import Redis

from jobs import Client, Context, Fail, Filter, JobFailed, JobInfo, Request, State, clock, job
from jobs.errors import InvalidFilter, InvalidOption
from jobs.operations.search import Page
from tests.features.conftest import Work
from tests.helpers.waiting import wait_until


@job("search.send_email", queue="email", attempts=1)
async def send_email(ctx: Context, to: str, copies: int = 1) -> None:
    if to.startswith("bad"):
        raise Fail(f"550 no mailbox for {to}")
    if to.startswith("slow"):
        raise TimeoutError("the server timed out")


@job("search.pay", queue="billing")
async def pay(ctx: Context, order: dict[str, Any], cents: int) -> int:
    return cents


def ids(page: Page) -> list[str]:
    return [info.id for info in page.jobs]


async def walk(client: Client, query: Filter | str, **options: Any) -> list[JobInfo]:
    """All pages."""
    found: list[JobInfo] = []
    after = None
    while True:
        page = await client.search(query, after=after, **options)
        found += page.jobs
        after = page.cursor
        if after is None:
            return found


async def settled(client: Client, *queues: str) -> None:
    """Wait until no job waits or runs."""

    async def rest() -> bool:
        counts = [await client.queue(name).counts() for name in queues]
        return not any(found[s] for found in counts for s in (State.waiting, State.active))

    await wait_until(rest, description="all jobs have ended")


@pytest.fixture
async def mixed(client: Client, work: Work) -> Client:
    """Jobs of two queues in several states."""
    worker = await work(send_email, pay)
    failing = {"f1": "bad@example.com", "f2": "slow@example.com", "f3": "bad@example.org"}
    for job_id, to in failing.items():
        await send_email.options(client=client, id=job_id).enqueue(to)
    await send_email.options(client=client, id="c1").enqueue("ada@example.com", copies=3)
    await pay.options(client=client, id="c2").enqueue({"id": 7, "by": {"name": "Ada"}}, cents=995)
    await settled(client, "email", "billing")
    await worker.close()
    for n in range(3):
        await send_email.options(client=client, id=f"w{n}").enqueue(f"u{n}@example.com")
    await pay.options(client=client, id="d1", delay="1h").enqueue({"id": 8}, cents=1)
    return client


async def test_a91_jobs_by_state(mixed: Client) -> None:
    assert ids(await mixed.search("state:waiting")) == ["w0", "w1", "w2"]
    assert ids(await mixed.search("state:delayed")) == ["d1"]
    assert set(ids(await mixed.search("state:completed"))) == {"c1", "c2"}
    assert set(ids(await mixed.search(Filter(states=[State.failed])))) == {"f1", "f2", "f3"}
    assert ids(await mixed.search("state:active")) == []
    states = [info.state for info in (await mixed.search()).jobs]
    order = [State.waiting, State.delayed, State.failed, State.completed]
    assert states == sorted(states, key=order.index), "running first, ended last"
    assert len(states) == 9


async def test_b147_filters_by_state_name_tag_time_and_id(mixed: Client) -> None:
    expected = {
        "state:failed queue:email": {"f1", "f2", "f3"},
        "queue:billing": {"c2", "d1"},
        "queue:bill*": {"c2", "d1"},
        "job:search.pay": {"c2", "d1"},
        "job:search.send_*,nothing state:waiting,failed": {"f1", "f2", "f3", "w0", "w1", "w2"},
        "id:w": {"w0", "w1", "w2"},
        "id:w1,d": {"w1", "d1"},
        'error:"timed out"': {"f2"},
        "error:timeouterror": {"f2"},
        "error:Fail error:example.org": {"f3"},
        "args.to:ada@example.com": {"c1"},
        "args.copies:3": {"c1"},
        "args.0:bad@example.com": {"f1"},
        "args.order.id:7": {"c2"},
        "args.order.by.name:Ada": {"c2"},
        "args.cents:995 args.order.id:8": set(),
        "mailbox": {"f1", "f3"},
        "u1@example": {"w1"},
        "since:1h state:failed": {"f1", "f2", "f3"},
        "until:1h": set(),
        "since:1h": {"f1", "f2", "f3", "c1", "c2", "w0", "w1", "w2", "d1"},
        "by:finished since:1h": {"f1", "f2", "f3", "c1", "c2"},
        "since:2020-01-01 until:2020-01-02T10:00+01:00": set(),
        "": {"f1", "f2", "f3", "c1", "c2", "w0", "w1", "w2", "d1"},
    }
    found = {query: set(ids(await mixed.search(query))) for query in expected}
    assert found == expected


async def test_b147_filters_by_tag(client: Client) -> None:
    """Those of the call and those of the function."""

    @job("search.tagged", tags=["eu"])
    async def tagged(ctx: Context) -> None: ...

    await tagged.options(client=client, id="one", tags=["vip"]).enqueue()
    await client.enqueue("search.other", id="two", tags=["vip"])
    await client.enqueue("search.other", id="three")
    assert set(ids(await client.search("tag:vip"))) == {"one", "two"}
    assert ids(await client.search("tag:vip tag:eu")) == ["one"]
    assert ids(await client.search(Filter(tags="eu"))) == ["one"]


async def test_b147_failed_before_a_moment(client: Client, work: Work) -> None:
    """The window of ended jobs is cut by the order of their set, to the millisecond."""
    worker = await work(send_email, max_jobs=1)
    for n in range(6):
        handle = await send_email.options(client=client, id=f"f{n}").enqueue("bad@x.org")
        with pytest.raises(JobFailed):
            await handle.result(timeout=20)
        before = clock.now_ms()
        await wait_until(partial(_is_over, before), description="a ms is over")
    await worker.close()
    (third,) = (await client.search("id:f3")).jobs
    at = third.finished_at
    assert ids(await client.search(Filter(states="failed", until=at))) == ["f2", "f1", "f0"]
    assert ids(await client.search(Filter(states="failed", since=at))) == ["f5", "f4", "f3"]
    last = await client.search(Filter(states="failed", until=at), limit=2)
    assert ids(last) == ["f2", "f1"]
    first = await client.search(Filter(states="failed", until=at), limit=2, backwards=True)
    assert ids(first) == ["f0", "f1"]


def _is_over(ms: int) -> bool:
    return clock.now_ms() > ms


@pytest.mark.parametrize("backwards", [False, True])
async def test_b147_cursors_stay_while_jobs_come_and_go(client: Client, backwards: bool) -> None:
    requests = [Request("f", options={"id": f"j{n:03}"}) for n in range(250)]
    await client.enqueue_many(requests)
    page = await client.search("state:waiting", limit=7, backwards=backwards)
    found = ids(page)
    gone = iter([f"j{n:03}" for n in range(0, 250, 3)])
    while page.cursor:
        last = found[-1]
        await client.queue().cancel(last)  # the place itself goes
        await client.queue().cancel(next(gone, "nobody"))
        await client.enqueue("f", id=f"new{last}", priority=1)
        page = await client.search("state:waiting", limit=7, after=page.cursor, backwards=backwards)
        found += ids(page)
    assert len(found) == len(set(found)), "none is told twice"
    stayed = {f"j{n:03}" for n in range(250) if n % 3 != 0}
    assert stayed <= set(found), "none that stayed is missed"


async def test_b147_pages_over_queues_and_states_are_the_whole(mixed: Client) -> None:
    whole = ids(await mixed.search())
    for limit in (1, 2, 5):
        assert [info.id for info in await walk(mixed, "", limit=limit)] == whole
        some = [info.id for info in await walk(mixed, "ex", limit=limit)]
        assert some == ids(await mixed.search("ex"))


async def test_b147_what_is_read_is_bounded_and_the_answer_says_so(client: Client) -> None:
    await client.enqueue_many([Request("f", kwargs={"n": n}) for n in range(300)])
    await client.enqueue("g", delay="1h", id="later")
    page = await client.search("args.n:299", bound=250)
    assert (page.jobs, page.cursor, page.bounded) == ([], None, [("default", State.waiting)])
    page = await client.search("job:g", bound=250)
    assert (ids(page), page.bounded) == (["later"], [("default", State.waiting)])
    page = await client.search("args.n:299", bound=300)
    assert len(page.jobs) == 1
    assert len((await client.search("args.n:299", bound=None)).jobs) == 1
    listed = await walk(client, "state:waiting", bound=1, limit=99)
    assert len(listed) == 300, "a list that the order alone makes has no bound"
    first = await client.search("job:f", limit=200, bound=250)
    second = await client.search("job:f", limit=200, bound=250, after=first.cursor)
    assert len(second.jobs) == 50, "the bound counts over pages"
    assert second.bounded == [("default", State.waiting)]


async def test_b147_a_search_costs_one_call_a_hundred_and_never_keys(
    client: Client, redis_client: Redis
) -> None:
    await client.enqueue_many([Request("f", kwargs={"n": n}) for n in range(1000)])
    await redis_client.config_resetstat()
    await client.search("state:waiting args.n:999", limit=1000)
    calls: dict[str, Any] = await redis_client.info("commandstats")
    sent = calls["cmdstat_evalsha"]["calls"]
    assert sent <= 12, sent
    assert not {"cmdstat_keys", "cmdstat_scan", "cmdstat_zscan"} & calls.keys()


async def test_b147_groups_are_found_too(client: Client) -> None:
    """Waiting jobs of a group stand in a set of their own."""
    from jobs.codec import encode_body
    from jobs.keys import queue_keys
    from jobs.store.queue import Entry, Flow, enqueue

    entries = [
        Entry(f"g{n}", encode_body(f"g{n}", "f", [], {}), 3, flow=Flow(group=f"tenant{n % 3}"))
        for n in range(9)
    ]
    await client.sadd("jobs:queues", "default")  # type: ignore[misc]  # redis-py's hints
    await enqueue(client.lane, queue_keys("default"), entries, again=False)
    await client.enqueue("f", id="plain")
    found = [info.id for info in await walk(client, "state:waiting", limit=2)]
    assert sorted(found) == sorted(["plain", *(f"g{n}" for n in range(9))])
    assert ids(await client.search("id:g4")) == ["g4"]
    assert (await client.bulk("id:g").cancel()).done == 9


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("state:faild", "did you mean 'failed'?"),
        ("stat:failed", "did you mean 'state'?"),
        ("since:yesterday", '"1h"'),
        ("since:1h since:2h", "twice"),
        ("by:finish", "did you mean 'finished'?"),
        ('error:"timed', "not closed"),
        ("state:", "missing"),
        ("state: failed", "missing"),
        ("http://example.com", "quoted"),
    ],
)
async def test_b147_a_query_that_cannot_be(client: Client, query: str, sentence: str) -> None:
    with pytest.raises(InvalidFilter, match=re.escape(sentence)):
        await client.search(query)


async def test_b147_cursors_and_numbers_that_cannot_be(client: Client) -> None:
    await client.enqueue_many([Request("f") for _ in range(3)])
    page = await client.search("state:waiting", limit=2)
    assert page.cursor is not None
    for wrong in ("", "x", "####", page.cursor[:-4]):
        with pytest.raises(InvalidFilter, match="cursor"):
            await client.search("state:waiting", after=wrong)
    with pytest.raises(InvalidFilter, match="another filter"):
        await client.search("state:failed", after=page.cursor)
    for number in (0, -1, True, 1.5):
        wrong_number: Any = number
        with pytest.raises(InvalidOption):
            await client.search(limit=wrong_number)
        with pytest.raises(InvalidOption):
            await client.search(bound=wrong_number)


async def test_b147_one_queue_alone(mixed: Client) -> None:
    page = await mixed.queue("billing").search("state:completed,delayed")
    assert set(ids(page)) == {"c2", "d1"}
    assert ids(await mixed.queue("billing").search("queue:email,billing id:c")) == ["c2"]
