"""Events from Stripe: an ASGI endpoint that queues them, and the job that handles them.

Stripe wants an answer within seconds and repeats what it is not sure of, so the endpoint only
checks the signature and enqueues; its handlers run in a worker, with retries. The event's id is
the job's id and stays taken for 30 days, ten times as long as Stripe repeats an event.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from jobs import Context, Skip, errors, exponential, job
from jobs.catalog._signing import SignatureError, stripe_signature_header, verify_stripe
from jobs.catalog.webhook import WEBHOOK_QUEUE

__all__ = [
    "SignatureError",
    "StripeEndpoint",
    "StripeEvent",
    "StripeEvents",
    "StripeResult",
    "handle_stripe_event",
    "stripe_signature_header",
    "verify",
]

logger = logging.getLogger(__name__)
verify = verify_stripe

Handler = Callable[[Context, "StripeEvent"], Awaitable[object]]
H = TypeVar("H", bound=Handler)
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_PATTERN = re.compile(r"\*|[a-z0-9_]+(\.[a-z0-9_]+)*(\.\*)?")
_RETRY_AFTER = (b"retry-after", b"10")


class StripeEvent(BaseModel):
    """One event as Stripe sent it.

    Args:
        id: the event's id, `evt_…`.
        type: the event's type, such as `invoice.paid`.
        body: the raw JSON text, kept for replay.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1, max_length=200, pattern=r"^[!-~]+$")
    type: str = Field(min_length=1, max_length=200)
    body: str

    @property
    def payload(self) -> dict[str, Any]:
        """The parsed body. Its `object` is `event`, or `v2.core.event` for a thin event."""
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    @property
    def object(self) -> dict[str, Any]:
        """`data.object`, the resource at the time of the event; empty for a thin event.

        Events are unordered: where the latest state matters, fetch the object from Stripe.
        """
        found: dict[str, Any] = (self.payload.get("data") or {}).get("object") or {}
        return found


class StripeResult(BaseModel):
    """The event that was handled, and the names of the handlers that ran, in their order."""

    event_id: str
    event_type: str
    handlers: list[str]


class StripeEvents:
    """The handlers of an application, by event type; a worker keeps one in `ctx["stripe"]`.

    ```python
    events = StripeEvents()


    @events.on("invoice.paid", "invoice.payment_failed")
    async def book(ctx: Context, event: StripeEvent) -> None: ...
    ```
    """

    def __init__(self) -> None:
        self._handlers: list[tuple[str, Handler]] = []

    def on(self, *types: str) -> Callable[[H], H]:
        """Register the decorated coroutine function for these event types.

        Args:
            types: full types (`invoice.paid`), families (`invoice.*`, with all below), or `*`.

        Raises:
            ConfigurationError: no type is given, or one is none of these.
        """
        wrong = [text for text in types if not _PATTERN.fullmatch(text)]
        if wrong or not types:
            raise errors.ConfigurationError(
                "an event type is like `invoice.paid`, `invoice.*` or `*`, "
                f"not {', '.join(map(repr, wrong)) or 'nothing'}"
            )

        def register(handler: H) -> H:
            self._handlers.extend((pattern, handler) for pattern in types)
            return handler

        return register

    def handlers(self, event_type: str) -> list[Handler]:
        """The handlers for this type, in the order of registration, each once."""
        found = (handler for pattern, handler in self._handlers if _matches(pattern, event_type))
        return list(dict.fromkeys(found))


@job(
    "stripe-event",
    queue=WEBHOOK_QUEUE,
    attempts=10,
    backoff=exponential(5, max=3600),
    timeout=30,
    priority=3,
    description="Handle an event that Stripe sent.",
)
async def handle_stripe_event(ctx: Context, event: StripeEvent) -> StripeResult:
    """Run the handlers of one event, one after the other.

    A handler that raises ends the attempt; the next one runs all handlers again, so each must be
    safe to repeat (`event.id` is the same each time).

    Raises:
        Skip: no handler is registered for this type.
        ConfigurationError: `ctx["stripe"]` holds no `StripeEvents`.
    """
    events = ctx.get("stripe")
    if not isinstance(events, StripeEvents):
        raise errors.ConfigurationError(
            'the stripe-event job needs its handlers in ctx["stripe"]: '
            "set `ctx['stripe'] = events` (a StripeEvents) in on_startup"
        )
    handlers = events.handlers(event.type)
    if not handlers:
        raise Skip(f"no handler for {event.type}")
    for handler in handlers:
        await handler(ctx, event)
    names = [getattr(handler, "__name__", repr(handler)) for handler in handlers]
    return StripeResult(event_id=event.id, event_type=event.type, handlers=names)


class Enqueuer(Protocol):
    """The part of `jobs.Client` that the endpoint needs."""

    def enqueue(self, function: str, payload: Any = None, **options: Any) -> Awaitable[Any]:
        """Queue a job by the name of its function."""
        ...


