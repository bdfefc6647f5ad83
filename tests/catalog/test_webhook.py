"""Deliveries to receivers of every temper (X16), over real sockets."""

from __future__ import annotations

import base64
import gzip
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
import trustme
from pydantic import ValidationError
from standardwebhooks import Webhook

from jobs import Context, Fail, Retry, errors
from jobs.catalog.fakes import Answer, WebhookReceiver
from jobs.catalog.webhook import (
    WEBHOOK_QUEUE,
    DeliveryFailed,
    EndpointGone,
    NoReply,
    WebhookDelivery,
    WebhookSender,
    WebhookSettings,
    deliver_webhook,
)
from tests.helpers.http import HttpServer, Respond, drip, hang_up, reply, silence

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEW = "whsec_" + base64.b64encode(b"n" * 32).decode()
ENQUEUED = datetime(2026, 11, 22, 8, 30, tzinfo=UTC)


@pytest.fixture
async def senders() -> AsyncIterator[Any]:
    made: list[WebhookSender] = []

    def make(parts: dict[str, Any] | None = None, **settings: Any) -> WebhookSender:
        local = {"secrets": {"default": [SECRET]}, "allow_http": True, "allow_private": True}
        checked = WebhookSettings.model_validate(local | settings)
        made.append(WebhookSender(checked, **(parts or {})))
        return made[-1]

    yield make
    for sender in made:
        await sender.aclose()


async def deliver(sender: WebhookSender, url: str, attempt: int = 1, **fields: Any) -> Any:
    values: dict[str, Any] = {"url": url, "type": "invoice.paid", "data": {"n": 7}}
    ctx = Context(
        {"webhooks": sender},
        job_id="j1",
        queue="webhook",
        function="webhook",
        attempt=attempt,
        attempts=10,
        enqueued_at=ENQUEUED,
    )
    return await deliver_webhook(ctx, WebhookDelivery.model_validate(values | fields))


async def test_a_delivery_is_signed_and_its_body_is_the_standards(senders: Any) -> None:
    async with WebhookReceiver([SECRET]) as receiver:
        result = await deliver(senders(), f"{receiver.url}/hook?tenant=1")

    [request] = receiver.requests
    assert (request.method, request.path, request.verified) == ("POST", "/hook", True)
    expected = b'{"type":"invoice.paid","timestamp":"2026-11-22T08:30:00Z","data":{"n":7}}'
    assert request.body == expected
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == "jobs-webhook/1"
    Webhook(SECRET).verify(request.body, dict(request.headers))
    assert request.headers["webhook-id"] == result.message_id
    assert (result.status, result.reply, result.truncated) == (200, '{"received": true}', False)


async def test_a_retry_keeps_id_and_body_and_has_a_fresh_timestamp(senders: Any) -> None:
    async with WebhookReceiver([SECRET], answers=[500]) as receiver:
        with pytest.raises(DeliveryFailed):
            await deliver(senders(), receiver.url)
        await deliver(senders(), receiver.url, attempt=2)
    first, second = receiver.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    assert abs(int(second.headers["webhook-timestamp"]) - time.time()) < 5


async def test_id_and_time_of_the_event_may_be_given(senders: Any) -> None:
    async with WebhookReceiver() as receiver:
        result = await deliver(
            senders(), receiver.url, id="msg_42", occurred_at="2026-01-02T03:04:05+02:00"
        )
    assert result.message_id == receiver.requests[0].headers["webhook-id"] == "msg_42"
    assert receiver.requests[0].json()["timestamp"] == "2026-01-02T01:04:05Z"


async def test_during_a_rotation_both_secrets_verify(senders: Any) -> None:
    async with WebhookReceiver() as receiver:
        await deliver(senders(secrets={"default": [NEW, SECRET]}), receiver.url)
    request = receiver.requests[0]
    for secret in (NEW, SECRET):
        Webhook(secret).verify(request.body, dict(request.headers))


async def test_each_endpoint_has_its_own_secret(senders: Any) -> None:
    sender = senders(secrets={"shop": [SECRET], "crm": [NEW]})
    async with WebhookReceiver([NEW]) as receiver:
        await deliver(sender, receiver.url, endpoint="crm")
        with pytest.raises(DeliveryFailed, match="401"):
            await deliver(sender, receiver.url, endpoint="shop")
        with pytest.raises(errors.ConfigurationError, match="did you mean 'shop'"):
            await deliver(sender, receiver.url, endpoint="shpo")


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_2xx_is_success(senders: Any, status: int) -> None:
    async with HttpServer(reply(status)) as server:
        assert (await deliver(senders(), server.url)).status == status


@pytest.mark.parametrize(
    "status", [300, 304, 400, 401, 403, 404, 409, 422, 429, 500, 502, 503, 504, 599]
)
async def test_every_other_status_is_tried_again(senders: Any, status: int) -> None:
    async with HttpServer(reply(status, b"" if status == 304 else b"broken")) as server:
        with pytest.raises(DeliveryFailed, match=f"answered {status}") as caught:
            await deliver(senders(), server.url)
    assert not isinstance(caught.value, Fail)


