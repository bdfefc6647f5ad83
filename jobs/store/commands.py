"""What workers are asked to do from outside: messages on the control channels of their queues."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from jobs.errors import InvalidOption, did_you_mean
from jobs.store._script import AsyncCommands

#: Where a request to cancel has the length of a job's id; no id is so long.
_COMMAND = b"\xff\xff"
EVERY_WORKER = "*"


class Wish(StrEnum):
    """What a worker can be asked to do."""

    quiet = "quiet"  #: claim nothing more, go on with what runs
    resume = "resume"  #: claim again
    stop = "stop"  #: end as after SIGTERM
    concurrency = "concurrency"  #: run so many jobs of a queue at once


class Command(NamedTuple):
    """A wish to one worker, or to all of a queue (`EVERY_WORKER`), with its values."""

    worker: str
    wish: Wish
    values: dict[str, Any]


def check_resize(limit: object, queue: str | None, queues: Iterable[str]) -> list[str]:
    """The queues whose concurrency is to be `limit`: one, or all.

    Raises:
        InvalidOption: no such queue is served, or the limit is not a whole number from 1.
    """
    if type(limit) is not int or limit < 1:
        raise InvalidOption(f"`concurrency` is a whole number of 1 or more, not {limit!r}")
    names = list(queues)
    if queue is not None and queue not in names:
        raise InvalidOption(
            f"this worker does not serve the queue {queue!r}{did_you_mean(queue, names)}; "
            f"it serves {', '.join(names)}"
        )
    return names if queue is None else [queue]


async def send_command(client: AsyncCommands, channel: str, command: Command) -> int:
    """Tell a command to the workers of the channel's queue; how many heard it."""
    message = _COMMAND + to_json({"worker": command.worker, "wish": command.wish, **command.values})
    return int(await client.execute_command("PUBLISH", channel, message))


def read_command(message: bytes) -> Command | None:
    """The command in a message of the control channel; `None` for a request to cancel."""
    if not message.startswith(_COMMAND):
        return None
    values = from_json(message[len(_COMMAND) :])
    return Command(values.pop("worker"), Wish(values.pop("wish")), values)
