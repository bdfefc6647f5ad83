"""How an attempt ended, and what follows from it: one pure function decides.

An attempt ends by returning, by raising, by running out of time, or because it was stopped from
outside; a cancelled task says which of these it was by the `Stop` that was set before.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, NamedTuple

from arq.worker import Retry, RetryJob

from jobs.durations import EPOCH, MILLISECOND, format_ms, to_ms
from jobs.engine.plans import Plan
from jobs.errors import (
    Cancel,
    Fail,
    InvalidPayload,
    JobTimedOut,
    RateLimited,
    Skip,
    Snooze,
    text_of,
    writable,
)
from jobs.retention import Limits
from jobs.retry_rules import Decision, decide, retry_after_ms
from jobs.store.queue import Verb

TRACEBACK_FRAMES = 10
TEXT_LIMIT = 4000
#: A traceback of more frames than by default may be longer, up to this.
LONGEST_TRACEBACK = 16_000


class Why(Enum):
    """Why an attempt was stopped from outside."""

    timeout = auto()
    cancel = auto()
    lost = auto()
    shutdown = auto()


class Stop(NamedTuple):
    """The order to stop, with the reason that somebody gave."""

    why: Why
    detail: str = ""
    awaiting: tuple[str, ...] = ()


class Returned(NamedTuple):
    """The function returned."""

    value: Any


class Raised(NamedTuple):
    """The function raised."""

    error: BaseException


class Stopped(NamedTuple):
    """The attempt was cancelled from outside."""

    stop: Stop


class Unrunnable(NamedTuple):
    """Nobody here can run or read the job."""

    reason: str


class Overdue(NamedTuple):
    """The job was not started before its deadline: so long after its enqueue, or a moment."""

    limit_ms: int | None
    start_by_ms: int = 0

    @property
    def reason(self) -> str:
        """The sentence that is kept."""
        if self.limit_ms is not None:
            return f"not started within {self.limit_ms / 1000:g} s of being enqueued"
        by = EPOCH + self.start_by_ms * MILLISECOND
        return f"not started by {by.isoformat(timespec='seconds')}"


AttemptEnd = Returned | Raised | Stopped | Unrunnable | Overdue


class Resolution(NamedTuple):
    """What is written: the verb, the wait before the next attempt, retention, the history entry."""

    verb: Verb
    outcome: str
    keep: Limits
    delay_ms: int = 0
    error: BaseException | None = None
    reason: str = ""
    value: Any = None


class Chance(NamedTuple):
    """What a decision about a failure needs to know of the world.

    Args:
        random: gives floats in [0, 1), for the jitter of the backoff.
        age_ms: how long ago the job was enqueued.
        now_ms: the time, in ms since 1970.
    """

    random: Callable[[], float]
    age_ms: float = 0
    now_ms: float = 0


def resolve(  # noqa: C901, PLR0912 -- one case for each way to end
    plan: Plan, attempt: int, end: AttemptEnd, chance: Chance
) -> Resolution | None:
    """What follows from the end of attempt number `attempt`; `None` if nothing may be written."""
    kept = plan.keep_completed
    match end:
        case Returned(value):
            if isinstance(value, Skip):
                return Resolution(Verb.complete, "skipped", kept, reason=value.reason)
            return Resolution(Verb.complete, "completed", kept, 0, None, "", value)
        case Raised(Skip(reason=reason)):
            return Resolution(Verb.complete, "skipped", kept, reason=reason)
        case Stopped(Stop(Why.lost)):
            return None
        case Stopped(Stop(Why.shutdown)) if plan.obeys_retry:
            return Resolution(Verb.interrupt, "interrupted", kept)
        case Stopped(Stop(Why.shutdown)):  # arq's `retry_jobs=False`: what began begins no more
            stopped = asyncio.CancelledError("the worker stopped, and retry_jobs is off")
            return _failure(plan, attempt, stopped, chance)
        case Stopped(Stop(Why.cancel, reason)) | Raised(Cancel(reason=reason)):
            kept = plan.keep_cancelled or kept
            return Resolution(Verb.cancel, "cancelled", kept, reason=reason)
        case Unrunnable(reason):
            return Resolution(Verb.park, "parked", kept, reason=reason)
        case Overdue():
            kept = plan.keep_expired or kept
            return Resolution(Verb.expire, "expired", kept, reason=end.reason)
        case Raised(Snooze(delay=delay) as error):
            wait = to_ms(delay, what="Snooze")  # type: ignore[arg-type]  # checked by to_ms
            return Resolution(Verb.snooze, "snoozed", kept, wait, reason=str(error))
        case Raised(RateLimited(delay=delay) as error):
            wait = to_ms(delay, what="RateLimited")  # type: ignore[arg-type]  # checked by to_ms
            return Resolution(Verb.limited, "limited", kept, wait, reason=str(error))
        case Stopped(stop):  # Why.timeout, the one that is left
            limit = f"{plan.timeout_s:g} s{stop.detail}"
            error = JobTimedOut(
                f"the attempt ran longer than its timeout of {limit}", stop.awaiting
            )
            return _failure(plan, attempt, error, chance)
        case Raised(error):
            return _failure(plan, attempt, error, chance)


def _failure(plan: Plan, attempt: int, error: BaseException, chance: Chance) -> Resolution:
    """Another attempt or the end; a `Retry` raised from another error is reported as that error."""
    told = error.__cause__ if isinstance(error, Retry) and error.__cause__ else error
    decision = _decision(plan, error)
    if decision is not None and decision.word == "ignore":
        reason = f"{type(error).__name__}: {text_of(error)}"[:TEXT_LIMIT]
        return Resolution(Verb.complete, "skipped", plan.keep_completed, reason=reason)
    attempts = (decision and decision.attempts) or plan.attempts
    failed = Resolution(Verb.fail, "failed", plan.keep_failed, error=told)
    if attempt >= attempts or not _repeatable(plan, error, decision):
        return failed
    wait = max(0, _wait_ms(plan, attempt, error, decision, chance))
    if late := _too_late(plan, error, wait, chance):
        return failed._replace(reason=late)
    return Resolution(Verb.retry, "retried", plan.keep_completed, wait, error=told)


def _decision(plan: Plan, error: BaseException) -> Decision | None:
    """What the rules say; an error that says itself what follows has none."""
    if not plan.rules or isinstance(error, Fail | InvalidPayload | Retry | RetryJob):
        return None
    return decide(plan.rules, error)


def _repeatable(plan: Plan, error: BaseException, decision: Decision | None) -> bool:
    """Whether another attempt may help; arq's rule for plain functions, ours for `@job`."""
    if isinstance(error, Fail | InvalidPayload):
        return False
    if decision is not None:
        return decision.word == "retry"
    if isinstance(error, Retry | RetryJob | asyncio.CancelledError):
        return plan.obeys_retry
    return plan.retries or isinstance(error, JobTimedOut)


