"""What control tells in the event stream, under BullMQ's names (A93, A94, A95, A97, B75, B152)."""

from __future__ import annotations

from typing import Any

from jobs import Client
from jobs.keys import queue_keys
from jobs.store import control, events
from tests.features.conftest import Work
from tests.helpers.keyspace import untyped


async def told(client: Client) -> list[tuple[str, str, bytes]]:
    """Everything in the stream of the default queue: name, job, data."""
    entries: Any = await untyped(client).xrange(queue_keys("default").events)
    return [
        (one.name, one.job_id, one.data)
        for entry_id, fields in entries
        for one in events.unpack(entry_id, [part for pair in fields.items() for part in pair])
    ]


async def test_a93_to_b152_control_is_told(client: Client, work: Work) -> None:
    queue = client.queue()
    await queue.keep_events("1h")
    await client.enqueue("f", id="a", delay="1h")
    await client.enqueue("f", id="b")
    before = len(await told(client))
    await queue.pause("why")
    await queue.pause(functions=["f"])
    await queue.resume(functions=["f"])
    await queue.resume()
    await queue.promote(["a"])
    await queue.remove(["a"])
    await queue.drain()
    await client.enqueue("f", id="c")
    await queue.clean(state="waiting")
    heard = [one for one in (await told(client))[before:] if one[0] not in {"added", "waiting"}]
    assert heard == [
        ("paused", "", b""),
        ("paused", "", b'{"function":"f"}'),
        ("resumed", "", b'{"function":"f"}'),
        ("resumed", "", b""),
        ("promoted", "a", b""),
        ("removed", "a", b'{"prev":"waiting"}'),
        ("removed", "b", b'{"prev":"waiting"}'),
        ("drained", "", b""),
        ("removed", "c", b'{"prev":"waiting"}'),
        ("cleaned", "", b'{"count":1}'),
    ]


async def test_b75_a_change_of_time_is_told(client: Client) -> None:
    queue = client.queue()
    await queue.keep_events("1h")
    await client.enqueue("f", id="a")
    before = len(await told(client))
    keys = queue_keys("default")
    await control.change(client, keys, "a", due_ms=4_000_000_000_000)
    await control.change(client, keys, "a", due_ms=0)
    assert (await told(client))[before:] == [
        ("delayed", "a", b"4000000000000"), ("waiting", "a", b""),
    ]  # fmt: skip
