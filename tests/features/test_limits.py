"""Limits over all workers, turns between keys, order (A34, A64, A69-A72, B57-B66, B73)."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from jobs import Client, Context, Limit, Queue, Request, State, fixed, job, limit
from jobs.errors import InvalidOption, LimitTimeout
from jobs.keys import queue_keys
from jobs.limits import named
from jobs.store.limits import write_rules
from tests.features.conftest import Work
from tests.helpers.waiting import wait_until


@pytest.fixture(autouse=True)
def _own_limits() -> Iterator[None]:
    """The names of limits that a test declares are forgotten after it."""
    before = dict(named)
    yield
    named.clear()
    named.update(before)


class Diary:
    """What ran when: the most at once, the times of the starts, the order."""

    def __init__(self) -> None:
        self.starts: list[tuple[float, str]] = []
        self.running: Counter[str] = Counter()
        self.most: dict[str, int] = defaultdict(int)

    async def live(self, name: str, seconds: float = 0) -> None:
        """One job of this name."""
        self.starts.append((asyncio.get_running_loop().time(), name))
        self.running[name] += 1
        self.running["all"] += 1
        for each in (name, "all"):
            self.most[each] = max(self.most[each], self.running[each])
        try:
            await asyncio.sleep(seconds)
        finally:
            self.running[name] -= 1
            self.running["all"] -= 1

    def densest(self, period_s: float, name: str | None = None) -> int:
        """The most starts in any such time."""
        times = sorted(at for at, of in self.starts if name in (None, of))
        return max(sum(t <= other < t + period_s for other in times) for t in times)


async def all_ended(client: Client, number: int, *queues: str) -> None:
    async def ended() -> bool:
        found = [(await client.queue(name).counts()) for name in queues or ("default",)]
        return sum(counts[State.completed] for counts in found) == number

    await wait_until(ended, description=f"{number} jobs are completed", timeout=10)


#: A rate counts by the server's clock, a test by its own: starts may come so much closer.
BLUR_S = 0.06


async def test_a69_a_rate_of_a_queue(client: Client, work: Work) -> None:
    diary = Diary()

    @job(queue=Queue("mail", rate="10/300ms"))
    async def send(ctx: Context, n: int) -> None:
        await diary.live("send")

    await client.enqueue_many([send.request(n) for n in range(25)])
    await work(send)
    await all_ended(client, 25, "mail")
    assert diary.densest(0.3 - BLUR_S) <= 10


async def test_a64_a_rate_and_slots_of_a_worker(client: Client, work: Work) -> None:
    diary = Diary()

    @job(queue=Queue("digest", rate="8/300ms", concurrency=2))
    async def build(ctx: Context, n: int) -> None:
        await diary.live("build", 0.01)

    await client.enqueue_many([build.request(n) for n in range(20)])
    await work(build)
    await all_ended(client, 20, "digest")
    assert diary.densest(0.3 - BLUR_S) <= 8
    assert diary.most["all"] == 2


async def test_a71_a_rate_of_a_function_hides_no_other(client: Client, work: Work) -> None:
    diary = Diary()

    @job(rate="5/400ms")
    async def slow(ctx: Context, n: int) -> None:
        await diary.live("slow")

    @job
    async def quick(ctx: Context, n: int) -> None:
        await diary.live("quick")

    await client.enqueue_many([slow.request(n) for n in range(12)])
    await client.enqueue_many([quick.request(n) for n in range(12)])
    await work(slow, quick)
    await all_ended(client, 24)
    assert diary.densest(0.4 - BLUR_S, "slow") <= 5
    last_quick = max(at for at, name in diary.starts if name == "quick")
    assert last_quick < sorted(at for at, name in diary.starts if name == "slow")[5]


async def test_a34_a_limiter_of_a_job_is_its_functions(client: Client, work: Work) -> None:
    """Seed 002: at most 10 in 1000 ms."""

    @job(rate="10/s")
    async def generate(ctx: Context) -> None: ...

    assert [limit.rules() for limit in generate.function.limits] == ["r10/1000"]


async def test_a70_one_limit_for_several_queues(client: Client, work: Work) -> None:
    diary, provider = Diary(), Limit("onesignal", rate="6/300ms")

    @job(queue=Queue("push", limits=[provider]))
    async def push(ctx: Context, n: int) -> None:
        await diary.live("push")

    @job(queue=Queue("news", limits=[provider]))
    async def news(ctx: Context, n: int) -> None:
        await diary.live("news")

    await client.enqueue_many([push.request(n) for n in range(9)])
    await client.enqueue_many([news.request(n) for n in range(9)])
    await work(push, news)
    await all_ended(client, 18, "push", "news")
    assert diary.densest(0.3 - BLUR_S) <= 6


async def test_a72_the_limiter_of_a_worker_holds_for_all(client: Client, work: Work) -> None:
    diary = Diary()

    @job(queue=Queue("digest", rate="6/300ms"))
    async def build(ctx: Context, n: int) -> None:
        await diary.live("build")

    await client.enqueue_many([build.request(n) for n in range(15)])
    await work(build)
    await work(build)
    await all_ended(client, 15, "digest")
    assert diary.densest(0.3 - BLUR_S) <= 6


async def test_b57_so_many_of_a_queue_over_the_fleet(client: Client, work: Work) -> None:
    diary = Diary()

    @job(queue=Queue("cleanup", limits=[Limit(concurrency=3)]))
    async def clean(ctx: Context, n: int) -> None:
        await diary.live("clean", 0.01)

    await client.enqueue_many([clean.request(n) for n in range(30)])
    for _ in range(3):
        await work(clean)
    await all_ended(client, 30, "cleanup")
    assert diary.most["all"] == 3


async def test_b58_so_many_of_each_key(client: Client, work: Work) -> None:
    diary = Diary()

    @job(key="tenant", limits=[Limit(concurrency=2, per="key")])
    async def crawl(ctx: Context, tenant: str, n: int) -> None:
        await diary.live(tenant, 0.01)

    await client.enqueue_many([crawl.request(t, n) for n in range(10) for t in ("a", "b")])
    await work(crawl)
    await work(crawl)
    await all_ended(client, 20)
    assert (diary.most["a"], diary.most["b"]) == (2, 2)
    assert diary.most["all"] > 2


async def test_b59_several_limits_at_once(client: Client, work: Work) -> None:
    """20 in all, 2 for each tenant, so many in a time."""
    diary = Diary()
    limits = [Limit(concurrency=3), Limit(concurrency=2, per="key"), Limit(rate="10/300ms")]

    @job(queue=Queue("api", limits=limits, key="tenant"))
    async def call(ctx: Context, tenant: str, n: int) -> None:
        await diary.live(tenant, 0.005)

    await client.enqueue_many([call.request(t, n) for n in range(8) for t in "abc"])
    await work(call)
    await all_ended(client, 24, "api")
    assert diary.most["all"] == 3
    assert max(diary.most[tenant] for tenant in "abc") <= 2
    assert diary.densest(0.3 - BLUR_S) <= 10


async def test_b60_a_noisy_tenant_delays_another_by_its_share(client: Client, work: Work) -> None:
    diary = Diary()

    @job(key="tenant")
    async def call(ctx: Context, tenant: str, n: int) -> None:
        await diary.live(tenant, 0.001)

    await client.enqueue_stream(call.request("noisy", n) for n in range(3000))
    await client.enqueue_many([call.request("calm", n) for n in range(20)])
    await work(call, max_jobs=10)
    await wait_until(
        lambda: sum(n == "calm" for _, n in diary.starts) == 20, description="the calm one is done"
    )
    assert len(diary.starts) < 150


async def test_b62_strict_order_of_a_key(client: Client, work: Work) -> None:
    seen: list[tuple[str, int]] = []

    @job(key="customer", limits=[Limit(per="key", ordered=True)], attempts=3)
    async def deliver(ctx: Context, customer: str, n: int) -> None:
        if n == 1 and ctx.attempt < 3:
            raise RuntimeError("not yet")
        await asyncio.sleep(0.001)
        seen.append((customer, n))

    requests = [
        Request("deliver", (c, n), options={"backoff": fixed(0.02)}, target=deliver.function)
        for n in range(6)
        for c in "ab"
    ]
    await client.enqueue_many(requests)
    await work(deliver)
    await work(deliver)
    await all_ended(client, 12)
    for customer in "ab":
        assert [n for c, n in seen if c == customer] == list(range(6))


async def test_b63_the_excess_is_delayed_and_none_dropped(client: Client, work: Work) -> None:
    diary = Diary()

    @job(rate="5/200ms")
    async def push(ctx: Context, n: int) -> None:
        await diary.live("push")

    await client.enqueue_many([push.request(n) for n in range(18)])
    await work(push)
    await all_ended(client, 18)
    first = min(at for at, _ in diary.starts)
    assert sum(at < first + 0.1 for at, _ in diary.starts) == 5, "a burst of the whole limit"


async def test_b65_a_rate_of_each_key(client: Client, work: Work) -> None:
    diary = Diary()

    @job(key="account", limits=[Limit(rate="3/300ms", per="key")])
    async def call(ctx: Context, account: str, n: int) -> None:
        await diary.live(account)

    await client.enqueue_many([call.request(a, n) for n in range(7) for a in "ab"])
    await work(call)
    await all_ended(client, 14)
    for account in "ab":
        assert diary.densest(0.3 - BLUR_S, account) <= 3


async def test_b73_ageing_lifts_old_jobs(client: Client, work: Work) -> None:
    order: list[str] = []
    queue = Queue("aged", ageing=0.01, concurrency=1)

    @job(queue=queue)
    async def note(ctx: Context, name: str) -> None:
        order.append(name)

    keys = queue_keys("aged")
    await write_rules(client, keys, {}, ageing_ms=10)  # as a worker does when it starts
    await client.enqueue("note", {"name": "old"}, queue="aged", priority=5)
    over = asyncio.get_running_loop().time() + 0.08
    await wait_until(lambda: asyncio.get_running_loop().time() > over, description="80 ms are over")
    await client.enqueue("note", {"name": "young"}, queue="aged", priority=1)
    await work(note)
    await all_ended(client, 2, "aged")
    assert order == ["old", "young"]


async def test_b69_a_job_that_was_told_429_closes_its_queue(client: Client, work: Work) -> None:
    diary = Diary()

    @job(queue="api", attempts=1)
    async def call(ctx: Context, n: int) -> None:
        await diary.live("call")
        if len(diary.starts) == 1:
            ctx.rate_limited(0.3, "429 of the far side")

    first = await client.enqueue_one(call.request(0))
    await work(call, max_jobs=1)
    await wait_until(lambda: bool(diary.starts), description="the first has begun")
    await client.enqueue_many([call.request(n) for n in range(1, 4)])
    await all_ended(client, 4, "api")
    times = [at for at, _ in diary.starts]
    assert times[1] - times[0] >= 0.3 - BLUR_S
    info = await first.details()
    assert (info.failures, info.history[0]["outcome"]) == (0, "limited")
    assert info.history[0]["reason"] == "429 of the far side"


async def test_b68_a_limit_for_any_code(client: Client) -> None:
    diary = Diary()
    Limit("stripe", concurrency=2)

    async def charge() -> None:
        async with limit("stripe", client=client):
            await diary.live("charge", 0.02)

    await asyncio.gather(*(charge() for _ in range(6)))
    assert diary.most["charge"] == 2
    with pytest.raises(InvalidOption, match="did you mean 'stripe'"):
        limit("strip", client=client)


async def test_b68_code_and_jobs_count_together(client: Client, work: Work) -> None:
    diary, provider = Diary(), Limit("provider", rate="5/400ms")

    @job(limits=[provider])
    async def call(ctx: Context, n: int) -> None:
        await diary.live("job")

    async def by_hand() -> None:
        async with limit(provider, client=client):
            await diary.live("code")

    await client.enqueue_many([call.request(n) for n in range(8)])
    await work(call)
    await asyncio.gather(*(by_hand() for _ in range(7)))
    await all_ended(client, 8)
    assert diary.densest(0.4 - BLUR_S) <= 5


async def test_b68_a_wait_has_an_end(client: Client) -> None:
    stripe = Limit("stripe", rate="1/1h")
    async with limit(stripe, client=client):
        pass
    with pytest.raises(LimitTimeout, match=r"no place within 0\.1 s"):
        async with limit(stripe, client=client, timeout=0.1):
            pass


async def test_b68_a_place_of_a_dead_holder_is_free_after_its_time(client: Client) -> None:
    stripe = Limit("stripe", concurrency=1)
    await limit(stripe, client=client, ttl=0.1).__aenter__()
    async with limit(stripe, client=client, timeout=20):
        pass


async def test_b70_when_a_limit_opens_and_how_to_open_it(client: Client, work: Work) -> None:
    @job(queue="push", rate="2/1h")
    async def push(ctx: Context, n: int) -> None: ...

    await client.enqueue_many([push.request(n) for n in range(3)])
    await work(push)
    await all_ended(client, 2, "push")
    view = client.queue("push")

    async def is_blocked() -> bool:
        return [tuple(gate) for gate in (await view.limits()).gates] == [("f:push", 0, 2, 1)]

    await wait_until(is_blocked, description="the third job is put aside")
    assert (await view.limits()).rules == {"f:push": "r2/3600000"}
    assert await view.reset_limit("f:push") == 2
    await all_ended(client, 3, "push")
    with pytest.raises(InvalidOption, match="a limit is called"):
        await view.reset_limit("push")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "needs `concurrency`, `rate`"),
        ({"concurrency": 0}, "from 1 to"),
        ({"rate": "0/s"}, "0"),
        ({"ordered": True}, "per="),
        ({"concurrency": 1, "per": "kee"}, "did you mean 'key'"),
        ({"name": "x", "concurrency": 1, "per": "key"}, "one for all"),
        ({"name": "a b", "concurrency": 1}, "no blanks"),
    ],
)
def test_a_limit_that_cannot_be_is_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidOption, match=sentence):
        Limit(**given)


def test_two_limits_of_one_name_have_one_size() -> None:
    assert Limit("stripe", rate="5/s") == Limit("stripe", rate="5/s")
    with pytest.raises(InvalidOption, match="other numbers"):
        Limit("stripe", rate="6/s")
