"""`audit`: data that fits together, and data that does not."""

from __future__ import annotations

import redis

from jobs.keys import queue_keys
from tests.cli.conftest import Cli


def test_all_is_well(cli: Cli) -> None:
    cli("enqueue", "add", "1", "--id", "1")
    done = cli("audit")
    assert (done.code, done.out) == (0, "")
    assert "0 findings" in done.err


def test_a_job_without_its_body_is_found(cli: Cli, redis_url: str) -> None:
    cli("enqueue", "add", "1", "--id", "1")
    with redis.Redis.from_url(redis_url) as server:
        server.hdel(queue_keys("default").body, "1")
    done = cli("audit", "--json")
    assert done.code == 1
    (queue,) = (entry for entry in done.json["queues"] if entry["queue"] == "default")
    assert queue["findings"] == ["1 jobs in a state without a body: 1"]
    assert "in a state without a body" in cli("audit", "--queue", "default").out
