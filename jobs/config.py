"""Where the server is: the environment, or a development server that runs in this folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from jobs.errors import ConfigurationError

#: Written by `arq-jobs dev`, so that commands in the same folder find its server.
DEV_SERVER_FILE = Path(".jobs") / "server.json"


class ServerUrl(NamedTuple):
    """The address of the server and the setting that it came from."""

    url: str
    source: str


def find_server_url() -> ServerUrl | None:
    """The configured server: `JOBS_REDIS_URL`, else `REDIS_URL`, else `REDIS_HOST` (with
    `REDIS_PORT` and `REDIS_PASSWORD`), else the development server of this folder.
    """
    for name in ("JOBS_REDIS_URL", "REDIS_URL"):
        if url := os.environ.get(name):
            return ServerUrl(url, name)
    if host := os.environ.get("REDIS_HOST"):
        port = os.environ.get("REDIS_PORT", "6379")
        password = os.environ.get("REDIS_PASSWORD")
        user = f":{quote(password, safe='')}@" if password else ""
        return ServerUrl(f"redis://{user}{host}:{port}", "REDIS_HOST")
    if url := _dev_server():
        return ServerUrl(url, str(DEV_SERVER_FILE))
    return None


def server_url() -> str:
    """The address of the configured server.

    Raises:
        ConfigurationError: no server is configured.
    """
    if found := find_server_url():
        return found.url
    raise ConfigurationError(
        "no Redis or Valkey server is configured: set REDIS_URL, for example "
        "REDIS_URL=redis://localhost:6379, or run `arq-jobs dev` in this folder for an embedded one"
    )


def _dev_server() -> str | None:
    try:
        entry = json.loads(DEV_SERVER_FILE.read_text(encoding="utf-8"))
        os.kill(int(entry["pid"]), 0)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(entry["url"])