async def test_what_a_receiver_says_cannot_forge_log_lines(senders: Any) -> None:
    body = b"no\r\nERROR forged \x1b[2J\xff " + b"x" * 10_000
    async with HttpServer(reply(500, body)) as server:
        with pytest.raises(DeliveryFailed) as caught:
            await deliver(senders(), server.url)
    assert "answered 500: no ERROR forged [2J" in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


async def test_410_is_final_and_reported(senders: Any) -> None:
    gone: list[str] = []

    async def on_gone(delivery: WebhookDelivery) -> None:
        gone.append(delivery.endpoint)

    async with HttpServer(reply(410)) as server:
        with pytest.raises(EndpointGone, match="410 Gone: it takes no more events") as caught:
            await deliver(senders({"on_gone": on_gone}), server.url)
        with pytest.raises(EndpointGone):
            await deliver(senders(), server.url)
    assert isinstance(caught.value, Fail)
    assert gone == ["default"]


@pytest.mark.parametrize(
    ("status", "header", "attempt", "wait_s"),
    [
        (429, "1000000000", 1, 3600),
        (503, "60", 1, 60),
        (429, "1", 1, 5),
        (429, "1", 4, 40),
        (503, "1", 9, 1280),
    ],
)
async def test_retry_after_is_obeyed_within_reason(
    senders: Any, status: int, header: str, attempt: int, wait_s: int
) -> None:
    async with HttpServer(reply(status, b"", {"Retry-After": header})) as server:
        with pytest.raises(Retry) as caught:
            await deliver(senders(), server.url, attempt=attempt)
    assert caught.value.defer_score == wait_s * 1000


async def test_retry_after_of_other_statuses_and_of_the_last_attempt_changes_nothing(
    senders: Any,
) -> None:
    async with HttpServer(reply(500, b"", {"Retry-After": "60"})) as server:
        with pytest.raises(DeliveryFailed):
            await deliver(senders(), server.url)
    async with HttpServer(reply(429, b"", {"Retry-After": "60"})) as server:
        with pytest.raises(DeliveryFailed, match="429"):
            await deliver(senders(), server.url, attempt=10)


async def test_errors_do_not_show_the_path_which_may_hold_a_token(senders: Any) -> None:
    for script in (reply(500), reply(302), reply(410), hang_up()):
        async with HttpServer(script) as server:
            with pytest.raises(errors.JobsError) as caught:
                await deliver(senders(), f"{server.url}/services/T0/secrettoken?key=hidden")
        assert "secrettoken" not in str(caught.value)
        assert "hidden" not in str(caught.value)
        assert server.url in str(caught.value)


@pytest.mark.parametrize("script", [hang_up(), silence(), drip(None)])
async def test_no_answer_is_tried_again_within_the_deadline(senders: Any, script: Respond) -> None:
    started = time.monotonic()
    async with HttpServer(script) as server:
        with pytest.raises(NoReply, match="no answer"):
            await deliver(senders(deadline_s=0.2), server.url)
    assert time.monotonic() - started < 5


async def test_a_body_that_drips_is_cut_at_the_deadline_and_the_status_counts(senders: Any) -> None:
    started = time.monotonic()
    async with HttpServer(drip(200)) as server:
        result = await deliver(senders(deadline_s=1), server.url)
    assert time.monotonic() - started < 5
    assert (result.status, result.truncated) == (200, True)
    assert set(result.reply) == {"x"}


async def test_a_large_body_is_read_to_64_kib_and_no_further(senders: Any) -> None:
    sender = senders()
    async with HttpServer(reply(200, b"x" * 10_000_000)) as server:
        result = await deliver(sender, server.url)
        direct = await sender.post(WebhookDelivery(url=server.url, type="a"), "msg_1", b"{}")
    assert (len(direct.body), direct.truncated) == (65_536, True)
    assert (len(result.reply), result.truncated) == (2000, True)


async def test_a_gzip_bomb_stays_packed(senders: Any) -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    assert len(bomb) < 65_536
    headers = {"content-encoding": "gzip"}
    async with HttpServer(reply(200, bomb, headers)) as server:
        direct = await senders().post(WebhookDelivery(url=server.url, type="a"), "msg_1", b"{}")
    assert direct.body == bomb
    assert server.requests[0].headers["accept-encoding"] == "identity"


async def test_endless_headers_are_refused(senders: Any) -> None:
    async with HttpServer(drip(None, b"y" * 65_536, 0)) as server:
        with pytest.raises(NoReply):
            await deliver(senders(deadline_s=10), server.url)


async def test_a_broken_body_after_a_good_status_is_a_delivery(senders: Any) -> None:
    async def cut(request: Any, writer: Any) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nok")
        writer.close()

    async with HttpServer(cut) as server:
        result = await deliver(senders(), server.url)
    assert (result.status, result.truncated) == (200, True)


