"""Unique jobs, debounce and conflict policies (A29, A124, A125, B45-B56)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jobs import Client, Context, State, Unique, job
from jobs.errors import DuplicateJob, InvalidOption, InvalidPayload
from tests.features.conftest import Work
from tests.helpers.waiting import wait_until


@pytest.fixture
def ran() -> list[Any]:
    """What the jobs of a test were called with, in the order of their runs."""
    return []


async def test_a29_an_id_of_the_callers(client: Client) -> None:
    """Any characters; scoped to the queue; the conflict policy is explicit."""

    @job
    async def invite(ctx: Context, to: str) -> None: ...

    first = await invite.options(client=client, id="invite-email:7").enqueue("ada")
    again = await invite.options(client=client, id="invite-email:7").enqueue("ada")
    other = await invite.options(client=client, id="invite-email:7", queue="b").enqueue("ada")
    assert [job.duplicate for job in (first, again, other)] == [False, True, False]


async def test_a124_a_duplicate_id_is_one_run(client: Client, work: Work, ran: list[Any]) -> None:
    @job
    async def reset(ctx: Context, user: str) -> None:
        ran.append(user)

    for policy in ("ignore", "return", "replace"):
        await reset.options(client=client, id="r:7", on_conflict=policy).enqueue(policy)
    with pytest.raises(DuplicateJob, match="already holds a job with the id 'r:7'"):
        await reset.options(client=client, id="r:7", on_conflict="raise").enqueue("raise")
    await work(reset)
    await client.job("r:7").result(timeout=10)
    assert ran == ["replace"]


async def test_a125_a_key_and_a_time_instead_of_timestamps_in_ids(client: Client) -> None:
    @job(unique=Unique(by="user", ttl="1m"))
    async def reset(ctx: Context, user: str, at: float) -> None: ...

    jobs = [await reset.options(client=client).enqueue("ada", at=n) for n in range(3)]
    assert len({job.id for job in jobs}) == 1


async def test_b45_unique_until_finished(client: Client, work: Work, ran: list[Any]) -> None:
    @job(unique=True)
    async def sync(ctx: Context, account: int) -> None:
        ran.append(account)

    first = await sync.options(client=client).enqueue(1)
    second = await sync.options(client=client).enqueue(1)
    third = await sync.options(client=client).enqueue(2)
    assert (second.id, second.duplicate, third.duplicate) == (first.id, True, False)
    await work(sync)
    await first.result(timeout=10)
    await third.result(timeout=10)
    assert not (await sync.options(client=client).enqueue(1)).duplicate
    await wait_until(lambda: len(ran) == 3, description="the key is free after the end")


async def test_b46_unique_for_a_time(client: Client, work: Work) -> None:
    """One reset mail a minute: also after the first was sent and removed."""
    from jobs import Keep

    @job(unique=Unique(by="user", ttl="1m"), keep_completed=Keep(age=0))
    async def mail(ctx: Context, user: str) -> None: ...

    first = await mail.options(client=client).enqueue("ada")
    await work(mail)
    await wait_until(lambda: _is_gone(client, first.id), description="the job is removed")
    assert (await mail.options(client=client).enqueue("ada")).id == first.id


async def _is_gone(client: Client, job_id: str) -> bool:
    return not await client.queue().jobs(State.completed) and not (
        await client.queue().jobs(State.waiting)
    )


async def test_b47_the_last_payload_runs_when_it_was_quiet(
    client: Client, work: Work, ran: list[Any]
) -> None:
    @job(unique=Unique(by="repo", debounce=0.25))
    async def build(ctx: Context, repo: str, commit: int) -> None:
        ran.append(commit)

    await work(build)
    jobs = [await build.options(client=client).enqueue("r", n) for n in range(5)]
    assert len({job.id for job in jobs}) == 1
    await jobs[0].result(timeout=10)
    assert ran == [4]


async def test_b48_a_busy_key_runs_in_the_end(client: Client, work: Work, ran: list[Any]) -> None:
    """`max_delay` bounds the wait; leading runs the first one at once."""

    @job(unique=Unique(by="repo", debounce=0.3, max_delay=0.5))
    async def build(ctx: Context, repo: str, n: int) -> None:
        ran.append(n)

    await work(build)
    clock = asyncio.get_running_loop().time
    begun = clock()
    n = 0
    while not ran and clock() < begun + 8:
        await build.options(client=client).enqueue("r", n)
        n += 1
        await _pass(0.03)
    assert ran
    assert clock() - begun < 3


async def _pass(seconds: float) -> None:
    over = asyncio.get_running_loop().time() + seconds
    await wait_until(lambda: asyncio.get_running_loop().time() > over, description="time passes")


async def test_b48_leading_runs_the_first_one(client: Client, work: Work, ran: list[Any]) -> None:
    @job(unique=Unique(by="door", debounce="1h", edge="leading"))
    async def ring(ctx: Context, door: str, n: int) -> None:
        ran.append(n)

    await work(ring)
    first = await ring.options(client=client).enqueue("front", 1)
    await first.result(timeout=10)
    assert (await ring.options(client=client).enqueue("front", 2)).id == first.id
    assert ran == [1]


async def test_b49_one_more_run_with_the_newest_data(
    client: Client, work: Work, ran: list[Any]
) -> None:
    go_on = asyncio.Event()

    @job(unique=Unique(by="host", follow=True))
    async def deploy(ctx: Context, host: str, version: int) -> None:
        ran.append(version)
        await go_on.wait()

    await work(deploy)
    first = await deploy.options(client=client).enqueue("web", 1)
    await wait_until(lambda: ran == [1], description="the first runs")
    followers = [await deploy.options(client=client).enqueue("web", n) for n in (2, 3, 4)]
    assert len({job.id for job in followers}) == 1
    assert followers[0].id != first.id
    go_on.set()
    await followers[0].result(timeout=10)
    assert ran == [1, 4]


async def test_b50_conflict_policies(client: Client) -> None:
    @job(unique=("user",))
    async def mail(ctx: Context, user: str, text: str) -> None: ...

    first = await mail.options(client=client, delay="1h").enqueue("ada", "one")
    for policy in ("return", "ignore"):
        found = await mail.options(client=client, on_conflict=policy).enqueue("ada", "two")
        assert (found.id, found.duplicate) == (first.id, True)
    with pytest.raises(DuplicateJob, match="unique key") as caught:
        await mail.options(client=client, on_conflict="raise").enqueue("ada", "three")
    assert caught.value.job_id == first.id
    assert (await first.details()).args == ["ada", "one"]
    replaced = await mail.options(client=client, on_conflict="replace", delay="2h").enqueue(
        "ada", "four"
    )
    assert replaced.id == first.id
    assert (await first.details()).args == ["ada", "four"]


async def test_b51_the_pending_one_is_rescheduled_in_place(client: Client) -> None:
    @job(unique=("user",))
    async def remind(ctx: Context, user: str) -> None: ...

    options: dict[str, Any] = {"client": client, "on_conflict": "replace"}
    first = await remind.options(**options, delay="1h").enqueue("ada")
    before = await first.details()
    await remind.options(**options, delay="3h", priority=1).enqueue("ada")
    after = await first.details()
    assert before.due_at
    assert after.due_at
    assert (after.due_at - before.due_at).total_seconds() == pytest.approx(7200, abs=10)
    assert (before.priority, after.priority) == (3, 1)
    await remind.options(**options).enqueue("ada")
    assert await first.state() is State.waiting


async def test_b52_a_subset_of_the_arguments(client: Client) -> None:
    @job(unique=("user.id", "kind"))
    async def mail(ctx: Context, user: dict[str, int], kind: str, at: float) -> None: ...

    call = mail.options(client=client)
    first = await call.enqueue({"id": 1, "age": 3}, "welcome", 1.0)
    assert (await call.enqueue({"id": 1, "age": 4}, "welcome", at=2.0)).id == first.id
    assert (await call.enqueue({"id": 1}, "reset", 3.0)).id != first.id
    with pytest.raises(InvalidPayload, match=r"user\.id"):
        await call.enqueue({"age": 1}, "welcome", 4.0)


async def test_b54_uniqueness_outlives_removal(client: Client, work: Work) -> None:
    """Neither retention nor the end of the job frees a key or an id before its time."""
    from jobs import Keep

    @job(keep_completed=Keep(age=0))
    async def mail(ctx: Context, user: str) -> None: ...

    by_id = mail.options(client=client, id="m:1", id_ttl="1h")
    by_key = mail.options(client=client, unique=Unique(key="k", ttl="1h"))
    ids = [(await call.enqueue("ada")).id for call in (by_id, by_key)]
    await work(mail)
    await wait_until(lambda: _is_gone(client, ids[0]), description="both are removed")
    assert [(await call.enqueue("ada")).duplicate for call in (by_id, by_key)] == [True, True]


async def test_b55_the_newest_takes_the_place_of_the_running_one(
    client: Client, work: Work, ran: list[Any]
) -> None:
    @job(unique=("user",))
    async def render(ctx: Context, user: str, n: int) -> None:
        ran.append(n)
        if n == 1:
            await asyncio.sleep(3600)

    await work(render)
    first = await render.options(client=client).enqueue("ada", 1)
    await wait_until(lambda: ran == [1], description="the first runs")
    second = await render.options(client=client, on_conflict="cancel").enqueue("ada", 2)
    assert second.id != first.id
    await second.result(timeout=10)
    assert ran == [1, 2]
    assert await first.state() is State.cancelled


async def test_b55_the_newest_takes_the_place_of_the_waiting_one(client: Client) -> None:
    @job(unique=("user",))
    async def render(ctx: Context, user: str, n: int) -> None: ...

    first = await render.options(client=client).enqueue("ada", 1)
    second = await render.options(client=client, on_conflict="cancel").enqueue("ada", 2)
    assert (await first.state(), await second.state()) == (State.cancelled, State.waiting)


async def test_two_hundred_producers_make_one_job_a_key(redis_url: str, client: Client) -> None:
    """The race of 200 calls for one key and for one id, from 20 connections."""

    @job(unique=("user",))
    async def mail(ctx: Context, user: str, n: int) -> None: ...

    clients = [Client.connect(redis_url) for _ in range(20)]
    calls = [
        [
            clients[n % 20].enqueue_one(mail.request("ada", n)),
            mail.options(client=clients[n % 20], id="one", unique=False).enqueue("bob", n),
        ]
        for n in range(200)
    ]
    found = await asyncio.gather(*(call for pair in calls for call in pair))
    assert sum(not job.duplicate for job in found) == 2
    assert len({job.id for job in found}) == 2
    for each in clients:
        await each.aclose()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"ttl": "1m", "debounce": "1s"}, "one way"),
        ({"by": "a", "key": "b"}, "`by`"),
        ({"max_delay": "1m"}, "needs one"),
        ({"debounce": "1m", "max_delay": "1s"}, "not shorter"),
        ({"debounce": "1m", "edge": "traling"}, "did you mean 'trailing'"),
        ({"ttl": 0}, "at least 1 ms"),
    ],
)
def test_what_cannot_be_unique_is_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidOption, match=sentence):
        Unique(**given)


async def test_contradictions_of_a_call_are_refused(client: Client) -> None:
    @job
    async def mail(ctx: Context, user: str) -> None: ...

    with pytest.raises(InvalidOption, match="debounce"):
        await mail.options(client=client, unique=Unique(debounce="1s"), delay="1m").enqueue("ada")
    with pytest.raises(InvalidOption, match="did you mean 'replace'"):
        await mail.options(client=client, on_conflict="replce").enqueue("ada")
    assert sum((await client.queue().counts()).values()) == 0
