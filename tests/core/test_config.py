"""Where the server is: the order of the variables, and nothing connects before it must."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from jobs import Client
from jobs.config import DEV_SERVER_FILE, ServerUrl, find_server_url, server_url
from jobs.errors import ConfigurationError, ServerAway

VARIABLES = ("JOBS_REDIS_URL", "REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD")


@pytest.fixture(autouse=True)
def _nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_variable_of_this_package_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://second:1")
    assert find_server_url() == ServerUrl("redis://second:1", "REDIS_URL")
    monkeypatch.setenv("JOBS_REDIS_URL", "redis://first:1")
    assert find_server_url() == ServerUrl("redis://first:1", "JOBS_REDIS_URL")


def test_host_port_and_password_make_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_HOST", "redis.internal")
    assert server_url() == "redis://redis.internal:6379"
    monkeypatch.setenv("REDIS_PORT", "6380")
    monkeypatch.setenv("REDIS_PASSWORD", "p@ss/word")
    assert server_url() == "redis://:p%40ss%2Fword@redis.internal:6380"


def _announce(pid: int) -> None:
    DEV_SERVER_FILE.parent.mkdir()
    DEV_SERVER_FILE.write_text(json.dumps({"url": "redis://127.0.0.1:1", "pid": pid}))


def test_a_development_server_of_this_folder_is_found() -> None:
    _announce(os.getpid())
    assert find_server_url() == ServerUrl("redis://127.0.0.1:1", str(DEV_SERVER_FILE))


def test_one_that_is_gone_is_not() -> None:
    _announce(2**22 + 1)  # above Linux's and macOS's largest process id
    assert find_server_url() is None


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"url": 1, "pid": "x"}'])
def test_a_broken_announcement_counts_as_none(text: str) -> None:
    DEV_SERVER_FILE.parent.mkdir()
    DEV_SERVER_FILE.write_text(text)
    assert find_server_url() is None


def test_without_any_the_error_says_what_to_set() -> None:
    with pytest.raises(ConfigurationError, match=r"set REDIS_URL, for example .* `arq-jobs dev`"):
        Client.connect()


async def test_a_client_connects_when_it_is_first_used() -> None:
    client = Client.connect("redis://127.0.0.1:1")  # nobody listens there
    with pytest.raises(ServerAway, match=r"127\.0\.0\.1:1"):
        await client.enqueue("anything")
    await client.aclose()
