"""Which functions are subscribed to which application events, for producers without their code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jobs.keys import subscribed_events_key, subscribers_key
from jobs.store._script import AsyncCommands


async def subscribe(
    client: AsyncCommands, prefix: str, functions: Mapping[str, tuple[str, Sequence[str]]]
) -> None:
    """Note the subscriptions of these functions, and forget those that they had before.

    Args:
        client: the server.
        prefix: first part of every key.
        functions: by name, the queue of each and the events that it is subscribed to.
    """
    wanted = {event for _, events in functions.values() for event in events}
    if wanted:
        await client.execute_command("SADD", subscribed_events_key(prefix), *sorted(wanted))
    known = await client.execute_command("SMEMBERS", subscribed_events_key(prefix))
    for event in sorted(name.decode() for name in known):
        key = subscribers_key(event, prefix)
        mine = {name: queue for name, (queue, events) in functions.items() if event in events}
        if mine:
            pairs = [part for pair in mine.items() for part in pair]
            await client.execute_command("HSET", key, *pairs)
        if others := [name for name in functions if name not in mine]:
            await client.execute_command("HDEL", key, *others)


async def subscribers(client: AsyncCommands, prefix: str, event: str) -> dict[str, str]:
    """The functions that are subscribed to an event, with the queue of each."""
    flat = await client.execute_command("HGETALL", subscribers_key(event, prefix))
    pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
    return {name.decode(): queue.decode() for name, queue in pairs}
