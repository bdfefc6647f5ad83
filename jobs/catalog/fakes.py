"""Stand-ins for OneSignal and for a customer's webhook receiver: real HTTP servers on loopback.

Demos and tests start them where the real thing would be called:

```python
async with FakeOneSignal(app_id="demo", api_key="demo-key") as fake:
    settings = {"app_id": "demo", "api_key": "demo-key", "base_url": fake.url}
    client = OneSignal(OneSignalSettings.model_validate(settings))
```
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from jobs.catalog._server import AsgiServer, Message, Receive, Send
from jobs.catalog._signing import (
    SignatureError,
    decode_secret,
    stripe_signature_header,
    verify_standard,
)

__all__ = [
    "Answer",
    "AsgiServer",
    "FakeOneSignal",
    "Received",
    "WebhookReceiver",
    "stripe_signature_header",
]

Script = Iterable["Answer | int | None"]
_TARGETING = {"include_aliases", "include_subscription_ids", "included_segments", "filters"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a fake is told to answer: a status, headers, and a body (JSON unless it is bytes)."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None

    @classmethod
    def of(cls, value: Answer | int) -> Answer:
        """An answer from a bare status."""
        return value if isinstance(value, Answer) else cls(value)


@dataclass(frozen=True, slots=True)
class Received:
    """A request that came: header names in lower case; `verified` is for signed webhooks."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    verified: bool | None = None

    def json(self) -> Any:
        """The parsed body."""
        return json.loads(self.body)


class _Fake(AsgiServer):
    """Records requests in `requests`; answers from `script` first, then by `answer`.

    In a script `None` stands for the usual answer, so `[None, 503]` fails the second request.
    """

    def __init__(self, script: Script, host: str, port: int) -> None:
        super().__init__(self._serve, host=host, port=port)
        self.requests: list[Received] = []
        self.script = deque(script)

    def record(self, request: Received) -> Received:
        """What is kept of a request."""
        return request

    def answer(self, request: Received) -> Answer:
        """The answer where the script is at its end."""
        return Answer()

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        body = await _body(receive)
        request = self.record(Received(scope["method"], scope["path"], headers, body))
        self.requests.append(request)
        scripted = self.script.popleft() if self.script else None
        await _reply(send, self.answer(request) if scripted is None else Answer.of(scripted))


class FakeOneSignal(_Fake):
    """OneSignal's `POST /notifications` with its checks, shapes and idempotency.

    Args:
        app_id: the only app it knows.
        api_key: the only key it takes (`Authorization: Key …`); another gives 403.
        fail: answers for the first requests, such as
            `[Answer(429, {"retry-after": "1"}), 503]`; `None` among them is a usual answer.
        nosub: behave as if nobody were subscribed: 200 with an empty id.
        unknown: ids that it reports as invalid.

    `requests` holds every request, `notifications` the bodies that were sent, each once.
    """

    def __init__(  # noqa: PLR0913 -- knobs of a fake, each by name
        self,
        *,
        app_id: str = "demo-app",
        api_key: str = "demo-key",
        fail: Script = (),
        nosub: bool = False,
        unknown: Iterable[str] = (),
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        super().__init__(fail, host, port)
        self._app_id, self._api_key = app_id, api_key
        self._nosub, self._unknown = nosub, set(unknown)
        self._by_key: dict[str, Answer] = {}
        self.notifications: list[dict[str, Any]] = []

    def answer(self, request: Received) -> Answer:
        """Check and send; a known idempotency key gets its first answer again."""
        if request.headers.get("authorization") != f"Key {self._api_key}":
            return Answer(403, body={"errors": ["Access denied. Please check your API key"]})
        if (request.method, request.path) != ("POST", "/notifications"):
            return Answer(404, body={"errors": ["not found"]})
        body = request.json()
        if problem := self._problem(body):
            return Answer(400, body={"errors": [problem]})
        key = body.get("idempotency_key") or str(uuid4())
        if key not in self._by_key:
            self._by_key[key] = self._send_out(body)
        return self._by_key[key]

    def _problem(self, body: Mapping[str, Any]) -> str | None:
        if body.get("app_id") != self._app_id:
            return "app_id not found"
        if len(_TARGETING & body.keys()) != 1:
            return "You must include exactly one targeting method"
        if "include_aliases" in body and body.get("target_channel") != "push":
            return "target_channel is required with include_aliases"
        return None if (body.get("contents") or {}).get("en") else "contents must have en"

    def _send_out(self, body: dict[str, Any]) -> Answer:
        targets = _targets(body)
        known = [target for target in targets if target not in self._unknown]
        if self._nosub or not known:
            errors = ["All included players are not subscribed"]
            return Answer(body={"id": "", "errors": errors})
        self.notifications.append(body)
        sent: dict[str, Any] = {"id": str(uuid4()), "external_id": None}
        if invalid := [target for target in targets if target in self._unknown]:
            sent["errors"] = {"invalid_aliases": {"external_id": invalid}}
        return Answer(body=sent)


class WebhookReceiver(_Fake):
    """A customer's endpoint: records what comes and says whether its signature holds.

    Args:
        secrets: of this endpoint; without any, `verified` stays `None`.
        answers: for the first requests, such as `[500, Answer(429, {"retry-after": "2"}), 410]`;
            later ones get 200, or 401 when the signature is wrong.
    """

    def __init__(
        self,
        secrets: Sequence[str] = (),
        *,
        answers: Script = (),
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        super().__init__(answers, host, port)
        self._keys = [decode_secret(secret) for secret in secrets]

    def record(self, request: Received) -> Received:
        """The request with its `verified`."""
        if not self._keys:
            return request
        try:
            verify_standard(request.body, request.headers, self._keys)
        except SignatureError:
            verified = False
        else:
            verified = True
        return Received(request.method, request.path, request.headers, request.body, verified)

    def answer(self, request: Received) -> Answer:
        """200, or 401 for a wrong signature."""
        return Answer(401 if request.verified is False else 200, body={"received": True})


def _targets(body: Mapping[str, Any]) -> list[str]:
    aliases: list[str] = (body.get("include_aliases") or {}).get("external_id") or []
    subscriptions: list[str] = body.get("include_subscription_ids") or []
    return aliases + subscriptions


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def _reply(send: Send, answer: Answer) -> None:
    body = answer.body if isinstance(answer.body, bytes) else b""
    if answer.body is not None and not isinstance(answer.body, bytes):
        body = json.dumps(answer.body).encode()
    own = {"content-type": "application/json", "content-length": str(len(body))}
    headers = [
        (name.encode(), text.encode()) for name, text in (own | dict(answer.headers)).items()
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
