"""What the fault tests share: seeds, producers that keep the ledger, and the final judgement."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from random import Random, SystemRandom
from typing import Any

from jobs import Client, Request, State
from jobs.errors import EnqueueUnknown, JobsError
from jobs.keys import queue_keys
from jobs.store.audit import audit
from jobs.store.show import minute_counters
from tests.helpers.ledger import Judgement, Ledger, judge
from tests.helpers.processes import QUEUE, Crew
from tests.helpers.waiting import wait_until

logger = logging.getLogger("tests.faults")

KEYS = queue_keys(QUEUE)
UNENDED = frozenset({State.waiting, State.delayed, State.active})


def random_of_this_run() -> Random:
    """Random numbers of a logged seed; `SEED=` in the environment replays it."""
    seed = int(os.environ.get("SEED") or SystemRandom().randrange(10**6))
    logger.warning("SEED=%d", seed)
    return Random(seed)


async def enqueue_work(
    client: Client, ledger: Ledger, number: int, ms: Callable[[], float], *, prefix: str = "j"
) -> None:
    """Enqueue jobs of some milliseconds each; the ledger hears what the producer was told."""
    requests = {
        f"{prefix}{n}": Request("work", kwargs={"ms": ms()}, options={"queue": QUEUE})
        for n in range(number)
    }
    await enqueue_noted(client, ledger, requests)


async def enqueue_noted(client: Client, ledger: Ledger, requests: dict[str, Request]) -> None:
    """Enqueue requests under their ids, a hundred a call."""
    ids = list(requests)
    for at in range(0, len(ids), 100):
        some = ids[at : at + 100]
        ledger.note_all("attempt", some)
        try:
            await client.enqueue_many([_with_id(requests[job_id], job_id) for job_id in some])
        except EnqueueUnknown:
            ledger.note_all("unknown", some)
        except JobsError:
            ledger.note_all("fail", some)
        else:
            ledger.note_all("ack", some)


def _with_id(request: Request, job_id: str) -> Request:
    options: Any = {"queue": QUEUE, **(request.options or {}), "id": job_id}
    return Request(request.function, request.args, request.kwargs, options)


async def counts(client: Client) -> dict[State, int]:
    """How many jobs of the queue are in each state; those with none left out."""
    found = await client.queue(QUEUE).counts()
    return {state: number for state, number in found.items() if number}


async def wait_settled(client: Client, timeout_s: float = 15.0) -> dict[State, int]:
    """Wait until no job waits or runs; the counts of then."""
    found: dict[State, int] = {}

    async def settled() -> bool:
        nonlocal found
        found = await counts(client)
        return not UNENDED & found.keys()

    await wait_until(settled, description="no job waits or runs", timeout=timeout_s, poll=0.02)
    return found


async def assert_all_is_well(
    client: Client, ledger: Ledger, *, most_duplicates: int | None = None, **expected: int
) -> Judgement:
    """Wait for rest; then the states are the expected ones, the judgement and the audit clean."""
    found = await wait_settled(client)
    states = {str(state): number for state, number in found.items()}
    assert states == expected, f"the queue holds {states}, expected {expected}"
    judgement = judge(ledger.read())
    problems = judgement.problems(most_duplicates=most_duplicates)
    assert not problems, f"{problems}: {judgement}"
    assert not (findings := await audit(client, KEYS)), "\n".join(findings)
    return judgement


async def wait_counts(client: Client, *, timeout_s: float = 10.0, **expected: int) -> None:
    """Wait until the states hold exactly so many jobs."""

    async def reached() -> bool:
        found = {str(state): number for state, number in (await counts(client)).items()}
        return found == expected

    await wait_until(
        reached, description=f"the queue holds {expected}", timeout=timeout_s, poll=0.02
    )


async def wait_done(crew: Crew, effects: float, *, timeout_s: float) -> None:
    """Wait until the ledger holds so many effects."""
    await wait_until(
        lambda: crew.ledger.count("effect") >= effects,
        description=f"{effects:.0f} jobs are done",
        timeout=timeout_s,
        poll=0.01,
    )


async def lost(client: Client) -> int:
    """How many deliveries were given up in this queue."""
    minutes = await minute_counters(client, KEYS, 0)
    return sum(counters.get("lost", 0) for counters in minutes.values())


async def wait_blocked(client: Client, number: int) -> None:
    """Wait until so many workers block on the wake-up list."""

    async def blocked() -> bool:
        clients = await client.client_list()
        return [entry["cmd"] for entry in clients].count("blpop") == number

    await wait_until(blocked, description=f"{number} workers block", timeout=10)
