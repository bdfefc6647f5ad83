"""Editing jobs that are stored: their bodies written anew, copies, and the times of a change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from jobs import keys, registry
from jobs.codec import (
    MAX_BODY_BYTES,
    Body,
    Deserializer,
    Serializer,
    decode_body,
    encode_body,
    rebind_body,
)
from jobs.durations import Duration, to_ms, until_ms
from jobs.errors import InvalidOption
from jobs.ids import new_id
from jobs.options import JobOptions
from jobs.requests import Prepared
from jobs.sender import Sender
from jobs.states import TERMINAL, State
from jobs.store.queue import NEW_ID, Entry, Flow
from jobs.store.record import Flow as StoredFlow
from jobs.store.show import StoredJob

#: All arguments of a job: by name, or as the one model that its function takes.
Payload = BaseModel | Mapping[str, Any]
#: Between a limit and the key of the jobs that it put aside, in the name of their group.
ASIDE = "\x02"


@dataclass(frozen=True, slots=True)
class Writer:
    """How a client writes jobs."""

    sender: Sender
    max_body_bytes: int = MAX_BODY_BYTES
    serializer: Serializer | None = None
    deserializer: Deserializer | None = None

    def forget(self, queue: str) -> None:
        """Put the queue on the list of queues again with the next job that goes there."""
        self.sender.forget(queue)


def with_payload(stored: StoredJob, payload: Payload, writer: Writer, job_id: str = "") -> bytes:
    """The body of a stored job with other arguments, for its own id or another.

    Raises:
        InvalidOption: the payload is neither a mapping nor a model.
        InvalidPayload: it does not fit the function, if that is known here.
        PayloadTooLarge: the encoded job is over the limit.
        UnreadableBody: nobody can say whose arguments these are.
    """
    body = decode_body(stored.id, stored.body, writer.deserializer)
    args, kwargs = _arguments(body, payload)
    return encode_body(
        job_id or stored.id,
        body.function,
        args,
        kwargs,
        body.options,
        limit=writer.max_body_bytes,
        serializer=writer.serializer,
    )


def _arguments(body: Body, payload: Payload) -> tuple[list[Any], Any]:
    if not isinstance(payload, BaseModel | Mapping):
        raise InvalidOption(
            f"a payload is a mapping of arguments or a model, not {type(payload).__name__}"
        )
    function = registry.functions.get(body.function)
    if function is None:
        return [], payload if isinstance(payload, BaseModel) else dict(payload)
    if isinstance(payload, BaseModel):
        return function.signature.wire([payload], {})
    return function.signature.wire([], payload)


def copy_of(  # noqa: PLR0913 -- the job, and all in which the copy may differ
    queue: str,
    stored: StoredJob,
    flow: StoredFlow,
    payload: Payload | None,
    job_id: str | None,
    when: tuple[int, int],
    writer: Writer,
) -> Prepared:
    """The request for a copy of a stored job.

    Raises:
        The same as `with_payload`, and InvalidOption for an id that cannot be one.
    """
    copy_id = new_id() if job_id is None else keys.check_job_id(job_id)
    if payload is None:
        body = rebind_body(copy_id, stored.body)
    else:
        body = with_payload(stored, payload, writer, copy_id)
    delay_ms, due_ms = (max(0, ms) for ms in when)
    group = flow.key if ASIDE in flow.group else flow.group
    entry = Entry(
        copy_id,
        body,
        stored.record.priority,
        delay_ms,
        due_ms,
        NEW_ID if job_id is None else 0,
        Flow(group=group, key=flow.key) if group or flow.key else None,
    )
    return Prepared(queue, entry, "return" if job_id is None else "raise", None)


def check_priority(priority: int | None) -> int:
    """A priority as the scripts take it, 0 for none.

    Raises:
        InvalidOption: it is no whole number from 1 to 1000.
    """
    return JobOptions(priority=priority).priority or 0


def moment(delay: Duration | None, run_at: datetime | None) -> tuple[int, int]:
    """(delay in ms, moment in ms) of a change; -1 stands for none.

    Raises:
        InvalidOption: both are given, or one that cannot be.
    """
    if delay is not None and run_at is not None:
        raise InvalidOption("give `delay` or `run_at`, not both")
    if run_at is not None:
        return -1, max(1, until_ms(run_at))
    return -1 if delay is None else max(0, to_ms(delay, allow_negative=True)), -1


def unchanged(queue: str, job_id: str, state: State) -> str:
    """Why a job in this state was not changed."""
    if state is State.parked:
        return (
            f"job {job_id!r} of queue {queue!r} is parked: it waits for a worker that knows its "
            "function, not for a time"
        )
    hint = "it can be retried with another payload" if state in TERMINAL else "cancel it first"
    return (
        f"job {job_id!r} of queue {queue!r} is {state}: only jobs that wait, are delayed or are "
        f"parked can be changed; {hint}"
    )
