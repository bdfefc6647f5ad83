"""Stripe's endpoint, a real client and a real worker: from the signed request to the handler."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from arq.connections import RedisSettings

from jobs import Client, Context, State, Worker
from jobs.catalog.stripe import (
    StripeEndpoint,
    StripeEvent,
    StripeEvents,
    handle_stripe_event,
    stripe_signature_header,
)

SECRET = "whsec_test_secret"


@pytest.fixture
async def client(redis_settings: RedisSettings) -> AsyncIterator[Client]:
    async with Client.connect(redis_settings) as client:
        yield client


@pytest.fixture
async def stripe(client: Client) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=StripeEndpoint(client, [SECRET]))
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as http:
        yield http


async def send(stripe: httpx.AsyncClient, event_id: str, **fields: Any) -> httpx.Response:
    body = json.dumps({"id": event_id, "object": "event", "type": "invoice.paid"} | fields)
    header = stripe_signature_header(body.encode(), SECRET)
    return await stripe.post("/", content=body, headers={"stripe-signature": header})


async def run_worker(settings: RedisSettings, events: StripeEvents) -> None:
    worker = Worker(
        [handle_stripe_event],
        redis_settings=settings,
        burst=True,
        handle_signals=False,
        ctx={"stripe": events},
    )
    await worker.async_run()
    await worker.close()


async def test_an_event_reaches_its_handler_once(
    redis_settings: RedisSettings, client: Client, stripe: httpx.AsyncClient
) -> None:
    events, seen = StripeEvents(), []

    @events.on("invoice.*")
    async def book(ctx: Context, event: StripeEvent) -> None:
        seen.append((event.id, event.object["number"], ctx.queue))

    answers = [await send(stripe, "evt_1", data={"object": {"number": "F-7"}}) for _ in range(3)]
    await run_worker(redis_settings, events)

    assert [answer.json()["duplicate"] for answer in answers] == [False, True, True]
    assert seen == [("evt_1", "F-7", "webhook")]
    info = await client.job_info("webhook", "evt_1")
    assert (info.state, info.result["handlers"]) == (State.completed, ["book"])


async def test_an_event_repeated_after_its_end_is_not_handled_again(
    redis_settings: RedisSettings, stripe: httpx.AsyncClient
) -> None:
    events, seen = StripeEvents(), []

    @events.on("*")
    async def book(ctx: Context, event: StripeEvent) -> None:
        seen.append(event.id)

    await send(stripe, "evt_1")
    await run_worker(redis_settings, events)
    again = await send(stripe, "evt_1")
    other = await send(stripe, "evt_2")
    await run_worker(redis_settings, events)

    assert (again.status_code, again.json()["duplicate"]) == (200, True)
    assert other.json()["duplicate"] is False
    assert seen == ["evt_1", "evt_2"]


async def test_an_event_without_handler_is_skipped_not_failed(
    redis_settings: RedisSettings, client: Client, stripe: httpx.AsyncClient
) -> None:
    await send(stripe, "evt_1")
    await run_worker(redis_settings, StripeEvents())
    info = await client.job_info("webhook", "evt_1")
    assert (info.state, info.history[-1]["outcome"]) == (State.completed, "skipped")


async def test_the_raw_body_survives_for_replay(client: Client, stripe: httpx.AsyncClient) -> None:
    await send(stripe, "evt_1", note="é \u2028 <b>")
    info = await client.job_info("webhook", "evt_1")
    stored = info.args[0] if info.args else info.kwargs
    event = StripeEvent.model_validate(stored)
    assert event.payload["note"] == "é \u2028 <b>"


async def test_with_the_server_away_it_is_503() -> None:
    settings = RedisSettings(port=1, conn_retries=0, conn_timeout=1)
    async with Client.connect(settings) as client:
        transport = httpx.ASGITransport(app=StripeEndpoint(client, [SECRET]))
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as http:
            answer = await send(http, "evt_1")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
