"""From a call of `enqueue` to an entry of the store: checked, validated, encoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from types import MappingProxyType
from typing import Any, NamedTuple

from jobs import clock, keys, registry
from jobs.asked import asked_of
from jobs.codec import MAX_BODY_BYTES, Serializer, encode_body, rebind_body
from jobs.durations import Duration, to_ms, until_ms
from jobs.errors import InvalidOption
from jobs.ids import new_id
from jobs.keyed import flow_for, policy_for
from jobs.options import FRAMEWORK_DEFAULTS, EnqueueOptions, JobOptions
from jobs.store._script import MAX_ITEMS
from jobs.store.queue import NEW_ID, Entry

#: Options of a call that say nothing of the time, the attempts and the id of its job.
_SHORT = frozenset({"queue", "key", "unique", "on_conflict"})


class Request(NamedTuple):
    """One job that somebody wants: a function by name, arguments, and options of the call.

    `target` is the function itself where the caller has it; otherwise the one that was last
    declared under the name, if any, says what the arguments must be.
    """

    function: str
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = MappingProxyType({})
    options: EnqueueOptions = EnqueueOptions()
    target: registry.Function | None = None


@dataclass(slots=True)
class Prepared:
    """A request that is ready to be sent."""

    queue: str
    entry: Entry
    on_conflict: str
    convert: Callable[[Any], Any] | None
    holder: str = ""  #: the job that has the unique key, once the server said so

    @property
    def generated(self) -> bool:
        """Whether its id was made here, not given by the caller."""
        return self.entry.id_ttl_ms == NEW_ID

    def rename(self) -> None:
        """Take another new id, since somebody else made the same one in the same millisecond."""
        job_id = new_id()
        self.entry = self.entry._replace(id=job_id, body=rebind_body(job_id, self.entry.body))

    @property
    def job_id(self) -> str:
        """The id of the job that stands for the request: its own, or that of another one."""
        return self.holder or self.entry.id


@dataclass(frozen=True, slots=True)
class Preparer:
    """Turns requests into entries by the settings of one client."""

    default_queue: str = keys.DEFAULT_QUEUE
    max_body_bytes: int = MAX_BODY_BYTES
    serializer: Serializer | None = None

    def prepare(self, request: Request, *, first_attempt: int = 1) -> Prepared:
        """The entry of a request.

        Raises:
            InvalidOption: an option that does not exist, or a value that it cannot take.
            InvalidPayload: the arguments do not fit the function.
            PayloadTooLarge: the encoded job is over the limit.
        """
        given: dict[str, Any] = dict(request.options)
        function = request.target or registry.functions.get(request.function)
        if function is None:
            args, kwargs = list(request.args), dict(request.kwargs)
        else:
            args, kwargs = function.signature.wire(request.args, request.kwargs)
        is_short = _SHORT.issuperset(given) and not (function and function.wire)
        asked, wire = (None, {}) if is_short else asked_of(given, function)
        if first_attempt > 1:
            wire["first_attempt"] = first_attempt
        job_id = keys.check_job_id(given["id"]) if "id" in given else new_id()
        body = encode_body(
            job_id,
            request.function,
            args,
            kwargs,
            wire,
            limit=self.max_body_bytes,
            serializer=self.serializer,
        )
        priority = _priority(asked, function)
        queue = (function and function.queue) or self.default_queue
        returns = function.signature.returns if function else None
        convert = returns.validate_python if returns else None
        if not given and (function is None or function.is_plain):
            entry = Entry(job_id, body, priority, 0, 0, NEW_ID, None)
            return Prepared(queue, entry, "return", convert)
        if "queue" in given:
            queue = keys.check_name(given["queue"] or queue)
        delay, due, ttl = (0, 0, NEW_ID) if is_short else (*_when(given), _id_ttl_ms(given))
        flow = flow_for(request.function, function, given, args, kwargs)
        entry = Entry(job_id, body, priority, delay, due, ttl, flow)
        return Prepared(queue, entry, policy_for(given, flow), convert)


def _priority(asked: JobOptions | None, function: registry.Function | None) -> int:
    own = function.options.priority if function else None
    return (asked and asked.priority) or own or FRAMEWORK_DEFAULTS.priority or 0


def _when(given: Mapping[str, Any]) -> tuple[int, int]:
    """(delay in ms, due moment in ms); 0 stands for none."""
    if "repeat" in given:
        raise InvalidOption("`repeat` makes a schedule: give it to `enqueue`, one in a call")
    delay, run_at = given.get("delay"), given.get("run_at")
    if delay is not None and run_at is not None:
        raise InvalidOption("give `delay` or `run_at`, not both")
    if run_at is not None:
        return 0, max(1, until_ms(run_at))
    return (0 if delay is None else max(0, to_ms(delay, allow_negative=True))), 0


def _id_ttl_ms(given: Mapping[str, Any]) -> int:
    if given.get("id_ttl") is None:
        return 0 if "id" in given else NEW_ID
    if "id" not in given:
        raise InvalidOption("`id_ttl` keeps an id taken, so it needs an `id`")
    return to_ms(given["id_ttl"], what="id_ttl")


def hundreds(requests: Iterable[Request]) -> Iterator[list[Request]]:
    """The requests, as many at a time as one call carries."""
    left = iter(requests)
    while chunk := list(islice(left, MAX_ITEMS)):
        yield chunk


def chunks(prepared: Iterable[Prepared]) -> Iterator[tuple[str, list[Prepared]]]:
    """Runs of up to 100 requests of one queue, in order."""
    chunk: list[Prepared] = []
    for item in prepared:
        if chunk and (item.queue != chunk[0].queue or len(chunk) == MAX_ITEMS):
            yield chunk[0].queue, chunk
            chunk = []
        chunk.append(item)
    if chunk:
        yield chunk[0].queue, chunk


def arq_options(
    job_id: str | None,
    queue: str | None,
    until: datetime | None,
    by: Duration | None,
    expires: Duration | None,
) -> EnqueueOptions:
    """arq's options of a call in our terms."""
    options = EnqueueOptions()
    if job_id is not None:
        options["id"] = job_id
    if queue is not None:
        options["queue"] = queue
    if until is not None:
        local = clock.system_zone()
        options["run_at"] = clock.from_ms(until_ms(until, what="_defer_until", naive_zone=local))
    if by is not None:
        options["delay"] = by
    if expires is not None and to_ms(expires, what="_expires") > 0:
        options["expires"] = expires
    return options
