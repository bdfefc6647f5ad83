"""The `webhook` job: the application's own events, delivered to URLs that its customers chose.

Signed and judged by Standard Webhooks: 2xx is success, everything else a failure that is tried
again, except 410 Gone, which is final. A 404 or 400 is tried again too: it is what a receiver
answers in the middle of its own deployment. Ten attempts take 42 minutes; raise `attempts` for
receivers that are away longer.
"""

from __future__ import annotations

import ipaddress
import json
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from uuid import UUID, uuid5

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, SecretStr

from jobs import Context, Fail, Queue, errors, exponential, job
from jobs.catalog._addresses import (
    Guard,
    Resolver,
    Target,
    UnsafeAddress,
    parse_target,
    resolve,
)
from jobs.catalog._http import GuardedClient
from jobs.catalog._replies import BusyReply, NoReply, Reply, wait_as_asked
from jobs.catalog._signing import decode_secret, sign_standard

__all__ = [
    "WEBHOOK_QUEUE",
    "DeliveryFailed",
    "EndpointGone",
    "NoReply",
    "UnsafeAddress",
    "WebhookDelivery",
    "WebhookResult",
    "WebhookSender",
    "WebhookSettings",
    "deliver_webhook",
]

NAMESPACE = UUID("0c5a1f0e-8f43-5b0e-a4e5-53b1c53b1c19")
WEBHOOK_QUEUE = Queue("webhook", concurrency=3)
_BACKOFF_S, _BACKOFF_MAX_S = 5, 3600
_SHOWN = 2000
_ASK_TO_WAIT = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}


class DeliveryFailed(BusyReply):
    """The receiver did not take the event; it is tried again."""


class EndpointGone(Fail):
    """The receiver answered 410 Gone: it wants no more events here. Permanent."""


class WebhookDelivery(BaseModel):
    """One event for one endpoint.

    Args:
        url: where to, by https; see `WebhookSettings` for what is refused.
        type: the event's type, such as `invoice.paid`.
        data: the event itself.
        endpoint: whose secrets sign it, a name in `WebhookSettings.secrets`. Default `default`.
        id: the message's id, the same over all retries: letters, digits, `_` and `-`. By default
            it is derived from the job's id.
        occurred_at: when the event happened; by default when the job was enqueued.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    url: str = Field(min_length=1, max_length=2048)
    type: str = Field(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$", max_length=128)
    data: dict[str, JsonValue] = Field(default_factory=dict)
    endpoint: str = "default"
    id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{1,255}$")
    occurred_at: AwareDatetime | None = None


class WebhookResult(BaseModel):
    """A delivery that was taken: the status, and at most 2,000 characters of what was answered."""

    message_id: str
    status: int
    reply: str
    truncated: bool


class WebhookSettings(BaseModel):
    """How webhooks are signed and where they may go.

    Args:
        secrets: endpoint name -> its secrets (`whsec_` and base64 of 24 to 64 bytes). Several
            give several signatures: put the new one first and drop the old one after a rotation.
        allow_http: permit plain http. Default `False`.
        allow_private: permit every address, this machine included; for tests and development.
        allowed_networks: networks permitted although they are not public. Default none.
        deadline_s: limit of one delivery, from the look-up of the name to the last byte.
            Default 15, the most that is allowed.
        max_reply_bytes: how much of an answer is read. Default 65,536, the most allowed.
        retry_after_max_s: the longest `Retry-After` that is obeyed. Default 3600, one hour.
        user_agent: the header of that name.

    Raises:
        ConfigurationError: a secret is no base64, too short or too long.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    secrets: Mapping[str, tuple[SecretStr, ...]]
    allow_http: bool = False
    allow_private: bool = False
    allowed_networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    deadline_s: float = Field(default=15.0, gt=0, le=15)
    max_reply_bytes: int = Field(default=65_536, ge=0, le=65_536)
    retry_after_max_s: float = Field(default=3600.0, ge=0, le=3600)
    user_agent: str = Field(default="jobs-webhook/1", pattern=r"^[ -~]+$")

    def keys(self) -> dict[str, list[bytes]]:
        """The decoded secrets by endpoint; an endpoint has at least one."""
        decoded = {
            name: [decode_secret(secret.get_secret_value()) for secret in secrets]
            for name, secrets in self.secrets.items()
        }
        empty = [name for name, keys in decoded.items() if not keys]
        if empty:
            raise errors.ConfigurationError(f"the webhook endpoint {empty[0]!r} has no secret")
        return decoded


