"""What a call does when another job has the id or the unique key that it asks for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pydantic_core import to_json

from jobs import clock
from jobs.codec import rebind_body
from jobs.errors import DuplicateJob
from jobs.keys import QueueKeys, control_channel
from jobs.options import FRAMEWORK_DEFAULTS, Keep
from jobs.requests import Prepared
from jobs.states import State
from jobs.store import control
from jobs.store._script import AsyncCommands
from jobs.store.queue import Added, Flow, Once

#: A job may move on between two looks at it; after so many it is left as it is.
TRIES = 5

#: Sends one request again; what became of it.
Send = Callable[[Prepared], Awaitable[Added]]


async def settle(  # noqa: PLR0913 -- where, what, and how to send it again
    client: AsyncCommands, keys: QueueKeys, prefix: str, item: Prepared, answer: Added, send: Send
) -> Added:
    """Do what the request wants done about the other job; what became of the request at last.

    Raises:
        DuplicateJob: it wants an error.
    """
    for _ in range(TRIES):
        if answer is Added.added or answer is Added.taken:
            return answer
        if item.on_conflict == "replace":
            found = await _replace(client, keys, item)
        elif item.on_conflict == "cancel":
            found = await _cancel(client, keys, prefix, item)
        else:
            break
        if not found:
            break
        answer = await send(item)
    if item.on_conflict == "raise":
        unique = item.entry.flow.unique if item.holder and item.entry.flow else None
        raise DuplicateJob(item.queue, item.job_id, unique)
    return answer


async def _replace(client: AsyncCommands, keys: QueueKeys, item: Prepared) -> bool:
    """Give the waiting job this payload and time; whether it is worth to send the request again."""
    entry, flow = item.entry, item.entry.flow or Flow()
    waits_for_quiet = flow.once is Once.trailing and bool(item.holder)
    delay_ms = flow.once_ms if waits_for_quiet else entry.delay_ms
    changed = await control.change(
        client,
        keys,
        item.job_id,
        own=flow.unique if item.holder else "",
        body=rebind_body(item.job_id, entry.body),
        priority=entry.priority,
        due_ms=entry.due_ms,
        delay_ms=delay_ms or -1,
        most_ms=flow.most_ms if waits_for_quiet else 0,
    )
    if changed.done:
        return False
    return changed.state is not State.active or flow.once in (Once.trailing, Once.following)


async def _cancel(client: AsyncCommands, keys: QueueKeys, prefix: str, item: Prepared) -> bool:
    """Cancel the job in the way, and have the request follow it if it must be asked to stop."""
    reason = f"replaced by {item.entry.id}"
    found = await control.cancel(
        client,
        keys,
        item.job_id,
        channel=control_channel(item.queue, prefix),
        keep=(FRAMEWORK_DEFAULTS.keep_completed or Keep()).limits(),
        line=to_json({"outcome": "cancelled", "reason": reason, "at": clock.now_ms()}),
    )
    if found is State.active:
        if not item.holder or item.entry.flow is None:
            return False
        item.entry = item.entry._replace(flow=item.entry.flow._replace(once=Once.following))
    return True
