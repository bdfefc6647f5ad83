"""The push job against a fake OneSignal: requests, chunks, idempotency, payloads, settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr, ValidationError

from jobs import Context, Skip, errors, exponential
from jobs.catalog.fakes import FakeOneSignal
from jobs.catalog.push import (
    PUSH_QUEUE,
    OneSignal,
    OneSignalBusy,
    OneSignalRefused,
    OneSignalSettings,
    Push,
    send_push,
)
from tests.helpers.http import HttpServer, Respond, reply
from tests.helpers.push import ADA, KEY, SENT, context, run

Serve = Callable[..., Awaitable[HttpServer]]


@pytest.fixture
async def closing() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def serve(closing: AsyncExitStack) -> Serve:
    async def start(*scripts: Respond) -> HttpServer:
        return await closing.enter_async_context(HttpServer(*scripts))

    return start


@pytest.fixture
async def fake(closing: AsyncExitStack) -> FakeOneSignal:
    return await closing.enter_async_context(FakeOneSignal(app_id="app", api_key=KEY))


async def test_the_request_has_the_documented_shape(fake: FakeOneSignal) -> None:
    push = Push(
        title="Invoice",
        message="Paid",
        external_ids=["ada", "bob", "ada"],
        data={"invoice": 7},
        url="https://example.com/7",
        priority="HIGH",
    )

    result = await run(fake.url, push)

    [request] = fake.requests
    body = request.json()
    key = body.pop("idempotency_key")
    assert request.headers["authorization"] == f"Key {KEY}"
    assert request.headers["content-type"] == "application/json"
    assert str(UUID(key)) == key
    assert body == {
        "app_id": "app",
        "target_channel": "push",
        "include_aliases": {"external_id": ["ada", "bob"]},
        "contents": {"en": "Paid"},
        "headings": {"en": "Invoice"},
        "data": {"invoice": 7},
        "url": "https://example.com/7",
        "priority": 10,
    }
    assert (len(result.notification_ids), result.targets, result.invalid_targets) == (1, 2, 0)


async def test_seed_shape_with_one_user(fake: FakeOneSignal) -> None:
    await run(fake.url, Push(user_id="42", title="Hi", message="You", data={}, priority="MEDIUM"))
    body = fake.notifications[0]
    assert body["include_aliases"] == {"external_id": ["42"]}
    assert "priority" not in body


async def test_subscriptions_are_targeted_by_their_own_field(fake: FakeOneSignal) -> None:
    await run(fake.url, Push(message="x", subscription_ids=["s1"], priority="LOW"))
    body = fake.notifications[0]
    assert body["include_subscription_ids"] == ["s1"]
    assert body["priority"] == 5
    assert not {"include_aliases", "target_channel"} & body.keys()


async def test_4500_ids_go_in_three_requests(fake: FakeOneSignal) -> None:
    ids = [f"user-{number}" for number in range(4500)]

    result = await run(fake.url, Push(message="x", external_ids=ids))

    chunks = [body["include_aliases"]["external_id"] for body in fake.notifications]
    assert [len(chunk) for chunk in chunks] == [2000, 2000, 500]
    assert [target for chunk in chunks for target in chunk] == ids
    assert len({body["idempotency_key"] for body in fake.notifications}) == 3
    assert (len(result.notification_ids), result.targets) == (3, 4500)


async def test_a_retry_after_half_the_chunks_notifies_nobody_twice(fake: FakeOneSignal) -> None:
    fake.script.extend([None, 503])
    push = Push(message="x", external_ids=["a", "b", "c"])

    with pytest.raises(OneSignalBusy):
        await run(fake.url, push, chunk_size=1)
    result = await run(fake.url, push, attempt=2, chunk_size=1)

    sent = [body["include_aliases"]["external_id"] for body in fake.notifications]
    assert sent == [["a"], ["b"], ["c"]]
    assert len(result.notification_ids) == 3
    assert len(fake.requests) == 5  # a, b (503); a again, b again, c


async def test_the_idempotency_key_is_of_job_chunk_and_content(fake: FakeOneSignal) -> None:
    await run(fake.url)
    await run(fake.url, attempt=2)
    await run(fake.url, job_id="j2")
    await run(fake.url, Push(message="Other", external_ids=["ada"]))
    first, again, other_job, other_text = (
        request.json()["idempotency_key"] for request in fake.requests
    )
    assert first == again
    assert len({first, other_job, other_text}) == 3


async def test_unknown_users_are_reported_and_the_rest_is_sent(closing: AsyncExitStack) -> None:
    fake = await closing.enter_async_context(
        FakeOneSignal(app_id="app", api_key=KEY, unknown=[f"u{n}" for n in range(150)])
    )
    ids = [f"u{n}" for n in range(200)]
    result = await run(fake.url, Push(message="x", external_ids=ids))
    assert (result.targets, result.invalid_targets, len(result.invalid_sample)) == (200, 150, 100)


async def test_no_recipients_of_the_fake(closing: AsyncExitStack) -> None:
    fake = await closing.enter_async_context(FakeOneSignal(app_id="app", api_key=KEY, nosub=True))
    with pytest.raises(Skip) as caught:
        await run(fake.url)
    assert str(caught.value) == "no recipients: All included players are not subscribed"


async def test_switched_off_is_skipped_without_a_request(fake: FakeOneSignal) -> None:
    with pytest.raises(Skip) as caught:
        await run(fake.url, Push(message="x", user_id="42", enabled=False))
    assert str(caught.value) == "Push notifications disabled"
    assert fake.requests == []


async def test_a_wrong_key_is_refused_by_the_fake(closing: AsyncExitStack) -> None:
    fake = await closing.enter_async_context(FakeOneSignal(app_id="app", api_key="another"))
    with pytest.raises(OneSignalRefused, match="403"):
        await run(fake.url)


async def test_without_a_client_the_job_says_what_to_do() -> None:
    with pytest.raises(errors.ConfigurationError, match=r'ctx\["onesignal"\]'):
        await send_push(Context({}, job_id="j", queue="push", function="push"), ADA)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"external_ids": []},
        {"external_ids": ["a"], "subscription_ids": ["b"]},
        {"user_id": "a", "external_ids": ["b"]},
        {"external_ids": [""]},
        {"external_ids": ["a"] * 20_001},
        {"user_id": "a", "message": ""},
        {"user_id": "a", "priority": "URGENT"},
        {"user_id": "a", "url": "no url"},
        {"user_id": "a", "typo": 1},
        {"user_id": "a", "data": {"x": float("nan")}},
    ],
)
def test_a_wrong_payload_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Push.model_validate({"message": "x", **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {"base_url": "http://api.onesignal.com"},
        {"base_url": "ftp://127.0.0.1"},
        {"chunk_size": 20_001},
        {"chunk_size": 0},
        {"api_key": "  "},
        {"api_key": f"{KEY}\nx-evil: 1"},
        {"api_key": "schlüssel"},
    ],
)
def test_wrong_settings_are_refused_without_showing_the_key(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        OneSignalSettings.model_validate({"app_id": "app", "api_key": KEY, **fields})
    assert KEY not in str(caught.value)


def test_a_key_with_a_line_end_around_it_is_trimmed() -> None:
    settings = OneSignalSettings.model_validate({"app_id": "app", "api_key": f"{KEY}\n"})
    assert settings.api_key.get_secret_value() == KEY
    assert settings.base_url == "https://api.onesignal.com"
    assert settings.chunk_size == 2000


async def test_requests_of_one_client_run_side_by_side(
    serve: Serve, closing: AsyncExitStack
) -> None:
    both = asyncio.Barrier(2)

    async def respond(request: Any, writer: asyncio.StreamWriter) -> None:
        await both.wait()
        await reply(200, SENT)(request, writer)

    server = await serve(respond)
    client = OneSignal(OneSignalSettings(app_id="app", api_key=SecretStr(KEY), base_url=server.url))
    closing.push_async_callback(client.aclose)
    results = await asyncio.gather(
        *(send_push(context(client, job_id=name), ADA) for name in ("j1", "j2"))
    )
    assert len(results) == 2


def test_numbers_of_the_queue() -> None:
    """FEATURES row A17."""
    assert (PUSH_QUEUE.name, PUSH_QUEUE.concurrency) == ("push", 20)
    assert PUSH_QUEUE.rate is not None
    assert (PUSH_QUEUE.rate.limit, PUSH_QUEUE.rate.period_ms) == (30, 1000)
    waits = [exponential(2).delay_ms(failures, random=lambda: 0.5) for failures in (1, 2)]
    assert waits == [2000, 4000]
