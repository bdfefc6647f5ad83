"""The dead letters of a queue in the order in which they came, for those who tell of each."""

from __future__ import annotations

from jobs.keys import QueueKeys
from jobs.store._script import MAX_ITEMS, AsyncCommands, script
from jobs.store.pages import Place, Row, row_of

_WIDTH = 5


async def untold(  # noqa: PLR0913 -- whose turn, for how long, and from where on
    client: AsyncCommands,
    keys: QueueKeys,
    *,
    worker: str,
    turn_ms: int,
    told: Place | None,
    begins: bool,
    now_ms: int = 0,
) -> tuple[list[Row], bool] | None:
    """The next letters, up to 100, oldest first; one worker at a time gets any.

    Args:
        client: where the queue is.
        keys: the queue's.
        worker: who asks.
        turn_ms: for so long nobody else gets any.
        told: all letters up to this place were told of; it is noted.
        begins: look at the letters of the last ten minutes once more.
        now_ms: the time of a test.

    Returns:
        (the letters, whether there may be more), or `None` while it is another worker's turn.
    """
    score, member = told or ("", b"")
    args = (now_ms, worker, turn_ms, score, member, int(begins))
    mine, *flat = await script("letters")(client, keys, args)
    if not mine:
        return None
    rows = [row_of("failed", *flat[at : at + _WIDTH]) for at in range(0, len(flat), _WIDTH)]
    return rows, len(rows) == MAX_ITEMS
