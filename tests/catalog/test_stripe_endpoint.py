"""The ASGI endpoint that queues Stripe's events: through ASGI, and over real HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from jobs import errors
from jobs.catalog.fakes import AsgiServer
from jobs.catalog.stripe import StripeEndpoint, StripeEvent, stripe_signature_header

SECRET = "whsec_test_secret"
NOW = 1_700_000_000
BODY = b'{ "id": "evt_1", "object": "event", "type": "invoice.paid", "note": "\xc3\xa9" }'


@dataclass
class Recorder:
    """A client that keeps ids as the server does, or fails as told."""

    error: BaseException | None = None
    hang: bool = False
    calls: list[tuple[str, StripeEvent, dict[str, Any]]] = field(default_factory=list)

    async def enqueue(self, function: str, payload: Any = None, **options: Any) -> Any:
        if self.hang:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        known = {call[2]["id"] for call in self.calls}
        self.calls.append((function, payload, options))
        return SimpleNamespace(duplicate=options["id"] in known)


@pytest.fixture
def client() -> Recorder:
    return Recorder()


@pytest.fixture
async def http(client: Recorder) -> AsyncIterator[httpx.AsyncClient]:
    endpoint = StripeEndpoint(
        client, [SecretStr(SECRET)], now=lambda: NOW, enqueue_timeout_s=0.2, max_body_bytes=5000
    )
    transport = httpx.ASGITransport(app=endpoint)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as http:
        yield http


def signed(body: bytes = BODY, secret: str = SECRET, now: float = NOW) -> dict[str, Any]:
    header = stripe_signature_header(body, secret, now)
    return {"content": body, "headers": {"Stripe-Signature": header}}


async def test_a_genuine_event_is_queued_under_its_id(
    http: httpx.AsyncClient, client: Recorder
) -> None:
    response = await http.post("/stripe", **signed())

    assert (response.status_code, response.json()) == (200, {"received": True, "duplicate": False})
    assert response.headers["content-type"] == "application/json"
    [(function, event, options)] = client.calls
    assert function == "stripe-event"
    assert options == {"id": "evt_1", "queue": "webhook", "id_ttl": "30d"}
    assert event == StripeEvent(id="evt_1", type="invoice.paid", body=BODY.decode())
    assert event.body.encode() == BODY


async def test_a_repeated_event_is_answered_alike(http: httpx.AsyncClient) -> None:
    await http.post("/stripe", **signed())
    response = await http.post("/stripe", **signed())
    assert (response.status_code, response.json()) == (200, {"received": True, "duplicate": True})


@pytest.mark.parametrize(
    "request_",
    [
        {"content": BODY},
        {"content": BODY, "headers": {"Stripe-Signature": "nonsense"}},
        {**signed(), "content": BODY + b" "},
        signed(secret="whsec_other"),
        signed(now=NOW - 301),
        signed(now=NOW + 301),
    ],
)
async def test_a_bad_signature_is_400_with_a_sentence(
    http: httpx.AsyncClient, client: Recorder, request_: dict[str, Any]
) -> None:
    response = await http.post("/stripe", **request_)
    assert response.status_code == 400
    assert len(response.json()["error"].split()) > 5
    assert client.calls == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"evt_1"',
        b'{"id": "evt_1"}',
        b'{"type": "x"}',
        b'{"id": 7, "type": "x"}',
        b'{"id": "", "type": "x"}',
        b'{"id": "evt 1", "type": "x"}',
        b'{"id": "evt_\\u0000", "type": "x"}',
        b'{"id": "evt_1", "type": "\\ud800"}',
        b'{"id": "evt_1", "type": "x", "note": "\xff"}',
        b"[" * 4000,
    ],
)
async def test_a_signed_body_that_is_no_event_is_400(
    http: httpx.AsyncClient, client: Recorder, body: bytes
) -> None:
    response = await http.post("/stripe", **signed(body))
    assert response.status_code == 400
    assert "`id` and `type`" in response.json()["error"]
    assert client.calls == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"])
async def test_other_methods_are_405(http: httpx.AsyncClient, method: str) -> None:
    response = await http.request(method, "/stripe")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


async def test_a_large_body_is_413_and_not_read_to_its_end(
    http: httpx.AsyncClient, client: Recorder
) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            assert sent < 100
            yield b"x" * 1000

    response = await http.post("/stripe", content=endless())
    assert response.status_code == 413
    assert client.calls == []


@pytest.mark.parametrize(
    "error",
    [
        errors.ServerAway("no server at redis://localhost"),
        errors.EnqueueUnknown("the answer was lost"),
        errors.ServerRefused("out of memory"),
    ],
)
async def test_with_the_server_away_stripe_is_asked_to_come_again(
    http: httpx.AsyncClient, client: Recorder, error: Exception
) -> None:
    client.error = error
    response = await http.post("/stripe", **signed())
    assert (response.status_code, response.headers["retry-after"]) == (503, "10")
    assert "redis://" not in response.text


async def test_a_server_that_hangs_is_503_too(http: httpx.AsyncClient, client: Recorder) -> None:
    client.hang = True
    assert (await http.post("/stripe", **signed())).status_code == 503


async def test_a_body_over_the_queues_limit_is_413(
    http: httpx.AsyncClient, client: Recorder
) -> None:
    client.error = errors.PayloadTooLarge("stripe-event", 2_000_000, 1_000_000)
    assert (await http.post("/stripe", **signed())).status_code == 413


async def test_another_error_is_not_hidden(http: httpx.AsyncClient, client: Recorder) -> None:
    client.error = errors.UnknownFunction("stripe-event")
    with pytest.raises(errors.UnknownFunction):
        await http.post("/stripe", **signed())


@pytest.mark.parametrize("secrets", [[], [""], [SecretStr(" ")], [SECRET, ""]])
def test_an_endpoint_without_secret_is_not_made(secrets: list[Any]) -> None:
    with pytest.raises(errors.ConfigurationError, match="signing secret"):
        StripeEndpoint(Recorder(), secrets)


async def test_default_limit_is_one_megabyte() -> None:
    endpoint = StripeEndpoint(Recorder(), [SECRET], now=lambda: NOW)
    body = json.dumps({"id": "evt_1", "type": "x", "note": "x" * 999_900}).encode()
    transport = httpx.ASGITransport(app=endpoint)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as http:
        assert (await http.post("/", **signed(body))).status_code == 200
        assert (await http.post("/", **signed(body + b" " * 100))).status_code == 413


async def test_over_real_http_with_keep_alive(client: Recorder) -> None:
    endpoint = StripeEndpoint(client, [SECRET], now=lambda: NOW, max_body_bytes=5000)
    async with AsgiServer(endpoint) as server, httpx.AsyncClient() as http:
        assert (await http.post(server.url, **signed())).json()["received"] is True
        assert (await http.post(server.url, content=b"x" * 3_000_000)).status_code == 413
        assert (await http.post(server.url, **signed())).json()["duplicate"] is True
        assert (await http.get(server.url)).status_code == 405
    assert len(client.calls) == 2


async def test_a_caller_that_hangs_up_in_its_body_queues_nothing(client: Recorder) -> None:
    answers = await _asgi(
        client,
        [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}],
    )
    assert answers == []
    assert client.calls == []


@pytest.mark.parametrize(
    ("kind", "incoming", "expected"),
    [
        (
            "lifespan",
            [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}],
            ["lifespan.startup.complete", "lifespan.shutdown.complete"],
        ),
        ("websocket", [], ["websocket.close"]),
    ],
)
async def test_served_alone_it_knows_the_rest_of_asgi(
    client: Recorder, kind: str, incoming: list[dict[str, Any]], expected: list[str]
) -> None:
    answers = await _asgi(client, incoming, kind)
    assert [answer["type"] for answer in answers] == expected


async def _asgi(
    client: Recorder, incoming: list[dict[str, Any]], kind: str = "http"
) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []
    take: Callable[[], dict[str, Any]] = iter(incoming).__next__

    async def receive() -> dict[str, Any]:
        return take()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": kind, "method": "POST", "headers": []}
    await StripeEndpoint(client, [SECRET])(scope, receive, send)
    return sent
