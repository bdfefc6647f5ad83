"""A producer that may be killed at any time: `python -m benchmarks.safety_producer --url … `.

It enqueues its jobs in small calls and notes in the ledger what it was told. Started again, it
goes on at the first call without an answer, under the same ids; these stay taken for an hour, so
that a call which had arrived makes no second job.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from random import Random

import uvloop

from benchmarks.ledger import Ledger, read
from benchmarks.work_functions import QUEUE
from jobs import Client, Request
from jobs.options import EnqueueOptions

CALL = 10  # jobs in one call
SHORTEST_MS, LONGEST_MS = 10, 100


def wanted(prefix: str, number: int) -> list[Request]:
    """The jobs of one call, from the one of this number on: the same every time."""
    return [_request(f"{prefix}-{n}") for n in range(number, number + CALL)]


def _request(job_id: str) -> Request:
    ms = Random(job_id).uniform(SHORTEST_MS, LONGEST_MS)
    options: EnqueueOptions = {"queue": QUEUE, "id": job_id, "id_ttl": "1h"}
    return Request("storm", (ms,), options=options)


async def produce(url: str, path: Path, prefix: str, jobs: int) -> None:
    """Enqueue what is missing."""
    mine = {e.job_id for e in read(path) if e.kind == "ack" and e.job_id.startswith(f"{prefix}-")}
    ledger = Ledger(path)
    async with Client.connect(url) as client:
        for number in range(0, jobs, CALL):
            ids = [f"{prefix}-{n}" for n in range(number, number + CALL)]
            if not mine.issuperset(ids):
                ledger.note_all("attempt", ids)
                await client.enqueue_many(wanted(prefix, number))
                ledger.note_all("ack", ids)


def main() -> None:
    """Produce as the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--jobs", type=int, required=True)
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(produce(given.url, given.ledger, given.prefix, given.jobs))


if __name__ == "__main__":
    main()
