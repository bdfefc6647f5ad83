"""The `push` job: notifications to phones and browsers through OneSignal.

A worker keeps one `OneSignal` client in `ctx["onesignal"]`. Every request carries an idempotency
key derived from the job, so a retry never notifies anybody twice (OneSignal keeps the keys for 30
days).
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from jobs import Context, Queue, Skip, errors, exponential, job
from jobs.catalog._onesignal import (
    OneSignal,
    OneSignalBusy,
    OneSignalRefused,
    OneSignalSettings,
    Sent,
)
from jobs.catalog._replies import wait_as_asked

__all__ = [
    "PUSH_QUEUE",
    "OneSignal",
    "OneSignalBusy",
    "OneSignalRefused",
    "OneSignalSettings",
    "Push",
    "PushResult",
    "send_push",
]

_BACKOFF_S, _BACKOFF_MAX_S = 2, 60
# Of Apple's and Google's push services: 10 wakes the device, 5 saves its battery.
_PRIORITIES = {"HIGH": 10, "MEDIUM": None, "LOW": 5}
_LISTED = 100

PUSH_QUEUE = Queue("push", concurrency=20, rate="30/s")

Target = Annotated[str, Field(min_length=1, max_length=256)]


class Push(BaseModel):
    """One notification and whom it goes to, by exactly one of three fields.

    Args:
        message: the text, in the language of the app's default (`en`).
        title: the heading; by default the app's name is shown.
        user_id: one user, by your own id (OneSignal's `external_id`).
        external_ids: several users by your own ids, 1 to 20,000.
        subscription_ids: devices by OneSignal's subscription ids, 1 to 20,000.
        data: extra values for the app; about 2 KB is what the platforms carry.
        url: opened by a tap on the notification.
        priority: HIGH wakes the device, LOW saves its battery, MEDIUM leaves it to the platform.
            It is not the job's priority, which is an option of `enqueue`.
        enabled: whether the user wants notifications; `False` ends the job as skipped.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    message: str = Field(min_length=1)
    title: str | None = Field(default=None, min_length=1)
    user_id: Target | None = None
    external_ids: list[Target] = Field(default_factory=list, max_length=20_000)
    subscription_ids: list[Target] = Field(default_factory=list, max_length=20_000)
    data: dict[str, JsonValue] = Field(default_factory=dict)
    url: str | None = Field(default=None, pattern=r"^[a-zA-Z][a-zA-Z0-9+.-]*:")
    priority: Literal["HIGH", "MEDIUM", "LOW"] = "MEDIUM"
    enabled: bool = True

    @model_validator(mode="after")
    def _one_kind_of_target(self) -> Self:
        if sum(map(bool, (self.user_id, self.external_ids, self.subscription_ids))) != 1:
            raise ValueError(
                "a push has exactly one of user_id, external_ids (at least one id) "
                "and subscription_ids (at least one id)"
            )
        return self

    @property
    def targets(self) -> list[str]:
        """The ids, each once, in the given order."""
        given = [self.user_id] if self.user_id else self.external_ids or self.subscription_ids
        return list(dict.fromkeys(given))

    def body(self, targets: list[str]) -> dict[str, JsonValue]:
        """The part of OneSignal's request that is about this message and these of its targets."""
        body: dict[str, JsonValue] = {"contents": {"en": self.message}}
        if self.subscription_ids:
            body["include_subscription_ids"] = list[JsonValue](targets)
        else:
            body["target_channel"] = "push"
            body["include_aliases"] = {"external_id": list[JsonValue](targets)}
        optional: dict[str, JsonValue] = {
            "headings": {"en": self.title} if self.title else None,
            "data": self.data or None,
            "url": self.url,
            "priority": _PRIORITIES[self.priority],
        }
        return body | {name: value for name, value in optional.items() if value is not None}


class PushResult(BaseModel):
    """What was sent.

    `notification_ids`: one per request that reached anybody. `targets`: how many ids were named.
    `invalid_targets`: how many of them OneSignal did not know; `invalid_sample` the first hundred.
    `warnings`: what else OneSignal said.
    """

    notification_ids: list[str]
    targets: int
    invalid_targets: int = 0
    invalid_sample: list[str] = Field(default_factory=list)
    warnings: list[str] = Field(default_factory=list)


@job(
    "push",
    queue=PUSH_QUEUE,
    attempts=3,
    backoff=exponential(_BACKOFF_S),
    timeout=10,
    priority=2,
    description="Send a push notification through OneSignal.",
)
async def send_push(ctx: Context, push: Push) -> PushResult:
    """Send one notification; more targets than fit into a request are sent in several.

    Returns:
        What was sent, also when some targets were unknown.

    Raises:
        Skip: `enabled` is false, or OneSignal found nobody to send to.
        OneSignalRefused: permanent: OneSignal refused the request (400, 401, 403, 404, 422 …).
        OneSignalBusy: 429, 5xx or no answer; tried again after the backoff.
        Retry: the same with a `Retry-After` header: tried again after the longer of the two.
    """
    if not push.enabled:
        raise Skip("Push notifications disabled")
    client = ctx.get("onesignal")
    if not isinstance(client, OneSignal):
        raise errors.ConfigurationError(
            'the push job needs an OneSignal client in ctx["onesignal"]: '
            "make one in on_startup, `ctx['onesignal'] = OneSignal(settings)`"
        )
    try:
        return _result(push, await _send_all(client, ctx, push))
    except OneSignalBusy as error:
        raise wait_as_asked(error, ctx, _BACKOFF_S, _BACKOFF_MAX_S) from error


async def _send_all(client: OneSignal, ctx: Context, push: Push) -> list[Sent]:
    targets, size = push.targets, client.settings.chunk_size
    answers: list[Sent] = []
    for index, start in enumerate(range(0, len(targets), size)):
        body = push.body(targets[start : start + size])
        try:
            answers.append(await client.send(body, f"{ctx.idempotency_key}:{index}"))
        except OneSignalRefused as error:
            if not answers:
                raise
            sent = f"the first {start:,} of {len(targets):,} targets had been sent before"
            raise OneSignalRefused(f"{error} ({sent})") from error
    return answers


def _result(push: Push, answers: list[Sent]) -> PushResult:
    ids = [answer.id for answer in answers if answer.id]
    warnings = list(dict.fromkeys(text for answer in answers for text in answer.messages))
    if not ids:
        raise Skip(f"no recipients: {'; '.join(warnings) or 'nobody is subscribed'}")
    invalid = [target for answer in answers for target in answer.invalid]
    return PushResult(
        notification_ids=ids,
        targets=len(push.targets),
        invalid_targets=len(invalid),
        invalid_sample=invalid[:_LISTED],
        warnings=warnings,
    )
