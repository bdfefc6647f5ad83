"""Queues as one should not write them, to prove that the judgement finds what they do.

`python -m tests.faults.naive pop|lease <url> <ledger>`: `pop` takes ten jobs at a time and
forgets them when it dies; `lease` hands a job out again after 60 ms, renewed by nobody, checked
by nobody. It uses nothing of the package under test.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import redis

from tests.helpers.ledger import Ledger

JOB_S = 0.02
LEASE_S = 0.06
BATCH = 10


def run(ledger: Ledger, job_id: str, token: int) -> None:
    """One job."""
    for kind in ("start", "effect"):
        ledger.note(kind, job_id, token)
    time.sleep(JOB_S)
    ledger.note("finish", job_id, token)
    ledger.note("written", job_id, token)


def pop(client: Any, ledger: Ledger) -> None:
    """Takes jobs out of the queue before they ran."""
    while True:
        for job_id, _ in client.zpopmin("ready", BATCH):
            run(ledger, job_id.decode(), 1)


def lease(client: Any, ledger: Ledger) -> None:
    """Takes ten jobs, each for 60 ms, and works on them for 200 ms."""
    while True:
        now = time.time()
        jobs = client.zrangebyscore("ready", 0, now, start=0, num=BATCH)
        if not jobs:
            continue
        client.zadd("ready", dict.fromkeys(jobs, now + LEASE_S))
        for job_id in jobs:
            run(ledger, job_id.decode(), int(client.incr("token")))
        client.zrem("ready", *jobs)


if __name__ == "__main__":
    kind, url, path = sys.argv[1:]
    book = Ledger(Path(path))
    book.note("up", "-")
    {"pop": pop, "lease": lease}[kind](redis.Redis.from_url(url), book)
