"""OneSignal's REST API, the one call of it that `push` needs.

Rules from OneSignal's documents on creating notifications, rate limits and idempotent requests.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import UUID, uuid5

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SecretStr,
    field_validator,
    model_validator,
)

from jobs import Fail
from jobs.catalog._http import ApiClient
from jobs.catalog._replies import BusyReply, NoReply, Reply

NAMESPACE = UUID("6d4f3a0e-3b0c-5c57-9d0b-7a5a0b6f2f11")
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_LATER = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


class OneSignalRefused(Fail):
    """OneSignal refused the request for good: bad body, bad key, unknown app. Permanent."""


class OneSignalBusy(BusyReply):
    """OneSignal did not take the request now; the same request may be repeated."""


class OneSignalSettings(BaseModel):
    """How OneSignal is reached.

    Args:
        app_id: the app's UUID.
        api_key: the app's REST key; it is never shown.
        base_url: by default https://api.onesignal.com; plain http only on loopback, for fakes.
        chunk_size: targets per request, 1 to 20,000. Default 2,000, what OneSignal's SDKs allow.
        timeout_s: limit of one request in seconds. Default 8, below the job's own 10.
        retry_after_max_s: the longest `Retry-After` that is obeyed, in seconds. Default 900.
    """

    # A validation error would quote the key, were it not for the last of these.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    app_id: str = Field(min_length=1)
    api_key: SecretStr
    base_url: str = "https://api.onesignal.com"
    chunk_size: int = Field(default=2000, ge=1, le=20_000)
    timeout_s: float = Field(default=8.0, gt=0, le=100)
    retry_after_max_s: float = Field(default=900.0, ge=0)

    @field_validator("api_key")
    @classmethod
    def _key_fits_a_header(cls, value: SecretStr) -> SecretStr:
        key = value.get_secret_value().strip()
        if not key or not key.isascii() or not key.isprintable():
            raise ValueError("api_key is OneSignal's REST key: printable ASCII, not empty")
        return SecretStr(key)

    @model_validator(mode="after")
    def _key_travels_encrypted(self) -> Self:
        url = urlsplit(self.base_url)
        if url.scheme != "https" and not (url.scheme == "http" and url.hostname in _LOOPBACK):
            raise ValueError("base_url begins with https:// (http:// only on loopback)")
        return self


@dataclass(frozen=True, slots=True)
class Sent:
    """One accepted request; an empty `id` means that nobody could be sent to."""

    id: str
    messages: tuple[str, ...]
    invalid: tuple[str, ...]


class OneSignal:
    """The client that a worker keeps in `ctx["onesignal"]`; close it in `on_shutdown`.

    Args:
        settings: see `OneSignalSettings`.
    """

    def __init__(self, settings: OneSignalSettings) -> None:
        self.settings = settings
        self._key = settings.api_key.get_secret_value()
        headers = {"authorization": f"Key {self._key}", "accept": "application/json"}
        self._client = ApiClient(settings.base_url, headers, settings.timeout_s)

    def __repr__(self) -> str:
        return f"OneSignal(app_id={self.settings.app_id!r})"

    async def send(self, message: dict[str, JsonValue], key: str) -> Sent:
        """Create one notification.

        Args:
            message: the request without `app_id` and `idempotency_key`.
            key: names this request; the same key and message are sent at most once in 30 days.

        Raises:
            OneSignalRefused: the answer is permanent.
            OneSignalBusy: 408, 425, 429, 5xx, an unreadable answer, or none.
        """
        body: dict[str, JsonValue] = {"app_id": self.settings.app_id, **message}
        body["idempotency_key"] = idempotency_key(key, body)
        try:
            reply = await self._client.post("/notifications", json.dumps(body).encode())
        except NoReply as error:
            raise OneSignalBusy(f"OneSignal: {error}") from error
        return self._judge(reply)

    def _judge(self, reply: Reply) -> Sent:
        parsed = _parsed(reply)
        messages, invalid = read_errors(parsed.get("errors"))
        messages = [self._masked(text) for text in messages]
        if reply.ok and parsed:
            return Sent(str(parsed.get("id") or ""), tuple(messages), tuple(invalid))
        said = "; ".join(messages) or self._masked(reply.line()) or "no explanation"
        sentence = f"OneSignal answered {reply.status}: {said}"
        # A success that cannot be read is repeated: the idempotency key makes that harmless.
        if reply.ok or reply.status in _LATER or reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            wait_s = reply.retry_after_s(self.settings.retry_after_max_s)
            raise OneSignalBusy(sentence, wait_s)
        raise OneSignalRefused(sentence)

    def _masked(self, text: str) -> str:
        return text.replace(self._key, "**********")

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()


def idempotency_key(key: str, body: dict[str, JsonValue]) -> str:
    """A UUID for one request: the same for every retry of the same job and the same body.

    The body takes part, so that a dead letter retried with another text, or after a change of
    the chunk size, is not taken for the message that was sent before.
    """
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return str(uuid5(NAMESPACE, f"{key}:{digest}"))


def read_errors(value: JsonValue) -> tuple[list[str], list[str]]:
    """OneSignal's `errors` in any of its shapes -> (messages, ids that it does not know).

    The shapes: a list of strings, a list of `{code, title}`, an object such as
    `{"invalid_aliases": {"external_id": […]}}` or `{"invalid_player_ids": […]}`, or one string.
    """
    messages: list[str] = []
    invalid: list[str] = []
    items = value if isinstance(value, list) else [value]
    for item in items:
        if isinstance(item, dict) and not {"title", "code"} & item.keys():
            _read_object(item, messages, invalid)
        elif item is not None:
            messages.append(_message(item))
    return messages, invalid


def _read_object(item: dict[str, JsonValue], messages: list[str], invalid: list[str]) -> None:
    for name, value in item.items():
        if name.startswith("invalid_"):
            invalid.extend(_leaves(value))
        else:
            messages.append(f"{name}: {'; '.join(_leaves(value))}")


def _message(item: JsonValue) -> str:
    if not isinstance(item, dict):
        return str(item)
    title, code = item.get("title") or item.get("message"), item.get("code")
    return " ".join(str(part) for part in (title, f"({code})" if code else None) if part)


def _leaves(value: JsonValue) -> Iterable[str]:
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in _leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in _leaves(inner)]
    return [str(value)]


def _parsed(reply: Reply) -> dict[str, Any]:
    try:
        value = json.loads(reply.body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
