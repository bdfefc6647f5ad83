"""Schedules as they are declared: `Schedule`, `@schedule`, and BullMQ's `repeat`."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import BaseModel
from pydantic_core import from_json, to_json

from jobs.codec import OWN, Deserializer, Serializer, decode_body, encode_body, rebind_body
from jobs.durations import Duration
from jobs.errors import ConfigurationError, InvalidOption, did_you_mean
from jobs.keys import check_name
from jobs.options import CALL_OPTIONS, EnqueueOptions
from jobs.registry import Function
from jobs.requests import Preparer, Request
from jobs.store.queue import Flow
from jobs.store.schedules import Run, Stored
from jobs.timetable import Misfire, Overlap, Policy, Timing, as_moment, job_id

if TYPE_CHECKING:
    from typing_extensions import Unpack

F = TypeVar("F", bound=Callable[..., Any])

#: Where `@schedule` leaves what it was told, on the code itself.
_MARK = "__jobs_schedules__"
_TIMING = ("cron", "pattern", "every", "tz", "start", "end", "offset", "limit")
_POLICY = ("misfire", "window", "overlap", "jitter")
#: Options of one job that have no meaning for all jobs of a schedule.
_ONE_JOB = ("id", "id_ttl", "delay", "run_at", "on_conflict", "unique", "repeat")
_REPEAT = ("cron", "pattern", "every", "tz", "limit", "startDate", "endDate", "offset", "key")


class ScheduleOptions(EnqueueOptions, total=False):
    """Options of a schedule; those of its jobs (`queue`, `priority`, `attempts` …) stand beside.

    cron: a crontab expression of 5 fields, of 6 with the seconds first, or an alias (`@daily`).
    pattern: the same, in BullMQ's word.
    every: a duration from one run to the next, in real time: counted from `start`, else from
        1970, so that "5m" is :00, :05 … on all machines. `start=datetime.now(UTC)` counts from now.
    tz: the zone of `cron`: an IANA name or a tzinfo. Default UTC.
    start: nothing runs before this aware datetime.
    end: nothing runs after this aware datetime.
    offset: a duration by which every run is later than its rule says. Default 0.
    limit: runs in all. Default: no limit.
    jitter: a duration; each run is due later by a part of it, by chance, to spread load. Default 0.
    misfire: what becomes of instants at which no worker lived: "skip", "once" (the last of them
        runs; default), or "all".
    window: instants missed longer ago than this are not made up for. Default: no limit.
    overlap: what becomes of an instant when the last run has not ended: "allow" (default),
        "skip", or "queue": one further run waits for its end, others are left out.
    """

    cron: str
    pattern: str
    every: Duration
    tz: str | tzinfo
    start: datetime
    end: datetime
    offset: Duration
    limit: int
    jitter: Duration
    misfire: Misfire
    window: Duration
    overlap: Overlap


class DeclaredOptions(ScheduleOptions, total=False):
    """Options of `@schedule`.

    name: what the schedule is called; default the function's name.
    payload: the keyword arguments of its jobs, as a mapping or a pydantic model.
    """

    name: str
    payload: BaseModel | Mapping[str, Any]


class Schedule:
    """A function that runs again and again, by a cron expression or an interval.

    Args:
        name: what it is called, 1 to 128 bytes; one schedule a queue has a name.
        job: the name of the function, or what `function.request(…)` returns.
        payload: the keyword arguments, as a mapping or a pydantic model, if `job` is a name.
        options: see `ScheduleOptions`.

    Raises:
        InvalidOption: an option that does not exist, a value that it cannot take, options that
            contradict each other, or a rule that is never due.
    """

    def __init__(
        self,
        name: str,
        job: str | Request,
        payload: BaseModel | Mapping[str, Any] | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> None:
        given = cast("dict[str, Any]", options)
        self.name = check_name(name, "schedule")
        self.timing, self.policy, job_options = read_options(given)
        #: Whether it says in which zone its expression is meant.
        self.zoned = given.get("tz") is not None
        self.request = _request(job, payload, job_options)
        _check_job_options(self.request.options)

    def define(self, preparer: Preparer, *, from_code: bool) -> tuple[str, Definition]:
        """The queue of the schedule, and what is stored there.

        Raises:
            InvalidOption, InvalidPayload, PayloadTooLarge: its jobs could not be enqueued.
        """
        prepared = preparer.prepare(self.request)
        definition = Definition(
            self.name,
            self.request.function,
            self.timing,
            self.policy,
            prepared.entry.priority,
            rebind_body("", prepared.entry.body),
            from_code,
            *(prepared.entry.flow or Flow())[:2],
        )
        return prepared.queue, definition

    def bound_to(self, function: Function | None) -> Schedule:
        """The same, with its payload checked by this function, if its request names none."""
        bound = copy(self)
        if function is not None and self.request.target is None:
            bound.request = self.request._replace(target=function)
        return bound

    def __repr__(self) -> str:
        return f"<schedule {self.name}: {self.request.function} {self.timing.text}>"


@dataclass(frozen=True, slots=True)
class Definition:
    """A schedule as it is stored: everything but what it has done.

    `body` is that of its jobs, bound to no id.
    """

    name: str
    function: str
    timing: Timing
    policy: Policy
    priority: int
    body: bytes
    from_code: bool
    group: str = ""
    key: str = ""

    @classmethod
    def of(cls, stored: Stored) -> Definition:
        """What `documents` wrote."""
        rest = from_json(stored.rest)
        return cls(
            stored.name,
            rest["function"],
            Timing.from_wire(from_json(stored.rule)),
            Policy.from_wire(rest),
            rest["priority"],
            base64.b64decode(rest["body"]),
            rest["code"],
            rest.get("group", ""),
            rest.get("key", ""),
        )

    def documents(self) -> tuple[bytes, bytes]:
        """The rule, and the rest, as JSON."""
        rest = {
            "function": self.function,
            "priority": self.priority,
            "code": self.from_code,
            **({"group": self.group, "key": self.key} if self.group else {}),
            **self.policy.to_wire(),
            "body": base64.b64encode(self.body).decode(),
        }
        return to_json(self.timing.to_wire()), to_json(rest)

    def run(
        self,
        instant: int,
        last: int,
        serializer: Serializer | None = None,
        deserializer: Deserializer | None = None,
    ) -> Run:
        """The job of one instant; `last` is the instant of the run before, 0 for none.

        Raises:
            UnreadableBody: it was written by a serializer of which this process has no reader.
        """
        name = job_id(self.name, instant)
        _, args, kwargs, options = decode_body("", self.body, deserializer)
        body = encode_body(
            name,
            self.function,
            args,
            kwargs,
            options | {"schedule": [self.name, instant, last]},
            serializer=serializer if self.body[:1] == OWN else None,
        )
        return Run(instant, self.policy.due_ms(self.name, instant), name, body)


def schedule(cron: str | None = None, /, **options: Unpack[DeclaredOptions]) -> Callable[[F], F]:
    """Declare that a function runs again and again; for job functions and plain coroutines.

    Workers that have the function store the schedule when they start, and make its jobs: each
    instant is one job, in the function's own queue, run by any worker, kept with its history.

    Args:
        cron: a crontab expression, such as "0 9 * * 1"; or one of `cron`, `pattern`, `every` below.
        options: see `ScheduleOptions`; also `name` (default the function's) and `payload`.

    Raises:
        InvalidOption: as `Schedule` does; also for what is no function.
    """
    given = cast("dict[str, Any]", options)
    if cron is not None:
        if "cron" in given:
            raise InvalidOption("give the expression once: as the first argument, or as `cron`")
        given = {"cron": cron, **given}
    read_options({name: given[name] for name in given if name not in ("name", "payload")})

    def declare(function: F) -> F:
        registered = getattr(function, "function", None)  # a job function's own
        code = registered.call if isinstance(registered, Function) else function
        try:
            setattr(code, _MARK, [*getattr(code, _MARK, []), given])
        except AttributeError:
            raise InvalidOption(
                f"`@schedule` stands on a function, not on {function!r}: for what cannot be "
                "decorated give `Schedule(…)` to `Worker(schedules=…)`"
            ) from None
        return function

    return declare


def declared(functions: Iterable[Function], given: Iterable[Schedule] = ()) -> list[Schedule]:
    """The schedules of a worker: those given to it, and those declared on its functions.

    Raises:
        ConfigurationError: two schedules have one name.
        InvalidOption: as `Schedule` does.
    """
    known = {function.name: function for function in functions}
    found = [item.bound_to(known.get(item.request.function)) for item in given]
    for function in known.values():
        for options in getattr(function.call, _MARK, []):
            rest = {name: options[name] for name in options if name not in ("name", "payload")}
            request = _request(function.name, options.get("payload"), {}, function)
            found.append(Schedule(options.get("name", function.name), request, **rest))
    names = [item.name for item in found]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(
                f"two schedules are called {name!r}: give one another name, "
                f'`@schedule(…, name="{name}-2")`'
            )
    return found


def read_options(given: Mapping[str, Any]) -> tuple[Timing, Policy, EnqueueOptions]:
    """The timing, the policy, and the options of the jobs.

    Raises:
        InvalidOption: an unknown option, or one that belongs to a single job.
    """
    rest = {name: given[name] for name in given if name not in (*_TIMING, *_POLICY)}
    _check_job_options(rest)
    return Timing.of(given), Policy.of(given), cast("EnqueueOptions", rest)


def _check_job_options(given: Mapping[str, Any]) -> None:
    for name in given:
        if name in _ONE_JOB:
            raise InvalidOption(f"`{name}` is an option of a single job, not of a schedule")
        if name not in CALL_OPTIONS:
            known = (CALL_OPTIONS - set(_ONE_JOB)) | {*_TIMING, *_POLICY}
            raise InvalidOption(
                f"a schedule has no option {name!r}{did_you_mean(name, known)}; "
                f"its options are {', '.join(sorted(known))}"
            )


def of_repeat(request: Request, preparer: Preparer) -> Schedule:
    """The schedule that `enqueue(…, repeat={…})` asks for, in BullMQ's words.

    Numbers are BullMQ's: `every`, `offset` are ms, `startDate` and `endDate` may be ms since 1970;
    texts and datetimes are as everywhere here. Its name is the job's `id`, else `key`, else made
    of the function, the rule and the payload, so that the same call again makes no second one.

    Raises:
        InvalidOption: as `Schedule` does.
    """
    options: dict[str, Any] = dict(request.options)
    repeat, name = options.pop("repeat"), options.pop("id", None)
    if not isinstance(repeat, Mapping):
        raise InvalidOption(
            f'`repeat` is a dict such as {{"cron": "0 9 * * 1"}}, not {repeat!r:.60}'
        )
    for key in repeat:
        if key not in _REPEAT:
            raise InvalidOption(
                f"`repeat` has no option {key!r}{did_you_mean(str(key), _REPEAT)}; "
                f"its options are {', '.join(_REPEAT)}"
            )
    given = {key: repeat[key] for key in _TIMING if repeat.get(key) is not None}
    for key in ("every", "offset"):
        if isinstance(given.get(key), int | float):
            given[key] = f"{given[key]}ms"
    bounds = {
        "start": as_moment(repeat.get("startDate"), "startDate"),
        "end": as_moment(repeat.get("endDate"), "endDate"),
    }
    given |= {key: at for key, at in bounds.items() if at is not None}
    made = Schedule("unnamed", request._replace(options=cast("EnqueueOptions", options)), **given)
    made.name = check_name(name or repeat.get("key") or _name_of(made, preparer), "schedule")
    return made


def _name_of(made: Schedule, preparer: Preparer) -> str:
    _, definition = made.define(preparer, from_code=False)
    text = b"\n".join((to_json(made.timing.to_wire()), definition.body))
    digest = hashlib.sha256(text).hexdigest()[:12]
    return f"{made.request.function[:80]}:{digest}"


def _request(
    job: str | Request,
    payload: BaseModel | Mapping[str, Any] | None,
    options: EnqueueOptions,
    target: Function | None = None,
) -> Request:
    if isinstance(job, Request):
        if payload is not None:
            raise InvalidOption("the request has its arguments; give no `payload` beside it")
        return job._replace(options=cast("EnqueueOptions", {**job.options, **options}))
    if isinstance(payload, BaseModel):
        return Request(job, (payload,), {}, options, target)
    return Request(job, (), dict(payload or {}), options, target)
