"""Chapter 2: enqueueing validates first, returns at once, and tells a duplicate from a new job."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import BaseModel

from jobs import Client, Context, State, job
from jobs.errors import DuplicateJob, InvalidOption, InvalidPayload, PayloadTooLarge
from tests.fundamentals.conftest import Work


class Mail(BaseModel):
    to: str
    tries: int = 0


@pytest.fixture(autouse=True)
def send() -> object:
    """The function of this chapter."""

    @job("send", queue="mail")
    async def send(ctx: Context, mail: Mail) -> str:
        return f"to {mail.to}"

    return send


async def test_it_returns_a_handle_at_once_without_a_worker(client: Client) -> None:
    queued = await client.enqueue("send", Mail(to="ada@example.com"))
    assert queued.id
    assert queued.queue == "mail"
    assert await queued.state() is State.waiting


async def test_a_mapping_is_validated_like_the_model(client: Client) -> None:
    with pytest.raises(InvalidPayload, match="to: Field required") as refused:
        await client.enqueue("send", {"tries": 1})
    assert refused.value.errors == [("to", "Field required")]
    assert not any((await client.queue("mail").counts()).values())


async def test_code_need_not_be_known_where_the_job_is_enqueued(client: Client, work: Work) -> None:
    queued = await client.enqueue("elsewhere", {"a": 1}, queue="other")

    async def elsewhere(ctx: Context, a: int) -> int:
        return a + 1

    from jobs import func

    await work(func(elsewhere, name="elsewhere"), queue_name="other")
    assert await queued.result(timeout=20) == 2


async def test_arqs_way_works_by_name_and_keywords(client: Client) -> None:
    queued = await client.enqueue_job("send", to="ada@example.com", _job_id="a", _defer_by=300)
    assert queued is not None
    assert await queued.state() is State.delayed
    assert await client.enqueue_job("send", to="ada@example.com", _job_id="a") is None


async def test_an_id_makes_one_job(client: Client) -> None:
    first = await client.enqueue("send", Mail(to="a@example.com"), id="invite-email:42")
    again = await client.enqueue("send", Mail(to="b@example.com"), id="invite-email:42")
    assert (first.duplicate, again.duplicate) == (False, True)
    assert (await again.details()).kwargs["to"] == "a@example.com"
    with pytest.raises(DuplicateJob, match="already holds a job with the id 'invite-email:42'"):
        await client.enqueue(
            "send", Mail(to="c@example.com"), id="invite-email:42", on_conflict="raise"
        )


async def test_an_id_is_free_again_when_its_job_has_ended(
    client: Client, work: Work, send: object
) -> None:
    await work(send)
    first = await client.enqueue("send", Mail(to="a@example.com"), id="daily")
    await first.result(timeout=20)
    assert not (await client.enqueue("send", Mail(to="a@example.com"), id="daily")).duplicate


async def test_id_ttl_keeps_it_taken_longer(client: Client, work: Work, send: object) -> None:
    await work(send)
    first = await client.enqueue("send", Mail(to="a@example.com"), id="once", id_ttl="30d")
    await first.result(timeout=20)
    assert (await client.enqueue("send", Mail(to="a@example.com"), id="once")).duplicate


async def test_many_jobs_keep_their_order_and_travel_together(client: Client) -> None:
    from jobs import Request

    requests = [Request("send", (), {"to": f"u{n}@example.com"}) for n in range(250)]
    handles = await client.enqueue_many(requests)
    waiting = [info.kwargs["to"] async for info in client.queue("mail").iterate(State.waiting)]
    assert len({handle.id for handle in handles}) == 250
    assert waiting == [f"u{n}@example.com" for n in range(250)]


async def test_one_wrong_payload_among_many_enqueues_nothing(client: Client) -> None:
    from jobs import Request

    good, wrong = Request("send", (), {"to": "a@example.com"}), Request("send", (), {"to": 1})
    with pytest.raises(InvalidPayload):
        await client.enqueue_many([good, wrong])
    assert (await client.queue("mail").counts())[State.waiting] == 0


async def test_a_delay_and_a_moment(client: Client) -> None:
    moment = datetime.now(UTC) + timedelta(hours=1)
    later = await client.enqueue("send", Mail(to="a@example.com"), delay="5m")
    then = await client.enqueue("send", Mail(to="a@example.com"), run_at=moment)
    info = await later.details()
    assert info.state is State.delayed
    assert info.due_at is not None
    assert timedelta(seconds=299) < info.due_at - info.enqueued_at < timedelta(seconds=301)
    due = (await then.details()).due_at
    assert due is not None
    assert abs(due - moment) < timedelta(milliseconds=2)


async def test_a_delayed_job_runs_when_it_is_due(client: Client, work: Work, send: object) -> None:
    await work(send)
    queued = await client.enqueue("send", Mail(to="a@example.com"), delay="100ms")
    assert await queued.result(timeout=20) == "to a@example.com"
    info = await queued.details()
    assert info.finished_at is not None
    assert info.finished_at - info.enqueued_at >= timedelta(milliseconds=100)


async def test_a_misspelt_option_is_refused_with_the_nearest_one(client: Client) -> None:
    with pytest.raises(InvalidOption, match=r"no option 'dely' \(did you mean 'delay'\?\)"):
        await client.enqueue("send", Mail(to="a@example.com"), dely="5m")


async def test_a_body_over_the_limit_is_refused(redis_url: str) -> None:
    async with Client.connect(redis_url, max_body_bytes=200) as small:
        with pytest.raises(PayloadTooLarge, match="over the limit of 200"):
            await small.enqueue("send", Mail(to="x" * 300))
