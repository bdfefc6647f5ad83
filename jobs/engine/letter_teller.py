"""Calls the function of a queue's dead letters: one job for each, whoever dies meanwhile."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha1

from jobs import registry
from jobs.engine.link import Link
from jobs.engine.upkeep import Upkeep
from jobs.errors import JobsError, PayloadTooLarge, ServerError
from jobs.keys import DEFAULT_QUEUE, MAX_ID_BYTES, QueueKeys
from jobs.operations.letters import DeadLetter
from jobs.options import EnqueueOptions
from jobs.requests import Request
from jobs.store.letters import untold
from jobs.store.pages import Place, Row

logger = logging.getLogger("jobs.worker")

LOOK_S = 1.0
#: After an error that will not go away by itself.
PAUSE_S = 30.0
#: A worker that dies is followed by another after this time.
TURN_MS = 5_000
#: The id of a call stays taken for so long, so that no letter is told of twice.
ID_TTL = "1d"
PREFIX = "dead:"
GOODBYE_S = 1.0


class LetterTeller(Upkeep):
    """Duties: 1. read the dead letters of each queue in their order, one worker at a time;
    2. enqueue one job of the queue's function for each, under an id made of the letter's;
    3. then note how far it came. Whoever dies between 2 and 3 is followed by one who repeats 2,
    and finds the ids taken.

    The jobs of these functions are told of to nobody when they fail themselves.
    """

    def __init__(
        self,
        link: Link,
        queues: Mapping[str, QueueKeys],
        *,
        worker: str,
        functions: Mapping[str, str],
        known: Mapping[str, registry.Function],
    ) -> None:
        super().__init__("letter teller", LOOK_S, link, {name: queues[name] for name in functions})
        self._worker = worker
        self._functions = functions
        self._known = known
        self._told: dict[str, Place | None] = {}

    async def run_once(self) -> int:
        """Tell of all that came since; how many letters these were."""
        told = 0
        for name, keys in self.queues.items():
            more = True
            while more:
                number, more = await self._tell(name, keys)
                told += number
        self.interval_s = LOOK_S
        return told

    async def stop(self) -> None:
        """End, and let the next worker begin at once."""
        await super().stop()
        for name, keys in self.queues.items():
            if name in self._told:
                with suppress(Exception):  # it begins all the same, a little later
                    async with asyncio.timeout(GOODBYE_S):
                        await self._ask(name, keys, turn_ms=0)

    async def failed(self, error: Exception) -> None:
        """What is not the server's will come again: it is said, and waited for longer."""
        if isinstance(error, JobsError) and not isinstance(error, ServerError):
            self.interval_s = PAUSE_S
            logger.error("dead letters are kept, but nobody can be told of them: %s", error)
            return
        await super().failed(error)

    async def _tell(self, queue: str, keys: QueueKeys) -> tuple[int, bool]:
        found = await self._ask(queue, keys)
        if found is None:
            self._told.pop(queue, None)  # whoever had the turn knows better
            return 0, False
        rows, more = found
        self._told.setdefault(queue, None)
        requests = self._requests(queue, rows)
        if requests:
            await self._enqueue(requests)
        if rows:
            self._told[queue] = rows[-1].place
        return len(requests), bool(rows) or more

    async def _ask(
        self, queue: str, keys: QueueKeys, *, turn_ms: int = TURN_MS
    ) -> tuple[list[Row], bool] | None:
        return await untold(
            self.link.lane,
            keys,
            worker=self._worker,
            turn_ms=turn_ms,
            told=self._told.get(queue),
            begins=queue not in self._told,
        )

    def _requests(self, queue: str, rows: Sequence[Row]) -> list[tuple[DeadLetter, Request]]:
        read = self.link.client.queue(queue).shelf.read
        infos = [read(row.job) for row in rows if row.job is not None]
        name = self._functions[queue]
        silent = {*self._functions.values()}
        letters = [
            DeadLetter.of(info, self._known.get(info.function))
            for info in infos
            if info.function not in silent and not info.id.startswith(PREFIX)
        ]
        return [(letter, self._request(name, letter)) for letter in letters]

    def _request(self, name: str, letter: DeadLetter) -> Request:
        function = self._known.get(name) or registry.functions.get(name)
        payload = letter.model_dump(mode="json", by_alias=True)
        place = (function and function.queue) or DEFAULT_QUEUE
        options = EnqueueOptions(id=call_id(letter), id_ttl=ID_TTL, queue=place)
        if function is not None and _takes_one(function):
            return Request(name, (payload,), {}, options, function)
        return Request(name, (), payload, options, function)

    async def _enqueue(self, pairs: Sequence[tuple[DeadLetter, Request]]) -> None:
        client = self.link.client
        try:
            await client.enqueue_many([request for _, request in pairs])
        except PayloadTooLarge:
            for letter, request in pairs:
                try:
                    await client.enqueue_one(request)
                except PayloadTooLarge:
                    short = letter.model_copy(update={"job_data": {}, "omitted": True})
                    await client.enqueue_one(self._request(request.function, short))


def call_id(letter: DeadLetter) -> str:
    """The id of the job that tells of a letter: the same whoever enqueues it."""
    at = round(letter.failed_at.timestamp() * 1000)
    name = f"{PREFIX}{letter.queue_name}:{letter.job_id}:{at}"
    if len(name.encode()) <= MAX_ID_BYTES:
        return name
    return PREFIX + sha1(name.encode(), usedforsecurity=False).hexdigest()


def _takes_one(function: registry.Function) -> bool:
    """Whether the function takes the letter as one plain argument."""
    if function.signature.model is not None:
        return False
    kinds = [parameter.kind for parameter in function.signature.parameters.parameters.values()]
    return len(kinds) == 1 and kinds[0] is not inspect.Parameter.VAR_KEYWORD
