"""What a server must be to hold jobs: its version, role, eviction policy and persistence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from redis.asyncio import Redis

REDIS_FLOOR, VALKEY_FLOOR = (7, 0), (7, 2)


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact about the server.

    `level` is "ok", "warn" (works, with a risk) or "fail" (a worker refuses to start).
    """

    level: Literal["ok", "warn", "fail"]
    topic: str
    text: str


async def read_server(client: Redis) -> dict[str, Any]:
    """The server's own description, all sections in one."""
    info: dict[str, Any] = await client.info()
    return info


def check_server(info: Mapping[str, Any]) -> list[Finding]:
    """What a server's `INFO` says about its fitness, worst first in each topic."""
    return [_version(info), _role(info), _eviction(info), _persistence(info)]


def server_name(info: Mapping[str, Any]) -> str:
    """Kind and version, for people."""
    kind, version = _kind_and_version(info)
    return f"{kind} {'.'.join(map(str, version))}"


def _version(info: Mapping[str, Any]) -> Finding:
    kind, version = _kind_and_version(info)
    floor = VALKEY_FLOOR if kind == "Valkey" else REDIS_FLOOR
    name, least = server_name(info), f"Redis {_dots(REDIS_FLOOR)} or Valkey {_dots(VALKEY_FLOOR)}"
    if version[:2] < floor:
        return Finding("fail", "version", f"expected {least} or later, this is {name}: upgrade it")
    return Finding("ok", "version", name)


def _role(info: Mapping[str, Any]) -> Finding:
    if info.get("role") in ("slave", "replica"):
        text = "this is a read-only replica: point REDIS_URL at its primary"
        return Finding(
            "fail", "role", f"{text} ({info.get('master_host')}:{info.get('master_port')})"
        )
    return Finding("ok", "role", "primary")


def _eviction(info: Mapping[str, Any]) -> Finding:
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        return Finding(
            "fail",
            "eviction",
            f"maxmemory-policy is {policy!r}, which deletes jobs when memory is short: "
            "expected 'noeviction' (CONFIG SET maxmemory-policy noeviction)",
        )
    return Finding("ok", "eviction", "noeviction")


def _persistence(info: Mapping[str, Any]) -> Finding:
    if int(info.get("aof_enabled", 0)):
        return Finding("ok", "persistence", "append-only file")
    return Finding(
        "warn",
        "persistence",
        "no append-only file: a restart of the server loses what came after the last snapshot "
        "(appendonly yes)",
    )


def _kind_and_version(info: Mapping[str, Any]) -> tuple[str, tuple[int, ...]]:
    kind = "Valkey" if info.get("server_name") == "valkey" else "Redis"
    text = str(info.get("valkey_version") or info.get("redis_version") or "0")
    return kind, tuple(int(part) for part in text.split(".")[:3] if part.isdigit())


def _dots(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
