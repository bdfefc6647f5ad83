"""The e-mail job through a queue and a worker: enqueued by type and by name, retried, given up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from jobs import Client, JobFailed, State, Worker, fixed
from jobs.catalog.email import EMAIL_QUEUE, Delivery, Email, Mailer, send_email
from tests.helpers.smtp import SmtpSink, mailer_for
from tests.helpers.waiting import wait_until

WELCOME = Email(to="ada@example.com", template="welcome", data={"name": "Ada"})


@pytest.fixture
async def sink() -> AsyncIterator[SmtpSink]:
    async with SmtpSink() as server:
        yield server


@pytest.fixture
async def client(redis_url: str, sink: SmtpSink) -> AsyncIterator[Client]:
    """A client whose e-mail queue is served by a worker that sends to the sink."""
    async with (
        Client.connect(redis_url) as connected,
        mailer_for(sink) as mailer,
        _worker(connected, mailer),
    ):
        yield connected


@asynccontextmanager
async def _worker(client: Client, mailer: Mailer) -> AsyncIterator[None]:
    worker = Worker(
        [send_email],
        queues=[EMAIL_QUEUE],
        redis_settings=client.settings,
        ctx={"mailer": mailer},
        handle_signals=False,
    )
    running = asyncio.create_task(worker.async_run())
    try:
        yield
    finally:
        await worker.close()
        await running


async def test_a_typed_job_ends_with_a_typed_delivery(client: Client, sink: SmtpSink) -> None:
    job = await send_email.enqueue(WELCOME, id="welcome:42", client=client)
    delivery = await job.result(timeout=10)
    assert isinstance(delivery, Delivery)
    assert (delivery.success, delivery.subject) == (True, "Welcome, Ada")
    [message] = sink.messages
    assert message.headers["Message-ID"] == delivery.message_id
    assert message.recipients == ["ada@example.com"]


async def test_a_job_enqueued_by_name_in_arqs_way_is_sent(client: Client, sink: SmtpSink) -> None:
    job = await client.enqueue_job(
        "email", to="ada@example.com", template="reminder", data={"title": "Tea"}, lang="fr"
    )
    assert job is not None
    await job.result(timeout=10)
    assert sink.messages[0].headers["Subject"] == "Rappel\N{NO-BREAK SPACE}: Tea"


async def test_a_greylisted_mail_is_sent_by_the_next_attempt(
    client: Client, sink: SmtpSink
) -> None:
    sink.answer("RCPT", "451 4.7.1 greylisted")
    job = await send_email.enqueue(WELCOME, client=client, backoff=fixed("20ms"))
    delivery = await job.result(timeout=10)
    details = await job.details()
    assert [entry["attempt"] for entry in details.history] == [1, 2]
    assert details.history[0]["error"]["type"].endswith("MailServerBusy")
    assert "451 4.7.1 greylisted" in details.history[0]["error"]["message"]
    assert [message.headers["Message-ID"] for message in sink.messages] == [delivery.message_id]
    assert sink.connections == 1


async def test_the_first_retry_comes_after_three_seconds(client: Client, sink: SmtpSink) -> None:
    sink.answer(".", "452 4.2.2 mailbox full")
    job = await send_email.enqueue(WELCOME, client=client)

    async def is_delayed() -> bool:
        return await job.state() is State.delayed

    await wait_until(is_delayed, description="the job waits for its second attempt")
    details = await job.details()
    assert details.due_at is not None
    wait_ms = details.due_at.timestamp() * 1000 - details.history[0]["at"]
    assert 2_500 <= wait_ms <= 4_500  # 3 s, on a machine that may stutter


async def test_a_refused_mail_fails_at_once_and_keeps_the_reply(
    client: Client, sink: SmtpSink
) -> None:
    sink.answer("RCPT", "550 5.1.1 no such user here")
    job = await send_email.enqueue(WELCOME, client=client)
    with pytest.raises(JobFailed, match=r"550 5\.1\.1 no such user here") as caught:
        await job.result(timeout=10)
    assert caught.value.kind.endswith("MailRefused")
    details = await job.details()
    assert (details.state, details.failures, len(details.history)) == (State.failed, 1, 1)


async def test_a_missing_variable_fails_at_once_and_is_named(
    client: Client, sink: SmtpSink
) -> None:
    job = await send_email.enqueue(
        Email(to="ada@example.com", template="password-reset"), client=client
    )
    with pytest.raises(JobFailed, match=r"en/password-reset\.txt.*'reset_url' is undefined"):
        await job.result(timeout=10)
    assert sink.connections == 0
