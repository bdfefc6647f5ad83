"""The options of a job, on whichever layer they are given: framework < queue < function < call.

An unset option is `None`, never a default in disguise; `over` puts two layers together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, fields, replace
from typing import Any

from jobs.backoff import Backoff, RetryPolicy, exponential
from jobs.checks import check_count
from jobs.durations import Duration, to_ms
from jobs.errors import InvalidOption
from jobs.labels import MAX_TAGS, check_headers, check_tags
from jobs.retention import KEEP_FOREVER, Keep
from jobs.retry_rules import Rules, check_rules
from jobs.timeouts import Timeout

HIGHEST_PRIORITY, LOWEST_PRIORITY = 1, 1000
MAX_ATTEMPTS = 10_000
MAX_FRAMES = 100
MAX_RESULT_BYTES = 64 * 1024 * 1024

#: Called at the last failure of a job with its context and its error; `async def` or `def`.
OnExhausted = Callable[[Any, BaseException], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """Options of a job; `None` leaves the choice to the layer below.

    Three of them add up instead: rules of `retry_on`, `tags` and `headers` of a layer join those
    of the layers below, and win where both name the same type or header.

    Args:
        attempts: total runs allowed, 1 to 10,000. Framework default 3.
        backoff: wait after a failure. Framework default `exponential(2)`: 2, 4, 8 … s.
        retry: attempts and backoff in one: a `RetryPolicy`, or the name "standard",
            "aggressive" or "none"; not together with those two.
        timeout: limit of one attempt, a duration, or a `Timeout` with a soft limit too.
            Framework default 300 s; 0 for no limit.
        priority: 1 (first) to 1000 (last). Framework default 3.
        expires: no attempt begins later than this after the job was enqueued: one that waits
            then ends `expired`, with its arguments kept. Framework default: never.
        retry_for: no further attempt begins later than this after the job was enqueued (or was
            due, if its call had a delay); the failure before is the last one. A layer that
            gives no `attempts` beside it means as many as fit. Framework default: no limit but
            `attempts`.
        max_starts: the job fails instead of starting more often than this, also when attempts
            were given back by a snooze, a stopped or a lost worker. Default: no limit.
        retry_on: what follows from which exception type: "retry", "fail", "ignore" (completed,
            skipped), a wait, a `Backoff`, a `RetryPolicy`, or a function of the error that
            returns one of these. Code: not for a call.
        no_retry: exception types that are final: each a rule "fail" of `retry_on`.
        on_exhausted: called at the last failure with the context and the error; what it raises
            is logged and harms nothing. Code: not for a call.
        keep_completed: retention of completed jobs. Framework default: 1 hour, 10,000 jobs,
            64 MiB.
        keep_failed: retention of failed jobs. Framework default: for ever.
        keep_cancelled: retention of cancelled jobs. Default: as `keep_completed`.
        keep_expired: retention of expired jobs. Default: as `keep_completed`.
        traceback_limit: innermost frames kept of each error, 0 to 100. Framework default 10.
        max_result_bytes: a larger result is not stored, the job completed all the same; up to
            64 MiB. Framework default 1 MiB.
        tags: text to find the job by, at most 10 of 128 characters.
        headers: small texts beside the arguments (trace, tenant) by name, at most 32 and 4 KiB.

    Raises:
        InvalidOption: a value that the option cannot take, or options that contradict.
    """

    attempts: int | None = None
    backoff: Backoff | None = None
    retry: InitVar[RetryPolicy | str | None] = None
    timeout: Duration | Timeout | None = None
    priority: int | None = None
    expires: Duration | None = None
    retry_for: Duration | None = None
    max_starts: int | None = None
    retry_on: Rules | None = None
    no_retry: InitVar[tuple[type[BaseException], ...]] = ()
    on_exhausted: OnExhausted | None = None
    keep_completed: Keep | None = None
    keep_failed: Keep | None = None
    keep_cancelled: Keep | None = None
    keep_expired: Keep | None = None
    traceback_limit: int | None = None
    max_result_bytes: int | None = None
    tags: Sequence[str] | None = None
    headers: Mapping[str, str] | None = None

    def __post_init__(
        self, retry: RetryPolicy | str | None, no_retry: tuple[type[BaseException], ...]
    ) -> None:
        if retry is not None:
            self._take_policy(RetryPolicy.of(retry))
        if self.retry_for is not None and self.attempts is None:
            self._set("attempts", MAX_ATTEMPTS)
        check_count("attempts", self.attempts, 1, MAX_ATTEMPTS)
        check_count("priority", self.priority, HIGHEST_PRIORITY, LOWEST_PRIORITY)
        check_count("max_starts", self.max_starts, 1, MAX_ATTEMPTS)
        check_count("traceback_limit", self.traceback_limit, 0, MAX_FRAMES)
        check_count("max_result_bytes", self.max_result_bytes, 0, MAX_RESULT_BYTES)
        self._check_kinds()
        if self.timeout is not None:
            Timeout.of(self.timeout)
        for name in ("expires", "retry_for"):
            if (value := getattr(self, name)) is not None and to_ms(value, what=name) == 0:
                raise InvalidOption(f"`{name}` is a duration above zero; leave it out for no limit")
        if self.retry_on or no_retry:
            self._set("retry_on", check_rules(self.retry_on or {}, no_retry=no_retry))
        if self.tags is not None:
            self._set("tags", check_tags(self.tags))
        if self.headers is not None:
            self._set("headers", check_headers(self.headers))

    def _take_policy(self, policy: RetryPolicy) -> None:
        if self.attempts is not None or self.backoff is not None:
            raise InvalidOption(
                "`retry` is attempts and backoff in one: give it alone, or give `attempts` and "
                "`backoff`"
            )
        self._set("attempts", policy.attempts)
        self._set("backoff", policy.backoff)

    def _check_kinds(self) -> None:
        if self.backoff is not None and not isinstance(self.backoff, Backoff):
            raise InvalidOption(
                f"`backoff` is fixed(…), exponential(…) or custom(…), not {self.backoff!r:.60}"
            )
        if self.on_exhausted is not None and not callable(self.on_exhausted):
            raise InvalidOption(
                "`on_exhausted` is a function that takes the context and the error, not "
                f"{self.on_exhausted!r:.60}"
            )
        for name in ("keep_completed", "keep_failed", "keep_cancelled", "keep_expired"):
            if not isinstance(keep := getattr(self, name), Keep | None):
                raise InvalidOption(f"`{name}` is a Keep(age=…, count=…), not {keep!r:.60}")

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def over(self, below: JobOptions) -> JobOptions:
        """These options, with what they leave unset taken from `below`."""
        changes: dict[str, Any] = {}
        for name in OPTION_NAMES:
            own, other = getattr(self, name), getattr(below, name)
            if own is None:
                if other is not None:
                    changes[name] = other
            elif other is not None and name in ADD_UP:
                changes[name] = add_up(own, other)
        return replace(self, **changes) if changes else self


#: The names of all options of a job, in the order of `JobOptions`.
OPTION_NAMES: tuple[str, ...] = tuple(field.name for field in fields(JobOptions))
#: Options that are code, which a job cannot carry.
CODE_OPTIONS = frozenset({"retry_on", "no_retry", "on_exhausted"})
#: Options whose values in several layers are put together.
ADD_UP = frozenset({"retry_on", "tags", "headers"})


def add_up(own: Any, other: Any, *, whole: bool = False) -> Any:
    """The values of an option in two layers together; `own` is the nearer one.

    Too many tags are cut, unless the `whole` of them is asked for.
    """
    if isinstance(own, Mapping):
        return {**other, **own}
    return tuple(dict.fromkeys([*own, *other]))[: None if whole else MAX_TAGS]


FRAMEWORK_DEFAULTS = JobOptions(
    attempts=3,
    backoff=exponential(2),
    timeout=300,
    priority=3,
    keep_completed=Keep(age=3600, count=10_000, max_bytes=64 * 1024 * 1024),
    keep_failed=KEEP_FOREVER,
    traceback_limit=10,
    max_result_bytes=1024 * 1024,
)


_AS_MS = ("expires", "retry_for")
_AS_THEY_ARE = ("attempts", "max_starts", "traceback_limit", "max_result_bytes", "tags", "headers")
_AS_LIMITS = ("keep_completed", "keep_failed", "keep_cancelled", "keep_expired")


def to_wire(options: JobOptions) -> dict[str, Any]:
    """The set options as JSON, for the envelope of one job; priority travels apart from it.

    Raises:
        InvalidOption: a custom backoff, which is code and cannot be sent.
    """
    wire: dict[str, Any] = {
        name: value for name in _AS_THEY_ARE if (value := getattr(options, name)) is not None
    }
    if options.backoff is not None:
        wire["backoff"] = options.backoff.to_wire()
    if options.timeout is not None:
        wire["timeout"] = Timeout.of(options.timeout).to_wire()
    for name in _AS_MS:
        if (value := getattr(options, name)) is not None:
            wire[name] = to_ms(value, what=name)
    for name in _AS_LIMITS:
        if (keep := getattr(options, name)) is not None:
            wire[name] = keep.limits()
    return wire
