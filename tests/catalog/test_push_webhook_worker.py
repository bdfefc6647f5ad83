"""Push and webhook jobs through a real worker: options, outcomes and waits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from arq.connections import RedisSettings

from jobs import Client, State, Worker
from jobs.catalog.fakes import Answer, FakeOneSignal, WebhookReceiver
from jobs.catalog.push import OneSignal, OneSignalSettings, Push, send_push
from jobs.catalog.stripe import handle_stripe_event
from jobs.catalog.webhook import (
    WebhookDelivery,
    WebhookSender,
    WebhookSettings,
    deliver_webhook,
)
from tests.helpers.push import KEY

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
async def client(redis_settings: RedisSettings) -> AsyncIterator[Client]:
    async with Client.connect(redis_settings) as client:
        yield client


async def run_worker(settings: RedisSettings, **ctx: Any) -> None:
    """Run one attempt of one job."""
    worker = Worker(
        [send_push, deliver_webhook],
        redis_settings=settings,
        burst=True,
        max_burst_jobs=1,
        handle_signals=False,
        ctx=ctx,
    )
    await worker.async_run()
    await worker.close()


async def push_once(settings: RedisSettings, fake: FakeOneSignal) -> None:
    values = {"app_id": "app", "api_key": KEY, "base_url": fake.url}
    client = OneSignal(OneSignalSettings.model_validate(values))
    try:
        await run_worker(settings, onesignal=client)
    finally:
        await client.aclose()


async def deliver_once(settings: RedisSettings) -> None:
    values = {"secrets": {"default": [SECRET]}, "allow_http": True, "allow_private": True}
    sender = WebhookSender(WebhookSettings.model_validate(values))
    try:
        await run_worker(settings, webhooks=sender)
    finally:
        await sender.aclose()


async def test_a_push_is_sent_and_its_result_is_typed(
    redis_settings: RedisSettings, client: Client
) -> None:
    async with FakeOneSignal(app_id="app", api_key=KEY) as fake:
        job = await send_push.enqueue(Push(message="x", user_id="42"), client=client)
        await push_once(redis_settings, fake)
    result = await job.result(timeout=20)
    assert (result.targets, len(result.notification_ids)) == (1, 1)
    assert job.queue == "push"


@pytest.mark.parametrize(("nosub", "enabled"), [(True, True), (False, False)])
async def test_a_skipped_push_is_completed(
    redis_settings: RedisSettings, client: Client, *, nosub: bool, enabled: bool
) -> None:
    async with FakeOneSignal(app_id="app", api_key=KEY, nosub=nosub) as fake:
        push = Push(message="x", user_id="42", enabled=enabled)
        job = await send_push.enqueue(push, client=client)
        await push_once(redis_settings, fake)
    info = await job.details()
    assert (info.state, info.history[-1]["outcome"]) == (State.completed, "skipped")


async def test_a_refused_push_fails_at_once(redis_settings: RedisSettings, client: Client) -> None:
    async with FakeOneSignal(app_id="app", api_key="another") as fake:
        job = await send_push.enqueue(Push(message="x", user_id="42"), client=client)
        await push_once(redis_settings, fake)
    info = await job.details()
    assert (info.state, len(fake.requests)) == (State.failed, 1)
    assert KEY not in repr(info)


@pytest.mark.parametrize(("header", "wait_s"), [({"retry-after": "30"}, 30), ({}, 2)])
async def test_a_busy_onesignal_delays_the_push(
    redis_settings: RedisSettings, client: Client, header: dict[str, str], wait_s: int
) -> None:
    before = datetime.now(UTC)
    async with FakeOneSignal(app_id="app", api_key=KEY, fail=[Answer(429, header)]) as fake:
        job = await send_push.enqueue(Push(message="x", user_id="42"), client=client)
        await push_once(redis_settings, fake)
    info = await job.details()
    assert info.state is State.delayed
    assert info.due_at is not None
    assert 0 <= (info.due_at - before).total_seconds() - wait_s < 10


async def test_a_webhook_is_delivered_and_a_gone_endpoint_fails(
    redis_settings: RedisSettings, client: Client
) -> None:
    async with WebhookReceiver([SECRET], answers=[None, 410]) as receiver:
        delivery = WebhookDelivery(url=receiver.url, type="invoice.paid", data={"n": 7})
        first = await deliver_webhook.enqueue(delivery, client=client)
        await deliver_once(redis_settings)
        second = await deliver_webhook.enqueue(delivery, client=client)
        await deliver_once(redis_settings)
    assert (await first.result(timeout=20)).status == 200
    assert await second.state() is State.failed
    assert [request.verified for request in receiver.requests] == [True, True]
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 2


def test_numbers_of_the_functions() -> None:
    """FEATURES rows A17 and A19."""
    push = send_push.function.options
    assert (push.attempts, push.timeout, push.priority) == (3, 10, 2)
    assert push.backoff is not None
    waits = [push.backoff.delay_ms(failures, random=lambda: 0.5) for failures in (1, 2)]
    assert waits == [2000, 4000]
    for function in (deliver_webhook.function, handle_stripe_event.function):
        options = function.options
        assert (options.attempts, options.timeout, options.priority) == (10, 30, 3)
        assert options.backoff is not None
        last = options.backoff.delay_ms(11, random=lambda: 0.5)
        assert last == 3_600_000
