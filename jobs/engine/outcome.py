"""How an attempt ended, and what follows from it: one pure function decides.

An attempt ends by returning, by raising, by running out of time, or because it was stopped from
outside; a cancelled task says which of these it was by the `Stop` that was set before.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, NamedTuple

from arq.worker import Retry, RetryJob

from jobs.backoff import Backoff
from jobs.durations import to_ms
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
from jobs.store.queue import Limits, Verb

TRACEBACK_FRAMES = 10
TEXT_LIMIT = 4000


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
    """The job was not started before its deadline."""

    limit_ms: int


AttemptEnd = Returned | Raised | Stopped | Unrunnable | Overdue


@dataclass(frozen=True, slots=True)
class Plan:
    """The options that hold for one job, with every layer applied."""

    attempts: int
    backoff: Backoff
    timeout_s: float | None
    expires_ms: int | None
    keep_completed: Limits
    keep_failed: Limits
    retries: bool
    no_retry: tuple[type[BaseException], ...]
    obeys_retry: bool = True


class Resolution(NamedTuple):
    """What is written: the verb, the wait before the next attempt, retention, the history entry."""

    verb: Verb
    outcome: str
    keep: Limits
    delay_ms: int = 0
    error: BaseException | None = None
    reason: str = ""
    value: Any = None


def resolve(  # noqa: C901 -- one case for each way to end
    plan: Plan, attempt: int, end: AttemptEnd, random: Callable[[], float]
) -> Resolution | None:
    """What follows from the end of attempt number `attempt`; `None` if nothing may be written.

    `random` gives floats in [0, 1), for the jitter of the backoff.
    """
    kept = plan.keep_completed
    match end:
        case Returned(Skip(reason=reason)) | Raised(Skip(reason=reason)):
            return Resolution(Verb.complete, "skipped", kept, reason=reason)
        case Returned(value):
            return Resolution(Verb.complete, "completed", kept, value=value)
        case Stopped(Stop(Why.lost)):
            return None
        case Stopped(Stop(Why.shutdown)) if plan.obeys_retry:
            return Resolution(Verb.interrupt, "interrupted", kept)
        case Stopped(Stop(Why.shutdown)):  # arq's `retry_jobs=False`: what began begins no more
            stopped = asyncio.CancelledError("the worker stopped, and retry_jobs is off")
            return _failure(plan, attempt, stopped, random)
        case Stopped(Stop(Why.cancel, reason)) | Raised(Cancel(reason=reason)):
            return Resolution(Verb.cancel, "cancelled", kept, reason=reason)
        case Unrunnable(reason):
            return Resolution(Verb.park, "parked", kept, reason=reason)
        case Overdue(limit_ms):
            reason = f"not started within {limit_ms / 1000:g} s of being enqueued"
            return Resolution(Verb.expire, "expired", kept, reason=reason)
        case Raised(Snooze(delay=delay) as error):
            wait = to_ms(delay, what="Snooze")  # type: ignore[arg-type]  # checked by to_ms
            return Resolution(Verb.snooze, "snoozed", kept, wait, reason=str(error))
        case Raised(RateLimited(delay=delay) as error):
            wait = to_ms(delay, what="RateLimited")  # type: ignore[arg-type]  # checked by to_ms
            return Resolution(Verb.limited, "limited", kept, wait, reason=str(error))
        case Stopped():  # Why.timeout, the one that is left
            error = JobTimedOut(f"the attempt ran longer than its timeout of {plan.timeout_s:g} s")
            return _failure(plan, attempt, error, random)
        case Raised(error):
            return _failure(plan, attempt, error, random)


def _failure(
    plan: Plan, attempt: int, error: BaseException, random: Callable[[], float]
) -> Resolution:
    """Another attempt or the end; a `Retry` raised from another error is reported as that error."""
    told = error.__cause__ if isinstance(error, Retry) and error.__cause__ else error
    if attempt >= plan.attempts or not _repeatable(plan, error):
        return Resolution(Verb.fail, "failed", plan.keep_failed, error=told)
    wait = getattr(error, "defer_score", None)
    if wait is None:
        wait = plan.backoff.delay_ms(attempt, exc=error, random=random)
    return Resolution(Verb.retry, "retried", plan.keep_completed, max(0, wait), error=told)


def _repeatable(plan: Plan, error: BaseException) -> bool:
    """Whether another attempt may help; arq's rule for plain functions, ours for `@job`."""
    if isinstance(error, (Fail, InvalidPayload, *plan.no_retry)):
        return False
    if isinstance(error, Retry | RetryJob | asyncio.CancelledError):
        return plan.obeys_retry
    return plan.retries or isinstance(error, JobTimedOut)


def describe(error: BaseException) -> dict[str, str]:
    """An error as it is kept: type, message, and the innermost frames."""
    frames = traceback.format_exception(error, limit=-TRACEBACK_FRAMES)
    return {
        "type": type(error).__name__,
        "message": writable(text_of(error))[:TEXT_LIMIT],
        "traceback": writable("".join(frames))[-TEXT_LIMIT:],
    }
