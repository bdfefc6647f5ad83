"""A21: the function of a queue that is called for each of its dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from jobs import (
    Client,
    Context,
    DeadLetter,
    Job,
    JobOptions,
    Keep,
    Queue,
    Request,
    State,
    fixed,
    job,
)
from jobs.errors import InvalidOption, ServerAway
from jobs.keys import queue_keys
from tests.features.conftest import Work
from tests.features.test_dead_letters import Email, book, charge, fail, send
from tests.helpers.waiting import wait_until

TOLD: list[DeadLetter] = []


@job("letters.note", queue="notes", attempts=1)
async def note_dead(ctx: Context, letter: DeadLetter) -> None:
    TOLD.append(letter)
    if ctx.get("refuses"):
        raise RuntimeError("the database is away")


@pytest.fixture(autouse=True)
def _nobody_told() -> None:
    TOLD.clear()


def told() -> list[str]:
    return sorted(letter.job_id for letter in TOLD)


async def test_a21_a_function_is_called_for_each_dead_letter(client: Client, work: Work) -> None:
    queue = Queue("billing", dead_letter=note_dead)
    await work(charge, book, note_dead, queues=[queue])
    await charge.options(client=client, id="c1").enqueue(995, currency="USD")
    await wait_until(lambda: TOLD, description="somebody was told")
    (letter,) = TOLD
    assert letter == await client.dead_letters("billing").get("c1")
    row = letter.model_dump(mode="json", by_alias=True)
    names = ("queueName", "jobType", "jobData", "error", "failedAt")
    assert [row[name] for name in names[:3]] == [
        "billing",
        "letters.charge",
        {"cents": 995, "currency": "USD"},
    ]
    assert row["error"]["message"].startswith("card 995 refused")
    assert set(names) <= row.keys()


async def test_k7_only_the_last_failure_makes_a_dead_letter(client: Client, work: Work) -> None:
    @job("letters.patient", queue="billing", attempts=2, backoff=fixed("1h"))
    async def patient(ctx: Context) -> None:
        raise ValueError(f"try {ctx.attempt}")

    await work(patient, note_dead, queues=[Queue("billing", dead_letter=note_dead)])
    handle = await patient.options(client=client, id="p").enqueue()
    await wait_until(partial(_is, handle, State.delayed), description="it failed once")
    assert (await client.dead_letters("billing").list()).letters == []
    await client.queue("billing").promote(["p"])
    await wait_until(lambda: TOLD, description="somebody was told")
    assert [(letter.error.message, letter.attempts) for letter in TOLD] == [("try 2", 2)]


async def _is(handle: Job[Any], state: State) -> bool:
    return await handle.state() is state


async def test_a21_plain_functions_are_called_too(client: Client, work: Work) -> None:
    rows: list[dict[str, Any]] = []

    async def by_name(ctx: dict[str, Any], **row: Any) -> None:
        rows.append(row)

    async def at_once(ctx: dict[str, Any], row: dict[str, Any]) -> None:
        rows.append(row)

    by_name.__qualname__, at_once.__qualname__ = "by_name", "at_once"
    queues = [Queue("billing", dead_letter="by_name"), Queue("email", dead_letter="at_once")]
    await work(send, charge, by_name, at_once, queues=queues)
    await charge.options(client=client, id="c1").enqueue(1)
    await send.options(client=client, id="e1").enqueue(Email(to="bad@x.org"))
    await wait_until(lambda: len(rows) == 2, description="both were told")
    assert {(row["queueName"], row["jobId"]) for row in rows} == {
        ("billing", "c1"),
        ("email", "e1"),
    }


async def test_a21_each_letter_once_over_many_workers_and_restarts(
    client: Client, work: Work
) -> None:
    queue = Queue("billing", dead_letter=note_dead)
    for n in range(6):
        await charge.options(client=client, id=f"c{n}").enqueue(n)
    workers = [await work(charge, note_dead, queues=[queue]) for _ in range(3)]
    await wait_until(lambda: len(TOLD) == 6, description="all were told of")
    for worker in workers:
        await worker.close()
    await work(charge, note_dead, queues=[queue])
    await charge.options(client=client, id="last").enqueue(7)
    await wait_until(lambda: "last" in told(), description="the last was told of", timeout=15)
    assert told() == ["c0", "c1", "c2", "c3", "c4", "c5", "last"]


async def test_a21_letters_from_before_are_told_of_too(client: Client, work: Work) -> None:
    """What failed while no worker had the function, as all jobs of a lost worker might."""
    await fail(client, work, *(charge.options(id=f"c{n:03}").request(n) for n in range(130)))
    await work(note_dead, queues=[Queue("billing", dead_letter="letters.note")])
    await wait_until(lambda: len(TOLD) == 130, description="all were told of", timeout=10)
    assert told() == [f"c{n:03}" for n in range(130)]


async def test_a21_a_redriven_job_that_fails_again_is_told_of_again(
    client: Client, work: Work
) -> None:
    await work(charge, note_dead, queues=[Queue("billing", dead_letter=note_dead)])
    await charge.options(client=client, id="c1").enqueue(1)
    await wait_until(lambda: len(TOLD) == 1, description="it was told of")
    await client.dead_letters("billing").redrive(ids=["c1"])
    await wait_until(lambda: len(TOLD) == 2, description="it was told of again")
    assert TOLD[0].failed_at < TOLD[1].failed_at


async def test_a21_a_function_that_fails_itself_makes_no_loop(client: Client, work: Work) -> None:
    queues = [
        Queue("billing", dead_letter=note_dead),
        Queue("notes", dead_letter="letters.note"),
    ]
    await work(charge, note_dead, queues=queues, ctx={"refuses": True})
    await charge.options(client=client, id="c1").enqueue(1)
    await charge.options(client=client, id="c2").enqueue(2)
    await wait_until(lambda: len(TOLD) == 2, description="both were told of")
    keys = queue_keys("notes")

    async def passed() -> bool:
        place = await client.hget(keys.config, "letters")  # type: ignore[misc]  # redis-py's hints
        last = (await client.dead_letters("notes").list()).letters
        return place is not None and len(last) == 2 and last[0].job_id.encode() in place

    await wait_until(passed, description="the dead calls were passed over", timeout=10)
    assert len(TOLD) == 2


async def test_a21_a_call_that_was_not_enqueued_is_made_later(
    client: Client, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not enqueued is not noted as told of."""
    real, refused = Client.enqueue_many, 0

    async def enqueue_many(self: Client, requests: Sequence[Request]) -> list[Job[Any]]:
        nonlocal refused
        if requests[0].function == "letters.note" and not refused:
            refused += 1
            raise ServerAway("somebody pulled the cable")
        return await real(self, requests)

    monkeypatch.setattr(Client, "enqueue_many", enqueue_many)
    await work(charge, note_dead, queues=[Queue("billing", dead_letter=note_dead)])
    await charge.options(client=client, id="c1").enqueue(1)
    await wait_until(lambda: TOLD, description="somebody was told", timeout=15)
    assert (refused, told()) == (1, ["c1"])


