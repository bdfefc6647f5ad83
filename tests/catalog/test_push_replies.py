"""The push job against servers that answer in every way, most of them bad."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from email.utils import formatdate
from typing import Any

import pytest
from pydantic import SecretStr

from jobs import Fail, Retry, Skip, errors
from jobs.catalog.push import (
    OneSignal,
    OneSignalBusy,
    OneSignalRefused,
    OneSignalSettings,
    Push,
)
from tests.helpers.http import HttpServer, Respond, drip, hang_up, reply, silence
from tests.helpers.push import KEY, SENT, run

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


async def test_429_then_200_with_the_same_key(serve: Serve) -> None:
    server = await serve(
        reply(429, {"errors": ["API rate limit exceeded"]}, {"retry-after": "7"}), reply(200, SENT)
    )
    with pytest.raises(Retry) as caught:
        await run(server.url)
    assert caught.value.defer_score == 7000
    assert "API rate limit exceeded" in str(caught.value.__cause__)

    result = await run(server.url, attempt=2)

    first, second = (request.json()["idempotency_key"] for request in server.requests)
    assert first == second
    assert result.notification_ids == [SENT["id"]]


@pytest.mark.parametrize(
    ("header", "attempt", "wait_s"),
    [
        ("1", 1, 2),
        ("1", 2, 4),
        ("3", 1, 3),
        ("0", 1, 2),
        ("1000000000", 1, 900),
        ("9" * 5000, 1, 900),
    ],
)
async def test_the_longer_of_retry_after_and_backoff_is_waited(
    serve: Serve, header: str, attempt: int, wait_s: int
) -> None:
    server = await serve(reply(503, b"", {"retry-after": header}))
    with pytest.raises(Retry) as caught:
        await run(server.url, attempt=attempt)
    assert caught.value.defer_score == wait_s * 1000


async def test_retry_after_may_be_a_date(serve: Serve) -> None:
    date = formatdate(time.time() + 120, usegmt=True)
    server = await serve(reply(429, b"{}", {"retry-after": date}))
    with pytest.raises(Retry) as caught:
        await run(server.url)
    assert 110_000 < (caught.value.defer_score or 0) <= 120_000


@pytest.mark.parametrize("header", ["soon", "-5", "", "Fri, 99 Foo 2026 99:99:99 GMT", "1.5", "²"])
async def test_an_unreadable_retry_after_leaves_the_jobs_backoff(serve: Serve, header: str) -> None:
    server = await serve(reply(429, b"", {"retry-after": header.encode().decode("latin-1")}))
    with pytest.raises(OneSignalBusy, match="429"):
        await run(server.url)


async def test_the_last_attempt_ends_with_the_reason(serve: Serve) -> None:
    server = await serve(reply(429, {"errors": ["API rate limit exceeded"]}, {"retry-after": "7"}))
    with pytest.raises(OneSignalBusy, match="429: API rate limit exceeded"):
        await run(server.url, attempt=3)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520])
async def test_temporary_statuses_are_tried_again(serve: Serve, status: int) -> None:
    server = await serve(reply(status, b"<html>not JSON</html>"))
    with pytest.raises(OneSignalBusy, match=str(status)) as caught:
        await run(server.url)
    assert not isinstance(caught.value, Fail)


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 403, 404, 405, 409, 413, 422])
async def test_other_statuses_are_permanent_and_quote_onesignal(serve: Serve, status: int) -> None:
    server = await serve(reply(status, {"errors": ["app_id not found"]}, {"location": "/x"}))
    with pytest.raises(OneSignalRefused, match=f"{status}: app_id not found") as caught:
        await run(server.url)
    assert isinstance(caught.value, Fail)
    assert len(server.requests) == 1


async def test_a_refusal_in_the_middle_tells_what_had_been_sent(serve: Serve) -> None:
    server = await serve(reply(200, SENT), reply(401, {"errors": ["key revoked"]}))
    with pytest.raises(OneSignalRefused, match="first 2 of 3 targets had been sent"):
        await run(server.url, Push(message="x", external_ids=["a", "b", "c"]), chunk_size=2)


@pytest.mark.parametrize("script", [hang_up(), silence(), drip(None), drip(200)])
async def test_no_answer_is_tried_again(serve: Serve, script: Respond) -> None:
    server = await serve(script)
    started = time.monotonic()
    with pytest.raises(OneSignalBusy, match="no answer"):
        await run(server.url, timeout_s=0.2)
    assert time.monotonic() - started < 5


async def test_nobody_listening_is_tried_again() -> None:
    async with HttpServer() as gone:
        url = gone.url
    with pytest.raises(OneSignalBusy, match="no answer"):
        await run(url)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"7", b"[" * 100_000])
async def test_a_success_that_cannot_be_read_is_tried_again(serve: Serve, body: bytes) -> None:
    server = await serve(reply(200, body))
    with pytest.raises(OneSignalBusy, match="200"):
        await run(server.url)


@pytest.mark.parametrize(
    ("errors_field", "said", "invalid"),
    [
        (
            ["All included players are not subscribed"],
            "All included players are not subscribed",
            [],
        ),
        ([{"code": "E7", "title": "Bad alias"}], "Bad alias (E7)", []),
        ([{"title": "Bad alias"}], "Bad alias", []),
        ({"invalid_aliases": {"external_id": ["a", "b"]}}, None, ["a", "b"]),
        ({"invalid_player_ids": ["p"], "note": "late"}, "note: late", ["p"]),
        ([{"invalid_external_user_ids": ["x"]}], None, ["x"]),
        ("plain text", "plain text", []),
        (None, None, []),
        (7, "7", []),
    ],
)
async def test_every_shape_of_errors_is_read(
    serve: Serve,
    errors_field: object,
    said: str | None,
    invalid: list[str],
) -> None:
    server = await serve(reply(200, {**SENT, "errors": errors_field}))
    result = await run(server.url)
    assert result.warnings == ([said] if said else [])
    assert result.invalid_sample == invalid
    assert result.invalid_targets == len(invalid)


@pytest.mark.parametrize("answer", [{"id": ""}, {"id": None}, {"errors": ["nobody there"]}])
async def test_an_empty_id_means_no_recipients(serve: Serve, answer: dict[str, Any]) -> None:
    server = await serve(reply(200, answer))
    with pytest.raises(Skip, match=r"^no recipients: "):
        await run(server.url)


async def test_one_chunk_without_recipients_does_not_hide_the_others(serve: Serve) -> None:
    server = await serve(reply(200, {"id": "", "errors": ["not subscribed"]}), reply(200, SENT))
    result = await run(server.url, Push(message="x", external_ids=["a", "b"]), chunk_size=1)
    assert result.notification_ids == [SENT["id"]]
    assert result.warnings == ["not subscribed"]


async def test_the_key_is_never_shown(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server = await serve(
        reply(403, {"errors": [f"bad key {KEY}"]}),
        reply(500, f"<p>Key {KEY}</p>".encode()),
        hang_up(),
    )
    shown = []
    for _ in range(3):
        with pytest.raises(errors.JobsError) as caught:
            await run(server.url)
        shown += [repr(caught.value), str(caught.value), repr(caught.value.__cause__)]
    settings = OneSignalSettings(app_id="app", api_key=SecretStr(KEY))
    client = OneSignal(settings)
    shown += [repr(settings), repr(client), settings.model_dump_json(), caplog.text]
    await client.aclose()
    assert not [text for text in shown if KEY in text]
    assert "bad key ****" in shown[0]
