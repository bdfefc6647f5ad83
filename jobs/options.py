"""What may be asked for: options of a call, of a queue, of a rate limit.

Options of jobs are layered: framework < queue < function < call; see `jobs.job_options`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol, TypedDict

from jobs.backoff import Backoff, RetryPolicy
from jobs.checks import check_concurrency, check_count
from jobs.durations import MAX_MS, Duration, parse_rate, to_ms
from jobs.errors import InvalidOption, did_you_mean
from jobs.job_options import (
    CODE_OPTIONS,
    FRAMEWORK_DEFAULTS,
    HIGHEST_PRIORITY,
    LOWEST_PRIORITY,
    OPTION_NAMES,
    JobOptions,
    to_wire,
)
from jobs.keys import check_name
from jobs.limits import Limit, check_limits
from jobs.retention import KEEP_FOREVER, KEEP_NOTHING, Keep
from jobs.timeouts import Timeout
from jobs.uniqueness import By, Unique, check_by

# One home for all options, whatever module they are written in.
__all__ = [
    "CALL_OPTIONS",
    "FRAMEWORK_DEFAULTS",
    "HIGHEST_PRIORITY",
    "KEEP_FOREVER",
    "KEEP_NOTHING",
    "LOWEST_PRIORITY",
    "PLACES",
    "EnqueueOptions",
    "JobOptions",
    "Keep",
    "Place",
    "Queue",
    "RateLimit",
    "Timeout",
    "check_call_options",
    "check_executor",
    "has_job_options",
    "job_options",
    "to_wire",
]


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `limit` claims in any `period_ms` milliseconds, over all workers; never drops.

    Raises:
        InvalidOption: `limit` or `period_ms` is below 1; for the scripts 0 means no limit.
    """

    limit: int
    period_ms: int

    def __post_init__(self) -> None:
        check_count("limit", self.limit, 1, 10**15)
        check_count("period_ms", self.period_ms, 1, MAX_MS)

    @classmethod
    def of(cls, value: RateLimit | str) -> RateLimit:
        """A limit from text such as "30/s", "100/min" or "10/30s".

        Raises:
            InvalidOption: the text is no rate, or a number in it is not positive.
        """
        return value if isinstance(value, RateLimit) else cls(*parse_rate(value))


class EnqueueOptions(TypedDict, total=False):
    """Options of one call of `enqueue`; see `JobOptions` for those that are not named here.

    id: the job's id, any text of 1 to 256 bytes; by default one that sorts by time.
    id_ttl: how long the id stays taken, counted from now, also after the job has ended or was
        removed. By default an id is free again when its job has ended.
    delay: wait this long before the job may run.
    run_at: run not before this moment (an aware datetime); not together with `delay`.
    queue: another queue than the function's own.
    on_conflict: when another job has the id or the unique key: "return" that job (default;
        "ignore" is the same), "raise" `DuplicateJob`, "replace" its payload and time while it
        waits, or "cancel" it and take its place.
    unique: `True` (one job with these arguments), a tuple of fields, a key, or `Unique(…)`;
        `False` switches off what the function says.
    key: the group to which the job belongs, e.g. a tenant: groups take turns, and the limits
        `per="key"` hold for each.
    start_by: no attempt begins after this moment (an aware datetime); a job that waits then
        ends `expired`, with its arguments kept.
    repeat: run again and again: a dict in BullMQ's words (`cron` or `pattern`, `tz`, `every`,
        `limit`, `startDate`, `endDate`), stored as a schedule; see `client.schedules`.
    """

    id: str
    id_ttl: Duration
    delay: Duration
    run_at: datetime
    queue: str
    on_conflict: str
    unique: Unique | str | tuple[str, ...] | bool
    key: str
    start_by: datetime
    repeat: Mapping[str, Any]
    attempts: int
    backoff: Backoff
    retry: RetryPolicy | str
    timeout: Duration | Timeout
    priority: int
    expires: Duration
    retry_for: Duration
    max_starts: int
    keep_completed: Keep
    keep_failed: Keep
    keep_cancelled: Keep
    keep_expired: Keep
    traceback_limit: int
    max_result_bytes: int
    tags: Sequence[str]
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, init=False)
class Queue:
    """A place where jobs wait, and how workers serve it.

    Args:
        name: 1 to 128 bytes of printable text.
        concurrency: how many of its jobs one worker process runs at once, 1 or more; `None`
            takes the worker's `max_jobs` (default 10).
        rate: at most so many starts per time over all workers, e.g. "30/s" or "100/min".
        defaults: options of jobs in this queue, below those of their functions.
        limits: further limits over all workers; see `Limit`.
        key: how the key of a job is found in its arguments, unless its function or the call
            says it: a field, a tuple of them, or a function.
        ageing: a waiting job counts as one priority higher for each such time that it waits.
        dead_letter: a function, by itself or by name, of which one job is enqueued for each job
            of this queue that fails for good; it gets a `DeadLetter`.
        events: whether its events are always written, also while nobody listens. Default: for
            24 hours after somebody last did.

    Raises:
        InvalidOption: a name or number that cannot be, or a function for dead letters in a queue
            that keeps none.
    """

    name: str
    concurrency: int | None
    rate: RateLimit | None
    defaults: JobOptions
    limits: tuple[Limit, ...]
    key: By | None
    ageing: Duration | None
    dead_letter: str | None
    events: bool

    def __init__(  # noqa: PLR0913 -- the options of a queue, each by name
        self,
        name: str,
        *,
        concurrency: int | None = None,
        rate: RateLimit | str | None = None,
        defaults: JobOptions | None = None,
        limits: Iterable[Limit] = (),
        key: By | None = None,
        ageing: Duration | None = None,
        dead_letter: str | Named | None = None,
        events: bool = False,
    ) -> None:
        object.__setattr__(self, "name", check_name(name))
        object.__setattr__(self, "concurrency", check_concurrency("concurrency", concurrency))
        object.__setattr__(self, "rate", None if rate is None else RateLimit.of(rate))
        object.__setattr__(self, "defaults", defaults or JobOptions())
        object.__setattr__(self, "limits", check_limits(limits))
        object.__setattr__(self, "key", check_by(key))
        object.__setattr__(self, "ageing", check_ageing(ageing))
        object.__setattr__(self, "dead_letter", check_dead_letter(dead_letter, self.defaults))
        object.__setattr__(self, "events", events)


