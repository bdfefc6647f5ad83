"""The rules of limits as they are stored, and what holds their places."""

from __future__ import annotations

from collections.abc import Mapping

from jobs.keys import QueueKeys
from jobs.store._script import MAX_ITEMS, AsyncCommands, script

#: Instead of ms of ageing: leave it as it is.
SAME_AGEING = -1


async def write_rules(
    client: AsyncCommands,
    keys: QueueKeys,
    rules: Mapping[str, str],
    *,
    ageing_ms: int = SAME_AGEING,
    now_ms: int = 0,
) -> int:
    """Set the rules of scopes, "" to take them away; how many are other than before.

    Scopes and rules are those of lua/lib/gates.lua: `q` the queue, `k` each key, `f:<function>`,
    `fk:<function>` each key of a function; `c3`, `r30/1000`, `o`, shared ones with `@name`.
    """
    flat = [text for pair in rules.items() for text in pair]
    changed = 0
    for at in range(0, max(1, len(flat)), 2 * MAX_ITEMS):
        args = (now_ms, ageing_ms)
        changed += await script("limit")(client, keys, args, flat[at : at + 2 * MAX_ITEMS])
    return changed


async def read_rules(client: AsyncCommands, keys: QueueKeys) -> dict[str, str]:
    """The rules of every scope that has some, and `p:<function>` -> why it is paused."""
    flat = await client.execute_command("HGETALL", keys.limits)
    pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
    return {scope.decode(): text.decode() for scope, text in pairs}
