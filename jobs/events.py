"""The words of the event stream: names, one event, and events of an application's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic_core import PydanticSerializationError, to_json

from jobs import clock
from jobs.durations import Duration, to_ms
from jobs.errors import InvalidOption, did_you_mean
from jobs.keys import QueueKeys
from jobs.store import events as store
from jobs.store._script import AsyncCommands

#: What is told by itself; BullMQ's names where it has one.
EVENTS = (
    "added", "waiting", "delayed", "active", "progress", "log", "completed", "failed",
    "retries-exhausted", "cancelled", "expired", "stalled", "parked", "drained", "paused",
    "resumed", "promoted", "removed", "cleaned", "duplicated", "deduplicated", "error", "gap",
)  # fmt: skip
#: Names of an application's own events have a dot, so that they never meet one of ours.
_OWN_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+")
#: Largest data of an application's own event.
MAX_DATA_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class QueueEvent:
    """Something that happened in a queue.

    Attributes:
        name: one of `jobs.events.EVENTS`, or an application's own name, which has a dot.
        queue: where.
        job_id: of the job that it is about; empty for what concerns the queue.
        at: when, by the server's clock.
        id: resumes behind this event: `client.events(queue, since=event.id)`.
        data: more of it: the entry of the job's history (`outcome`, `attempt`, `result`,
            `error` …) where an attempt ended, `{"progress": …}`, `{"function": …}` for `added`,
            `{"due_ms": …}` for `delayed`. Data of more than 16 KiB is left out: `{"large": size}`.
    """

    name: str
    queue: str
    job_id: str
    at: datetime
    id: str
    data: dict[str, Any] = field(default_factory=dict)


def check_event(name: str) -> str:
    """`name`, if events can be called so: one of ours, or an application's own with a dot.

    Raises:
        InvalidOption: it is neither.
    """
    if name in EVENTS or _OWN_NAME.fullmatch(str(name)):
        return name
    raise InvalidOption(
        f"there is no event {name!r}{did_you_mean(str(name), EVENTS)}; the events are "
        f"{', '.join(EVENTS)}, and names of your own have a dot: 'shop.order-paid'"
    )


async def publish(
    client: AsyncCommands, keys: QueueKeys, name: str, data: Mapping[str, Any] | None, job_id: str
) -> str | None:
    """Write an event of the application's own into a queue's stream; its id, `None` if nobody
    listens.

    Raises:
        InvalidOption: the name has no dot, or the data is no JSON or too large.
    """
    if name in EVENTS or not _OWN_NAME.fullmatch(name):
        raise InvalidOption(
            f"an event of your own has letters, digits, - and _ in its name, and a dot that tells "
            f"it from ours: 'shop.order-paid', not {name!r}"
        )
    try:
        packed = to_json(dict(data or {}))
    except PydanticSerializationError as error:
        raise InvalidOption(f"the data of an event is JSON: {error}") from None
    if len(packed) > MAX_DATA_BYTES:
        raise InvalidOption(
            f"the data of an event has at most {MAX_DATA_BYTES:,} bytes, this has {len(packed):,}"
        )
    number = await store.emit(client, keys, name, job_id, packed)
    return str(number) if number else None


async def keep_events(client: AsyncCommands, keys: QueueKeys, for_: Duration | None) -> datetime:
    """Have events of a queue written for a time, `None` for ever; until when they are."""
    for_ms = -1 if for_ is None else to_ms(for_, what="for_")
    stand = await store.listen(client, keys, for_ms, exact=True)
    return clock.from_ms(stand.until_ms)