class Named(Protocol):
    """A function that has a name for its jobs, as `@job` gives it."""

    @property
    def name(self) -> str:
        """What producers call it."""


def check_dead_letter(value: str | Named | None, defaults: JobOptions) -> str | None:
    """The name of the function that is told of dead letters.

    Raises:
        InvalidOption: it is no name, or failed jobs are not kept until it is told of them.
    """
    if value is None:
        return None
    name = getattr(value, "name", value)
    if not isinstance(name, str) or not name:
        raise InvalidOption(f"`dead_letter` is a job function or the name of one, not {value!r}")
    if defaults.keep_failed is not None and 0 in defaults.keep_failed.limits():
        raise InvalidOption(
            f"{name!r} would hear of no dead letter: by `keep_failed` this queue keeps none"
        )
    return name


def check_ageing(value: Duration | None) -> Duration | None:
    """The time that counts as one priority.

    Raises:
        InvalidOption: it is shorter than 1 ms.
    """
    if value is not None and to_ms(value, what="ageing") < 1:
        raise InvalidOption(f"`ageing` is a time of at least 1 ms, not {value!r}")
    return value


#: Where a plain `def` runs.
Place = Literal["thread", "process"]
PLACES: tuple[Place, ...] = ("thread", "process")


def check_executor(given: object) -> Place:
    """Where a plain function runs.

    Raises:
        InvalidOption: there is no such executor.
    """
    for place in PLACES:
        if given == place:
            return place
    hint = did_you_mean(given, PLACES) if isinstance(given, str) else ""
    raise InvalidOption(f'`executor` is "thread" or "process", not {given!r}{hint}')


CALL_OPTIONS = frozenset(EnqueueOptions.__annotations__)
_JOB_OPTIONS = CALL_OPTIONS & {*OPTION_NAMES, "retry"}


def check_call_options(given: dict[str, Any]) -> None:
    """Refuse options that do not exist.

    Raises:
        InvalidOption: names the unknown option and the nearest known one.
    """
    if CALL_OPTIONS.issuperset(given):
        return
    for name in given:
        if name in CODE_OPTIONS:
            raise InvalidOption(
                f"`{name}` is code and cannot be sent with one job: give it to @job(…), or to "
                "Queue(defaults=JobOptions(…)), which every worker reads"
            )
        if name not in CALL_OPTIONS:
            raise InvalidOption(
                f"`enqueue` has no option {name!r}{did_you_mean(name, CALL_OPTIONS)}; "
                f"its options are {', '.join(sorted(CALL_OPTIONS))}"
            )


def has_job_options(given: dict[str, Any]) -> bool:
    """Whether options of the job itself are among those of a call."""
    return not _JOB_OPTIONS.isdisjoint(given)


def job_options(given: dict[str, Any]) -> JobOptions:
    """The `JobOptions` among the options of a call.

    Raises:
        InvalidOption: a value that the option cannot take.
    """
    return JobOptions(**{name: given[name] for name in _JOB_OPTIONS & given.keys()})
