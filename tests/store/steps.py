"""A queue in the hands of a test: every script by a short name, at a time that the test chooses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from jobs.keys import QueueKeys, control_channel, queue_keys
from jobs.states import State
from jobs.store import control, queue, results, workers
from jobs.store._script import script
from jobs.store.queue import Ack, Added, Answer, Claimed, Entry, Limits, Turn, Verb
from jobs.store.record import HAS_HISTORY, SPAN, Record
from tests.helpers.keyspace import Dump, audit, changes, dump

NOW = 1_700_000_000_000
MINUTE = NOW // 60_000
LEASE = 30_000
#: The flags of a job whose history has begun.
BEGUN = HAS_HISTORY
FOREVER: Limits = (-1, -1, -1)
NOTHING: Limits = (0, -1, -1)


def score(priority: int, sequence: int) -> int:
    """The place in line of a waiting job."""
    return priority * SPAN + sequence


def record(priority: int = 3, token: int = 1, **others: Any) -> Record:
    """A record with these numbers and zeros."""
    fresh = Record(priority, token, 0, 0, 0, 0, 0.0, float(NOW))
    return fresh._replace(**others)


@dataclass
class Steps:
    """One queue, one worker's counter of requests, and the time."""

    client: Redis
    keys: QueueKeys = field(default_factory=lambda: queue_keys("q"))
    now: int = NOW
    _requests: dict[str, int] = field(default_factory=dict)

    # -- scripts ---------------------------------------------------------------------------

    async def add(self, *ids: str, priority: int = 3, again: bool = False, **options: Any) -> str:
        """Enqueue jobs whose body is `<id>`; the answers as one text."""
        entries = [Entry(i, f"<{i}>".encode(), priority, **options) for i in ids]
        return "".join(await self.put(entries, again=again))

    async def put(self, entries: Sequence[Entry], *, again: bool = False) -> list[Added]:
        """Enqueue these entries."""
        return await queue.enqueue(self.client, self.keys, entries, again=again, now_ms=self.now)

    async def step(self, worker: str = "w", *, request: int | None = None, **turn: Any) -> Answer:
        """One turn of a worker; `request` repeats an earlier one."""
        number = self._requests.get(worker, 0) + 1 if request is None else request
        self._requests[worker] = max(number, self._requests.get(worker, 0))
        values = {"lease_ms": LEASE, "want": 0} | turn
        return await queue.step(
            self.client, self.keys, Turn(worker, number, **values), now_ms=self.now
        )

    async def claim(self, want: int = 100, worker: str = "w", **turn: Any) -> list[Claimed]:
        """Claim jobs."""
        return (await self.step(worker, want=want, **turn)).jobs

    async def ack(self, *acks: Ack, worker: str = "w") -> str:
        """Write acks; one character each."""
        return (await self.step(worker, acks=acks)).accepted

    async def finish(self, job_id: str, verb: Verb = Verb.complete, **options: Any) -> str:
        """Claim what is next, which must be this job, and end its attempt."""
        (claimed,) = await self.claim(1)
        assert claimed.id == job_id
        return await self.ack(end(claimed, verb, **options))

    async def rescue(self, *ids: str, most_losses: int = 3, keep: Limits = FOREVER) -> str:
        """Take back these jobs by the deadlines that they have now; the fates as one text."""
        seen = await queue.oldest_leases(self.client, self.keys)
        return await self.rescue_seen(
            [(i, seen.get(i, 0)) for i in ids], most_losses=most_losses, keep=keep
        )

    async def rescue_seen(
        self, seen: Sequence[tuple[str, int]], *, most_losses: int = 3, keep: Limits = FOREVER
    ) -> str:
        """Take back jobs by the deadlines that were seen."""
        fates = await queue.rescue(
            self.client, self.keys, seen, most_losses=most_losses, keep=keep, line=b"lost",
            now_ms=self.now,
        )  # fmt: skip
        return " ".join(fates.values())

    async def cancel(
        self, job_id: str, line: bytes = b"stop", keep: Limits = FOREVER
    ) -> State | None:
        """Cancel one job."""
        channel = control_channel("q")
        return await control.cancel(
            self.client, self.keys, job_id, channel=channel, keep=keep, line=line, now_ms=self.now
        )

    async def retry(self, *ids: str) -> list[State | None]:
        """Make ended jobs wait again."""
        found: list[State | None] = []
        for job_id in ids:
            found += await control.retry(self.client, self.keys, {job_id: b""}, now_ms=self.now)
        return found

    async def remove(self, *ids: str, **which: Any) -> list[tuple[State | None, bool]]:
        """Remove jobs; (state, whether it was removed) of each."""
        found = await control.remove(
            self.client, self.keys, ids, line=b"gone", **which, now_ms=self.now
        )
        return [tuple(one) for one in found]  # type: ignore[misc]  # the two fields of `Removed`

    async def promote(self, *ids: str) -> list[State | None]:
        """Make delayed jobs wait now."""
        return await control.promote(self.client, self.keys, ids, now_ms=self.now)

    async def change(self, job_id: str, **changes: Any) -> control.Changed:
        """Edit one job; what is not given stays as it is."""
        return await control.change(self.client, self.keys, job_id, **changes, now_ms=self.now)

    async def unpark(self, *ids: str) -> int:
        """Make parked jobs wait again."""
        moved: int = await script("unpark")(self.client, self.keys, (self.now,), ids)
        return moved

    async def prune(self, cursor: str = "0") -> int:
        """Remove what is over its age; how many jobs were removed."""
        removed, _ = await queue.prune(self.client, self.keys, cursor=cursor, now_ms=self.now)
        return removed

    async def renew(self, *held: tuple[str, int]) -> str:
        """Renew leases through the asynchronous client, by the test's clock."""
        rest = [value for pair in held for value in pair]
        answer: bytes = await script("renew")(self.client, self.keys, (self.now, LEASE), rest)
        return answer.decode()

    async def watch(self, job_id: str, inbox: str = "in") -> tuple[State | None, bytes | None]:
        """Wait for a job: its state, and the last line if it has ended."""
        state, ended = await results.watch(self.client, self.keys, job_id, inbox)
        return state, ended and ended.line

    async def tick(self, instant: int, *, job_id: str = "", apart: int = 0) -> bool:
        """Fire one instant of the schedule `s`."""
        return await workers.tick(
            self.client, self.keys, schedule="s", instant_ms=instant, apart_ms=apart,
            job_id=job_id or f"s:{instant}", body=b"<s>", priority=3, now_ms=self.now,
        )  # fmt: skip

    # -- looks -----------------------------------------------------------------------------

    async def dump(self) -> Dump:
        """The whole keyspace of the queue."""
        return await dump(self.client, self.keys)

    async def changes(self, before: Dump) -> Dump:
        """What became different since `before`."""
        return await changes(self.client, self.keys, before)

    async def stats(self) -> dict[str, int]:
        """The counters of the current minute, without the histograms' sums."""
        found = (await self.dump()).get("stats", {})
        minute = f"{self.now // 60_000}:"
        return {
            name.removeprefix(minute): number
            for name, number in found.items()
            if name.startswith(minute)
        }

    async def assert_sound(self) -> None:
        """The audit finds nothing."""
        assert not await audit(self.client)


def end(
    claimed: Claimed,
    verb: Verb = Verb.complete,
    *,
    delay_ms: int = 0,
    keep: Limits = FOREVER,
    run_ms: int = 7,
    line: bytes = b"line",
    token: int | None = None,
) -> Ack:
    """The ack of a claimed job."""
    held = claimed.record.token if token is None else token
    return Ack(claimed.id, held, verb, delay_ms, keep, run_ms, line)