class WebhookSender:
    """Signs and delivers; a worker keeps one in `ctx["webhooks"]` and closes it in `on_shutdown`.

    Args:
        settings: see `WebhookSettings`.
        on_gone: awaited with the delivery when its endpoint answers 410, so that the application
            can switch the endpoint off. If it raises, the delivery is tried again.
        resolver: `(host, port) -> addresses`; by default the system's.
        ssl_context: for an authority of your own; by default certifi's authorities.

    Raises:
        ConfigurationError: a secret cannot be used.
    """

    def __init__(
        self,
        settings: WebhookSettings,
        *,
        on_gone: Callable[[WebhookDelivery], Awaitable[object]] | None = None,
        resolver: Resolver = resolve,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.settings = settings
        self.on_gone = on_gone
        self._keys = settings.keys()
        guard = Guard(
            allow_private=settings.allow_private,
            allowed_networks=settings.allowed_networks,
            resolver=resolver,
        )
        self._client = GuardedClient(
            guard,
            deadline_s=settings.deadline_s,
            max_reply_bytes=settings.max_reply_bytes,
            ssl_context=ssl_context,
        )

    async def post(self, delivery: WebhookDelivery, message_id: str, body: bytes) -> Reply:
        """Sign `body` and send it once.

        Raises:
            UnsafeAddress: the URL, its name or its address is refused; permanent.
            ConfigurationError: the endpoint has no secrets here.
            NoReply: no answer within the deadline, or no connection.
        """
        target = parse_target(delivery.url, allow_http=self.settings.allow_http)
        headers = sign_standard(self._keys_of(delivery), message_id, int(time.time()), body)
        headers |= {"content-type": "application/json", "user-agent": self.settings.user_agent}
        return await self._client.post(target, headers, body)

    def _keys_of(self, delivery: WebhookDelivery) -> list[bytes]:
        if keys := self._keys.get(delivery.endpoint):
            return keys
        hint = errors.did_you_mean(delivery.endpoint, self._keys)
        raise errors.ConfigurationError(
            f"there is no webhook endpoint {delivery.endpoint!r}{hint}; "
            f"the settings have secrets for {', '.join(sorted(self._keys)) or 'none'}"
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()


@job(
    "webhook",
    queue=WEBHOOK_QUEUE,
    attempts=10,
    backoff=exponential(_BACKOFF_S, max=_BACKOFF_MAX_S),
    timeout=30,
    priority=3,
    description="Deliver an event to a customer's URL.",
)
async def deliver_webhook(ctx: Context, delivery: WebhookDelivery) -> WebhookResult:
    """Send one event once; the job's retries do the rest.

    Raises:
        EndpointGone, UnsafeAddress: permanent.
        DeliveryFailed, NoReply: tried again after the backoff.
        Retry: as `DeliveryFailed`, for a 429 or 503 with `Retry-After`: the longer wait, at most
            `retry_after_max_s`.
        ConfigurationError: no `WebhookSender` in ctx, or no secrets for the endpoint; tried again,
            since the next deployment may bring them.
    """
    sender = ctx.get("webhooks")
    if not isinstance(sender, WebhookSender):
        raise errors.ConfigurationError(
            'the webhook job needs a WebhookSender in ctx["webhooks"]: '
            "make one in on_startup, `ctx['webhooks'] = WebhookSender(settings)`"
        )
    message_id = delivery.id or f"msg_{uuid5(NAMESPACE, ctx.idempotency_key).hex}"
    reply = await sender.post(delivery, message_id, _body(ctx, delivery))
    if reply.status == HTTPStatus.GONE:
        await _report_gone(sender, delivery)
    if not reply.ok:
        error = _failure(delivery, reply, sender.settings)
        raise wait_as_asked(error, ctx, _BACKOFF_S, _BACKOFF_MAX_S) from error
    return WebhookResult(
        message_id=message_id,
        status=reply.status,
        reply=reply.text(_SHOWN),
        truncated=reply.truncated or len(reply.text(_SHOWN + 1)) > _SHOWN,
    )


def _body(ctx: Context, delivery: WebhookDelivery) -> bytes:
    """The same bytes at every attempt, in the form that Standard Webhooks recommends."""
    moment: datetime = delivery.occurred_at or ctx.enqueued_at
    text = moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
    event = {"type": delivery.type, "timestamp": text, "data": delivery.data}
    return json.dumps(event, separators=(",", ":"), allow_nan=False).encode()


async def _report_gone(sender: WebhookSender, delivery: WebhookDelivery) -> None:
    if sender.on_gone is not None:
        await sender.on_gone(delivery)
    raise EndpointGone(
        f"{_origin(delivery, sender.settings)} answered 410 Gone: it takes no more events; "
        "switch the endpoint off"
    )


def _failure(delivery: WebhookDelivery, reply: Reply, settings: WebhookSettings) -> DeliveryFailed:
    origin, status = _origin(delivery, settings), reply.status
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return DeliveryFailed(
            f"{origin} answered {status}: redirects are not followed; "
            "update the URL of the endpoint"
        )
    wait_s = reply.retry_after_s(settings.retry_after_max_s) if status in _ASK_TO_WAIT else None
    said = reply.line()
    return DeliveryFailed(f"{origin} answered {status}" + (f": {said}" if said else ""), wait_s)


def _origin(delivery: WebhookDelivery, settings: WebhookSettings) -> str:
    target: Target = parse_target(delivery.url, allow_http=settings.allow_http)
    return target.origin
