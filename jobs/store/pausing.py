"""Whether a queue gives out jobs: the pause of all of them, and of single functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pydantic_core import from_json

from jobs.keys import QueueKeys
from jobs.store._script import AsyncCommands, script

#: Before the name of a paused function, among the rules of limits.
PAUSED = "p:"


class Note(NamedTuple):
    """Why something is paused, and since when by the server's clock."""

    reason: str
    at_ms: int


async def pause(
    client: AsyncCommands,
    keys: QueueKeys,
    functions: Sequence[str],
    reason: str,
    *,
    now_ms: int = 0,
) -> list[bool]:
    """Pause functions, or the whole queue where none is named; whether each was paused before."""
    were = await script("pause")(client, keys, (now_ms, 0, reason), functions)
    return list(map(bool, were))


async def resume(
    client: AsyncCommands, keys: QueueKeys, functions: Sequence[str], *, now_ms: int = 0
) -> list[bool]:
    """Resume them; whether each was paused. Nothing is done unless all were."""
    were = await script("pause")(client, keys, (now_ms, 1, ""), functions)
    return list(map(bool, were))


async def pauses(client: AsyncCommands, keys: QueueKeys) -> dict[str, Note]:
    """What is paused: function -> why; the whole queue stands under the empty name."""
    paused = await client.execute_command("HGET", keys.config, "paused")
    flat = await client.execute_command("HGETALL", keys.limits)
    pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
    scopes = {scope.decode(): text for scope, text in pairs}
    found = {"": paused} if paused else {}
    found |= {s.removeprefix(PAUSED): t for s, t in scopes.items() if s.startswith(PAUSED)}
    return {name: read_note(text) for name, text in found.items()}


def read_note(text: bytes) -> Note:
    """The reason as `pause` writes it; any other text is the reason itself."""
    try:
        document = from_json(text)
        return Note(str(document["reason"]), int(document["at"]))
    except (KeyError, TypeError, ValueError):
        return Note(text.decode(errors="replace"), 0)