@pytest.mark.parametrize("garbage", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\0" * 99])
async def test_what_is_not_http_is_tried_again(senders: Any, garbage: bytes) -> None:
    async def respond(request: Any, writer: Any) -> None:
        writer.write(garbage)
        writer.close()

    async with HttpServer(respond) as server:
        with pytest.raises(NoReply):
            await deliver(senders(), server.url)


async def test_no_connection_is_kept(senders: Any) -> None:
    sender = senders()
    async with HttpServer() as server:
        await deliver(sender, server.url)
        await deliver(sender, server.url)
        assert server.connections == 2


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


async def resolver(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


@pytest.mark.parametrize(("named", "trusted"), [("hooks.example", True), ("other.example", False)])
async def test_tls_is_checked_against_the_name_not_the_pinned_address(
    senders: Any, authority: trustme.CA, named: str, *, trusted: bool
) -> None:
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(named).configure_cert(server_context)
    asked: list[str | None] = []

    def note_name(socket: Any, name: str | None, context: Any) -> None:
        asked.append(name)

    server_context.sni_callback = note_name
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    parts = {"resolver": resolver, "ssl_context": client_context}
    sender = senders(parts, allow_http=False)
    async with HttpServer(tls=server_context) as server:
        url = f"https://hooks.example:{server.port}/in"
        if trusted:
            await deliver(sender, url)
        else:
            with pytest.raises(NoReply, match="certificate"):
                await deliver(sender, url)
    assert asked == ["hooks.example"]
    assert len(server.requests) == int(trusted)


async def test_an_unknown_authority_is_refused(senders: Any, authority: trustme.CA) -> None:
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("hooks.example").configure_cert(server_context)
    async with HttpServer(tls=server_context) as server:
        with pytest.raises(NoReply, match="certificate"):
            await deliver(
                senders({"resolver": resolver}), f"https://hooks.example:{server.port}/in"
            )
    assert server.requests == []


async def test_without_a_sender_the_job_says_what_to_do() -> None:
    ctx = Context({}, job_id="j", queue="webhook", function="webhook")
    with pytest.raises(errors.ConfigurationError, match=r'ctx\["webhooks"\]'):
        await deliver_webhook(ctx, WebhookDelivery(url="https://a.example", type="a"))


@pytest.mark.parametrize(
    "fields",
    [
        {"url": ""},
        {"url": "https://a.example/" + "x" * 2048},
        {"type": ""},
        {"type": "Invoice paid"},
        {"type": "invoice..paid"},
        {"id": "a.b"},
        {"id": "a\n"},
        {"occurred_at": "2026-01-02T03:04:05"},
        {"data": {"x": float("inf")}},
        {"secret": SECRET},
    ],
)
def test_a_wrong_payload_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WebhookDelivery.model_validate({"url": "https://a.example", "type": "a"} | fields)


@pytest.mark.parametrize(
    "settings",
    [
        {"deadline_s": 16},
        {"deadline_s": 0},
        {"max_reply_bytes": 65_537},
        {"retry_after_max_s": 3601},
    ],
)
def test_limits_cannot_be_raised_above_the_promise(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WebhookSettings.model_validate({"secrets": {"default": [SECRET]}} | settings)


@pytest.mark.parametrize("secrets", [["whsec_c2hvcnQ="], ["no base64!"], []])
async def test_a_weak_secret_stops_the_start(secrets: list[str]) -> None:
    settings = WebhookSettings.model_validate({"secrets": {"default": secrets}})
    with pytest.raises(errors.ConfigurationError):
        WebhookSender(settings)


def test_secrets_are_never_shown() -> None:
    settings = WebhookSettings.model_validate({"secrets": {"default": [SECRET]}})
    assert SECRET not in repr(settings) + str(settings) + settings.model_dump_json()
    with pytest.raises(ValidationError) as caught:
        WebhookSettings.model_validate({"secrets": {"default": SECRET}})
    assert SECRET not in str(caught.value)


async def test_the_receiver_of_the_demo_follows_its_script(senders: Any) -> None:
    answers = (Answer(429, {"retry-after": "9"}), None, 503)
    async with WebhookReceiver([SECRET], answers=answers) as receiver:
        with pytest.raises(Retry):
            await deliver(senders(), receiver.url)
        assert (await deliver(senders(), receiver.url)).status == 200
        with pytest.raises(DeliveryFailed, match="503"):
            await deliver(senders(), receiver.url)
        assert (await deliver(senders(), receiver.url)).status == 200
    assert [request.verified for request in receiver.requests] == [True] * 4


def test_numbers_of_the_queue() -> None:
    """FEATURES row A19."""
    assert (WEBHOOK_QUEUE.name, WEBHOOK_QUEUE.concurrency, WEBHOOK_QUEUE.rate) == (
        "webhook",
        3,
        None,
    )
