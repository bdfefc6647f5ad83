"""Fixtures of every folder: real servers on free ports, and the search for leftovers."""

from __future__ import annotations

import inspect
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import Any

import pytest
from arq.connections import RedisSettings
from hypothesis import settings as hypothesis_settings
from redis.asyncio import Redis

from jobs import JobFunction, registry
from tests.helpers.leaks import (
    assert_no_child_left,
    assert_no_task_left,
    assert_no_thread_left,
    children,
    own_threads,
)
from tests.helpers.servers import MakeServer, Server, server_kinds, servers, shared_server

# A shell starts what runs in its background with SIGINT ignored, and children inherit that: tests
# of Ctrl-C would wait for programs that never hear of it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Deadlines measure the machine, not the code. In CI the examples are the same on every run.
hypothesis_settings.register_profile("local", deadline=None)
hypothesis_settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis_settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(autouse=True)
def _nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a task, a child process or a `jobs-…` thread running.

    Autouse fixtures are set up first and so ended last: what other fixtures end is not blamed.
    """
    if {"server", "redis_url"} & set(request.fixturenames):
        request.getfixturevalue("server")  # shared by the session, so started before the count
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        request.getfixturevalue("_no_task_left_behind")
    children_before, threads_before = children(), own_threads()
    yield
    assert_no_thread_left(known=threads_before)
    assert_no_child_left(known=children_before)


@pytest.fixture(autouse=True)
def _functions_as_before(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test declares with `@job` is not found by name in the next one, and what the files of
    other tests declare is not found at all.
    """
    before = dict(registry.functions)
    for name, function in before.items():
        if not _is_visible(function, request.module):
            del registry.functions[name]
    # The file of another test, or what it imports, may have declared one of the same name later.
    registry.functions.update(_own_functions(request.module))
    yield
    # A module of the package that was imported meanwhile declares its functions only once.
    found = registry.functions.items()
    own = {name: f for name, f in found if f.call.__module__.startswith("jobs.")}
    registry.functions.clear()
    registry.functions.update(own | before)


def _own_functions(module: ModuleType) -> dict[str, registry.Function]:
    """The functions by name that a file of tests means: its own, those that stand beside it, and
    for the pages those of the catalog.
    """
    folder = "jobs.catalog" if module.__package__ == "tests.docs" else module.__package__
    beside = [
        found
        for name, found in sys.modules.items()
        if name.rpartition(".")[0] == folder and not name.startswith(f"{folder}.test_")
    ]
    values = [value for found in (*beside, module) for value in vars(found).values()]
    return {value.name: value.function for value in values if isinstance(value, JobFunction)}


def _is_visible(function: registry.Function, module: ModuleType) -> bool:
    """Whether a function belongs to the package, to the helpers, or to what the test imports."""
    home = function.call.__module__
    folder, _, file = home.rpartition(".")
    if home == module.__name__ or not home.startswith(("tests.", "benchmarks.")):
        return True
    if folder == "tests.helpers" or (folder == module.__package__ and not file.startswith("test_")):
        return True
    return any(getattr(value, "function", None) is function for value in vars(module).values())


@pytest.fixture
async def _no_task_left_behind() -> AsyncIterator[None]:
    yield
    await assert_no_task_left()


@pytest.fixture(scope="session", params=server_kinds())
def server_kind(request: pytest.FixtureRequest) -> str:
    """The kind of server under the tests; see tests/helpers/servers.py."""
    kind: Any = request.param
    return str(kind)


@pytest.fixture(scope="session")
def server(server_kind: str) -> Iterator[Server]:
    """The server shared by the tests of this process: never stop, kill or reconfigure it."""
    with shared_server(server_kind) as running:
        yield running


@pytest.fixture
def redis_url(server: Server) -> str:
    """The address of the shared server, emptied for this test."""
    server.flush()
    return server.url


@pytest.fixture
def redis_settings(redis_url: str) -> RedisSettings:
    """The same as arq's settings."""
    return RedisSettings.from_dsn(redis_url)


@pytest.fixture
async def redis_client(redis_url: str) -> AsyncIterator[Redis]:
    """A plain client of the emptied shared server; answers are bytes."""
    async with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def make_server(server_kind: str) -> Iterator[MakeServer]:
    """A factory of private servers, for tests that kill, pause or reconfigure them.

    `make_server()` lives in memory; `make_server(tmp_path, persistent=True)` comes back with its
    data after `kill()` and `start()`.
    """
    with servers(server_kind) as make:
        yield make


@pytest.fixture
def second_server(make_server: MakeServer) -> Server:
    """A private server beside the shared one."""
    return make_server()
