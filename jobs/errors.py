"""Every error of this package, in one tree.

    JobsError
    ├── ConfigurationError          the settings cannot work
    ├── InvalidOption               an option has a value that it cannot take (also a ValueError)
    │   └── InvalidFilter           a filter or a query for jobs that cannot be
    ├── UnsafeAll                   an action on all jobs that nobody asked for in so many words
    ├── EnqueueRefused              a job did not enter its queue
    │   ├── UnknownFunction
    │   ├── InvalidPayload
    │   ├── PayloadTooLarge
    │   └── DuplicateJob
    ├── UnreadableBody              stored bytes are not a body that this code wrote
    ├── JobNotFound
    ├── ScheduleNotFound
    ├── WrongState                  the job is not in a state that allows this
    ├── ResultTimeout               the result did not come in time (also a TimeoutError)
    ├── LimitTimeout                a limit gave no place in time (also a TimeoutError)
    ├── JobFailed                   the awaited job ended without a result
    │   ├── JobCancelled
    │   └── JobExpired
    ├── JobTimedOut                 an attempt ran longer than its timeout (also a TimeoutError)
    ├── ProcessDied                 the process that ran an attempt died
    ├── NotInProcess                a resource that a process does not have (also a KeyError)
    ├── Outcome                     raised by a function to say how its attempt ends
    │   ├── Fail
    │   ├── Snooze
    │   ├── RateLimited
    │   ├── Skip
    │   └── Cancel
    └── ServerError                 the Redis or Valkey server
        ├── ServerAway              not reachable; nothing was done
        ├── EnqueueUnknown          the answer was lost; safe to repeat with the same id
        └── ServerRefused           it answers, but will not serve: full, wrong password …

``Retry`` is arq's own exception (`jobs.Retry is arq.Retry`) and so stands outside this tree.
A message is a sentence: what was expected, what came, what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class JobsError(Exception):
    """Base of every error of this package."""


class ConfigurationError(JobsError):
    """The settings cannot work."""


class InvalidOption(JobsError, ValueError):
    """An option has a value that it cannot take."""


class InvalidFilter(InvalidOption):
    """A filter, or a query for jobs, that cannot be."""


class UnsafeAll(JobsError):
    """A filter that nothing narrows would act on every job: say so with `everything=True`."""

    def __init__(self, action: str) -> None:
        super().__init__(
            f"the filter is empty, so this would {action} every job that allows it: narrow the "
            "filter, or say `everything=True` (on the command line `--all`)"
        )


class EnqueueRefused(JobsError):
    """The job did not enter its queue; nothing was written."""


class UnknownFunction(EnqueueRefused):
    """No function of this name is registered."""

    def __init__(self, name: str, known: Iterable[str] = ()) -> None:
        self.name = name
        super().__init__(
            f"no job function is called {name!r}{did_you_mean(name, known)}; "
            "`arq-jobs types` lists the functions of this application"
        )


class InvalidPayload(EnqueueRefused):
    """The arguments do not fit the function; `errors` holds one (field, problem) pair each."""

    def __init__(self, function: str, errors: list[tuple[str, str]]) -> None:
        self.function = function
        self.errors = errors
        fields = "; ".join(f"{field}: {problem}" for field, problem in errors)
        super().__init__(f"the payload of {function!r} does not validate: {fields}")


class PayloadTooLarge(EnqueueRefused):
    """The encoded job is over the size limit."""

    def __init__(self, function: str, size: int, limit: int) -> None:
        super().__init__(
            f"the payload of {function!r} has {size:,} bytes, over the limit of {limit:,}; "
            "store the data elsewhere and send its id, or raise `max_body_bytes` of the client"
        )


class DuplicateJob(EnqueueRefused):
    """A job with this id, or this unique key, exists already; `job_id` is its id."""

    def __init__(self, queue: str, job_id: str, unique: str | None = None) -> None:
        self.queue, self.job_id, self.unique = queue, job_id, unique
        what = f"the id {job_id!r}" if unique is None else f"the unique key {unique!r}: {job_id!r}"
        super().__init__(f"queue {queue!r} already holds a job with {what}")


class UnreadableBody(JobsError):
    """Stored bytes are not a body that this version can read."""


class JobNotFound(JobsError):
    """The queue holds no job with this id."""

    def __init__(self, queue: str, job_id: str) -> None:
        self.queue, self.job_id = queue, job_id
        super().__init__(
            f"queue {queue!r} holds no job {job_id!r}: it never existed there, "
            "or its retention time is over"
        )


class ScheduleNotFound(JobsError):
    """No queue has a schedule of this name."""

    def __init__(self, name: str, known: Iterable[str] = ()) -> None:
        self.name = name
        super().__init__(
            f"there is no schedule {name!r}{did_you_mean(name, known)}; "
            "`arq-jobs schedules list` shows what there is"
        )


class WrongState(JobsError):
    """The job is not in a state that allows what was asked."""


class ResultTimeout(JobsError, TimeoutError):
    """The result did not come within the time that the caller was willing to wait."""


class LimitTimeout(JobsError, TimeoutError):
    """A limit gave no place within the time that the caller was willing to wait."""


class JobFailed(JobsError):
    """The awaited job ended without a result.

    `kind` is the name of the exception type that ended it, `message` its text, `traceback` the
    kept frames; the original exception object is not rebuilt, since importing a type by a name
    found in data would run code chosen by whoever can write to the server.
    """

    def __init__(self, kind: str, message: str, traceback: str | None = None) -> None:
        self.kind, self.message, self.traceback = kind, message, traceback
        super().__init__(f"{kind}: {message}" if message else kind)


class JobCancelled(JobFailed):
    """The awaited job was cancelled; `message` is the reason."""


class JobExpired(JobFailed):
    """The awaited job was not started before its deadline."""


class JobTimedOut(JobsError, TimeoutError):
    """An attempt ran longer than its timeout.

    `awaiting` says what it was waiting for: a "file:line function" for each step of the chain of
    awaits at that moment, the innermost last.
    """

    def __init__(self, message: str = "", awaiting: Iterable[str] = ()) -> None:
        self.awaiting = tuple(awaiting)
        super().__init__(message)


class ProcessDied(JobsError):
    """The process that ran an attempt died: killed, crashed, or ended by the function itself."""


class NotInProcess(JobsError, KeyError):
    """A function with `executor="process"` asked its context for a resource of the worker."""

    def __init__(self, key: object) -> None:
        self.key = key
        super().__init__(
            f"ctx[{key!r}] is not there: this function runs in a process of its own "
            '(executor="process"), without the client and what `on_startup` made; open what it '
            'needs in its own module, or use executor="thread"'
        )

    def __str__(self) -> str:
        return str(self.args[0])  # a KeyError would show it in quotes


class Outcome(JobsError):
    """Raised by a function to say how its attempt ends."""


class Fail(Outcome):
    """Ends the job as failed, whatever attempts remain: the error is permanent."""


class Snooze(Outcome):
    """Runs the job again after `delay`, without using an attempt.

    `delay` is a duration: seconds, a timedelta, or text such as "5m".
    """

    def __init__(self, delay: object, reason: str = "") -> None:
        self.delay = delay
        super().__init__(reason or f"snoozed for {delay}")


class RateLimited(Outcome):
    """Runs the job again, without using an attempt, and closes its queue for `delay`.

    For a far side that says when to come again (429): until then no job of the queue begins.
    `delay` is a duration: seconds, a timedelta, or text such as "5m".
    """

    def __init__(self, delay: object, reason: str = "") -> None:
        self.delay = delay
        super().__init__(reason or f"told to wait for {delay}")


class Skip(Outcome):
    """Ends the job as completed with the outcome `skipped` and a reason.

    A function may raise it or return it.
    """

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        super().__init__(reason)


class Cancel(Outcome):
    """Ends the job as cancelled, with a reason; not a failure."""

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        super().__init__(reason)


class ServerError(JobsError):
    """Something between this process and the Redis or Valkey server."""


class ServerAway(ServerError):
    """The server is not reachable; nothing was done."""


class EnqueueUnknown(ServerError):
    """The call was sent and its answer was lost: the job may or may not be queued.

    Repeating the call with the same job id is safe: it makes at most one job.
    """


class ServerRefused(ServerError):
    """The server answers, but will not serve: full, read-only, or with another password."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The clause ` (did you mean 'x'?)` when a known word is close to `word`, else nothing."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


def text_of(error: BaseException) -> str:
    """The error's own text; a sentence in its place where making it fails."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 -- the author's code may raise anything here too
        return f"the text of this {type(error).__name__} cannot be made"


def writable(text: str) -> str:
    """`text` with lone surrogates (undecodable file names) escaped, so that it can be written."""
    return text.encode("utf-8", "backslashreplace").decode()