def _wait_ms(
    plan: Plan, attempt: int, error: BaseException, decision: Decision | None, chance: Chance
) -> int:
    """The wait before the next attempt: `Retry`'s own, or the backoff's and at least the one
    that the error asks for.
    """
    own: int | None = getattr(error, "defer_score", None)
    if own is not None:
        return own
    backoff = (decision and decision.backoff) or plan.backoff
    wait = backoff.delay_ms(attempt, exc=error, random=chance.random)
    return max(wait, retry_after_ms(error, chance.now_ms) or 0)


def _too_late(plan: Plan, error: BaseException, wait_ms: int, chance: Chance) -> str:
    """Why there is no further attempt: it would begin behind a limit of time.

    One that asked for its wait itself (`Retry`) is no failure, and expires when its time comes.
    """
    then_ms = chance.age_ms + wait_ms
    budget_ms = plan.retry_for_ms
    if budget_ms is not None and then_ms > budget_ms + plan.delay_ms:
        return f"the next attempt would begin after the {format_ms(budget_ms)} of `retry_for`"
    if isinstance(error, Retry):
        return ""
    if plan.expires_ms is not None and then_ms > plan.expires_ms:
        return f"the next attempt would begin after the {format_ms(plan.expires_ms)} of `expires`"
    if plan.start_by_ms is not None and chance.now_ms + wait_ms > plan.start_by_ms:
        return "the next attempt would begin after `start_by`"
    return ""


def describe(error: BaseException, frames: int = TRACEBACK_FRAMES) -> dict[str, Any]:
    """An error as it is kept: type, message, the innermost frames, and the awaits of a timeout."""
    if frames:
        lines = traceback.format_exception(error, limit=-frames)
    else:
        lines = traceback.format_exception_only(error)
    room = min(LONGEST_TRACEBACK, max(TEXT_LIMIT, frames * TEXT_LIMIT // TRACEBACK_FRAMES))
    kept: dict[str, Any] = {
        "type": type(error).__name__,
        "message": writable(text_of(error))[:TEXT_LIMIT],
        "traceback": writable("".join(lines))[-room:],
    }
    if isinstance(error, JobTimedOut) and error.awaiting:
        kept["awaiting"] = [writable(step) for step in error.awaiting]
    return kept