async def test_a21_a_letter_too_large_comes_without_its_data(client: Client, work: Work) -> None:
    @job("bulky", queue="bulk", attempts=1)
    async def bulky(ctx: Context, text: str) -> None:
        raise ValueError("too much")

    await work(bulky, note_dead, queues=[Queue("bulk", dead_letter=note_dead)])
    await bulky.options(client=client, id="big").enqueue("x" * (1024 * 1024 - 200))
    await bulky.options(client=client, id="small").enqueue("x")
    await wait_until(lambda: len(TOLD) == 2, description="both were told of")
    assert {(t.job_id, t.omitted, bool(t.job_data)) for t in TOLD} == {
        ("big", True, False),
        ("small", False, True),
    }


@pytest.mark.parametrize("value", ["", 7, object()])
def test_a21_what_is_no_function_is_refused(value: Any) -> None:
    with pytest.raises(InvalidOption, match="dead_letter"):
        Queue("q", dead_letter=value)


def test_a21_a_queue_that_keeps_no_dead_letter_cannot_tell_of_any() -> None:
    for keep in (Keep(age=0), Keep(count=0)):
        with pytest.raises(InvalidOption, match="hear of no dead letter"):
            Queue("q", dead_letter=note_dead, defaults=JobOptions(keep_failed=keep))