class _RefusedError(Exception):
    """An answer other than 200; private to the endpoint."""

    def __init__(self, status: int, sentence: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(sentence)
        self.status, self.headers = status, headers


class StripeEndpoint:
    """An ASGI application for the URL that Stripe is told; mount it, or serve it alone.

    It answers 200 `{"received": true, "duplicate": …}`, 400 (signature or JSON), 405 (not POST),
    413 (body too large), or 503 with `Retry-After` while the server that keeps the jobs is away;
    Stripe repeats what is not answered with 2xx.

    Args:
        client: a `jobs.Client`.
        secrets: the endpoint's signing secrets; during a rotation the old and the new one.
        tolerance_s: how far a signature's time may be from now, in seconds. Default 300.
        max_body_bytes: larger bodies are refused. Default 1,000,000.
        enqueue_timeout_s: longest wait for the server before 503, in seconds. Default 10.
        now: gives the Unix time; for tests.

    Raises:
        ConfigurationError: there is no secret, or an empty one.
    """

    def __init__(  # noqa: PLR0913 -- settings, each by name
        self,
        client: Enqueuer,
        secrets: Sequence[SecretStr | str],
        *,
        tolerance_s: float = 300,
        max_body_bytes: int = 1_000_000,
        enqueue_timeout_s: float = 10,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._secrets = [_plain(secret).strip() for secret in secrets]
        if not self._secrets or not all(self._secrets):
            raise errors.ConfigurationError(
                "StripeEndpoint needs the signing secret of the endpoint (`whsec_…`, from "
                "Stripe's dashboard), and got none or an empty one"
            )
        self._tolerance_s, self._now = tolerance_s, now
        self._max_body_bytes = max_body_bytes
        self._enqueue_timeout_s = enqueue_timeout_s

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request; other kinds of ASGI connection are let go politely."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        try:
            await _answer(send, 200, await self._accept(scope, receive))
        except _RefusedError as refusal:
            logger.warning("stripe webhook refused with %d: %s", refusal.status, refusal)
            await _answer(send, refusal.status, {"error": str(refusal)}, *refusal.headers)
        except _GoneError:
            logger.info("stripe webhook: the caller hung up before its request was complete")

    async def _accept(self, scope: Message, receive: Receive) -> dict[str, Any]:
        if scope["method"] != "POST":
            raise _RefusedError(405, "Stripe sends events by POST", (b"allow", b"POST"))
        body = await self._body(scope, receive)
        try:
            verify(
                body,
                _header(scope, b"stripe-signature"),
                self._secrets,
                self._tolerance_s,
                self._now(),
            )
        except SignatureError as error:
            raise _RefusedError(400, str(error)) from error
        return await self._enqueue(_event(body))

    async def _body(self, scope: Message, receive: Receive) -> bytes:
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _GoneError
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._max_body_bytes:
                raise _RefusedError(413, f"an event has at most {self._max_body_bytes:,} bytes")
        return bytes(body)

    async def _enqueue(self, event: StripeEvent) -> dict[str, Any]:
        """Claim the event's id and queue the job, in one step on the server."""
        try:
            async with asyncio.timeout(self._enqueue_timeout_s):
                queued = await self._client.enqueue(
                    "stripe-event", event, id=event.id, queue="webhook", id_ttl="30d"
                )
        except (errors.ServerError, TimeoutError) as error:
            raise _RefusedError(
                503, "the job server is away; send it again", _RETRY_AFTER
            ) from error
        except errors.PayloadTooLarge as error:
            raise _RefusedError(413, str(error)) from error
        return {"received": True, "duplicate": bool(getattr(queued, "duplicate", False))}


class _GoneError(Exception):
    """The caller disconnected in the middle of its request."""


def _matches(pattern: str, event_type: str) -> bool:
    if pattern.endswith("*"):
        return event_type.startswith(pattern[:-1])
    return pattern == event_type


def _plain(secret: SecretStr | str) -> str:
    return secret if isinstance(secret, str) else secret.get_secret_value()


def _header(scope: Message, name: bytes) -> str:
    found = (value for key, value in scope["headers"] if key.lower() == name)
    return bytes(next(found, b"")).decode("latin-1")


def _event(body: bytes) -> StripeEvent:
    """The event in a verified body.

    Raises:
        _RefusedError: with 400, when it is no JSON object with an id and a type.
    """
    try:
        text = body.decode()
        value = json.loads(text)
        return StripeEvent(id=value["id"], type=value["type"], body=text)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _RefusedError(
            400, "an event is a JSON object with the texts `id` and `type`"
        ) from error


async def _answer(
    send: Send, status: int, value: dict[str, Any], *headers: tuple[bytes, bytes]
) -> None:
    body = json.dumps(value).encode()
    own = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})
    await send({"type": "http.response.body", "body": body})


async def _lifespan(receive: Receive, send: Send) -> None:
    while (message := await receive())["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": f"{message['type']}.complete"})
