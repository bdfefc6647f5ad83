"""A generated id that is taken is replaced, and nobody notices; one of the caller's never is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from jobs import Client, Context, Request, State, job, requests
from jobs.errors import DuplicateJob, EnqueueUnknown
from jobs.keys import queue_keys
from jobs.store.queue import Added, Entry, enqueue
from jobs.store.show import STATE_KEYS
from tests.helpers.keyspace import audit
from tests.helpers.worker import running

Ids = Callable[..., None]
KEYS = queue_keys("default")


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Client]:
    """A client of the emptied server."""
    async with Client.connect(redis_url) as client:
        yield client


@pytest.fixture
def ids(monkeypatch: pytest.MonkeyPatch) -> Ids:
    """Says which ids are made next."""

    def give(*made: str) -> None:
        left = iter(made)
        monkeypatch.setattr(requests, "new_id", lambda: next(left))

    return give


def request(word: str, **options: Any) -> Request:
    return Request("say", kwargs={"word": word}, options=options)  # type: ignore[arg-type]


async def words(client: Client) -> dict[str, Any]:
    """The word of every job in the queue, by id: its body is readable under this id."""
    view = client.queue()
    return {info.id: info.kwargs["word"] async for info in view.iterate(*STATE_KEYS)}


async def test_a_taken_id_is_made_anew(client: Client, ids: Ids) -> None:
    ids("first", "second", "first", "third", "fourth")
    await client.enqueue_many([request("a"), request("b")])
    again = await client.enqueue_many([request("c"), request("d")])
    assert [(job.job_id, job.duplicate) for job in again] == [("fourth", False), ("third", False)]
    assert await words(client) == {"first": "a", "second": "b", "fourth": "c", "third": "d"}
    assert await audit(client) == []


async def test_also_twice_and_in_one_call(client: Client, ids: Ids) -> None:
    ids("one", "one", "one", "one", "two", "two", "three")
    made = await client.enqueue_many([request(word) for word in "abc"])
    assert [job.job_id for job in made] == ["one", "three", "two"]
    assert await words(client) == {"one": "a", "three": "b", "two": "c"}


async def test_the_job_itself_stays_as_it_was_asked_for(client: Client, ids: Ids) -> None:
    ids("taken", "taken", "free")
    await client.enqueue("say", {"word": "a"})
    made = await client.enqueue("say", {"word": "b"}, delay=60, priority=7, attempts=2)
    info = await made.details()
    assert (info.id, info.state, info.priority) == ("free", State.delayed, 7)
    assert (info.kwargs, info.options) == ({"word": "b"}, {"attempts": 2})


async def test_a_stream_loses_none(client: Client, ids: Ids) -> None:
    ids(*(f"{n - (n % 5 == 4)}" for n in range(1_000)))
    assert await client.enqueue_stream(request(str(n)) for n in range(300)) == 300
    assert sorted(map(int, (await words(client)).values())) == list(range(300))


async def test_an_ended_job_is_not_driven_out(client: Client, ids: Ids, redis_url: str) -> None:
    """Its history and whoever waits for it would find another job."""

    @job("say")
    async def say(ctx: Context, word: str) -> str:
        return word

    ids("old", "old", "new")
    first = await client.enqueue("say", {"word": "a"})
    async with running(redis_url, [say]):
        assert await first.result(timeout=10) == "a"
        second = await client.enqueue("say", {"word": "b"})
        assert await second.result(timeout=10) == "b"
    assert second.job_id == "new"
    assert await first.result() == "a"


async def test_an_id_of_the_callers_is_never_replaced(client: Client, ids: Ids) -> None:
    ids("mine", "free")
    await client.enqueue("say", {"word": "a"}, id="mine")
    mixed = await client.enqueue_many([request("b", id="mine"), request("c")])
    assert [(job.job_id, job.duplicate) for job in mixed] == [("mine", True), ("free", False)]
    with pytest.raises(DuplicateJob):
        await client.enqueue("say", {"word": "d"}, id="mine", on_conflict="raise")
    assert await client.enqueue_job("say", word="e", _job_id="mine") is None
    assert await words(client) == {"mine": "a", "free": "c"}


async def test_ids_that_never_are_free_are_an_error(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken source of ids must not hand out the handle of somebody else's job."""
    monkeypatch.setattr(requests, "new_id", lambda: "same")
    await client.enqueue("say", {"word": "a"})
    with pytest.raises(DuplicateJob, match="same"):
        await client.enqueue("say", {"word": "b"})
    assert await words(client) == {"same": "a"}


# -- lost answers --------------------------------------------------------------------------


@pytest.fixture
def lossy(client: Client, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """The calls whose answer is lost after the server has executed them, first one first."""
    plan: list[bool] = []

    async def losing(lane: Any, keys: Any, entries: list[Entry], *, again: bool) -> list[Added]:
        answers = await enqueue(lane, keys, entries, again=again)
        if plan and plan.pop(0):
            raise ConnectionResetError
        return answers

    monkeypatch.setattr("jobs.sender.enqueue_plain", losing)
    return plan


@pytest.mark.parametrize(
    "lost", [[True], [False, True], [True, False, True]], ids=["first", "second", "both"]
)
async def test_a_lost_answer_and_a_taken_id_make_one_job_each(
    client: Client, ids: Ids, lossy: list[bool], lost: list[bool]
) -> None:
    ids("taken", "taken", "own", "free")
    await client.enqueue("say", {"word": "a"})
    lossy += lost
    made = await client.enqueue_many([request("b"), request("c")])
    assert [(job.job_id, job.duplicate) for job in made] == [("free", False), ("own", False)]
    assert await words(client) == {"taken": "a", "free": "b", "own": "c"}


async def test_the_same_id_twice_in_a_repeated_call_makes_two_jobs(
    client: Client, ids: Ids, lossy: list[bool]
) -> None:
    """Equal bodies too: only the first of them is the one that the lost call added."""
    ids("same", "same", "other")
    lossy += [True]
    made = await client.enqueue_many([request("a"), request("a")])
    assert [job.job_id for job in made] == ["same", "other"]
    assert await words(client) == {"same": "a", "other": "a"}


async def test_an_answer_lost_twice_is_unknown(client: Client, ids: Ids, lossy: list[bool]) -> None:
    ids("taken", "taken", "free")
    await client.enqueue("say", {"word": "a"})
    lossy += [False, True, True]
    with pytest.raises(EnqueueUnknown):
        await client.enqueue("say", {"word": "b"})
    assert await words(client) == {"taken": "a", "free": "b"}
