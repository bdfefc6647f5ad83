"""`doctor`: looks for what will go wrong, and says how to repair it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from time import perf_counter, time
from typing import TYPE_CHECKING, Any

from jobs.cli.codes import Code
from jobs.cli.context import PROGRAM, Cli
from jobs.errors import JobsError

if TYPE_CHECKING:
    from jobs import Client
    from jobs.cli.application import Application

PINGS = 100
#: More than this and delays, schedules and logs are visibly off.
CLOCK_WARN_MS = 500
PING_WARN_MS = 20


@dataclass(frozen=True)
class Check:
    """One finding: OK, WARN or FAIL, why, and what to do."""

    level: str
    topic: str
    text: str
    repair: str = ""


def doctor(cli: Cli) -> int:
    """Check the application, the server and the surroundings; exit 1 if something fails."""
    app, code = _code(cli)
    checks = [*code, *_server(cli, app), *_surroundings()]
    if cli.json:
        cli.document(ok=_ok(checks), checks=[asdict(check) for check in checks])
    else:
        cli.table(["", "check", "finding", "repair"], [_row(check) for check in checks])
    return Code.ok if _ok(checks) else Code.failed


def _ok(checks: list[Check]) -> bool:
    return all(check.level != "FAIL" for check in checks)


def _row(check: Check) -> list[object]:
    return [check.level, check.topic, check.text, check.repair]


# -- code --------------------------------------------------------------------------------


def _code(cli: Cli) -> tuple[Application | None, list[Check]]:
    from jobs.cli import application

    try:
        app = application.load(cli)
    except JobsError as error:
        hint = getattr(error, "hint", "")
        return None, [Check("FAIL", "application", str(error), hint)]
    if not app.functions:
        text = f"{cli.app} has no functions"
        return app, [Check("WARN", "application", text, "list them in `functions`")]
    text = f"{cli.app}: {len(app.functions)} jobs in {len(app.queues)} queues"
    return app, [Check("OK", "application", text)]


# -- server ------------------------------------------------------------------------------


def _server(cli: Cli, app: Application | None) -> list[Check]:
    from jobs.cli.server import find_server, talk

    try:
        source = find_server(cli, app).source
        return talk(cli, app, lambda client: _look(client, source))
    except JobsError as error:
        repair = getattr(error, "hint", "") or "start it, or set REDIS_URL"
        return [Check("FAIL", "server", str(error), repair)]


async def _look(client: Client, source: str) -> list[Check]:
    from jobs.server_check import check_server, read_server

    info = await read_server(client)
    checks = [Check("OK", "server", f"{client.address} answers (from {source})")]
    checks += [Check(f.level.upper(), f.topic, f.text) for f in check_server(info)]
    looks: list[Callable[[Client], Awaitable[list[Check]]]] = [_clock, _ping, _memory, _queues]
    for look in looks:
        checks += await look(client)
    return checks


async def _clock(client: Client) -> list[Check]:
    before = time()
    seconds, micros = await client.time()
    offset_ms = (seconds + micros / 1e6 - (before + time()) / 2) * 1000
    text = f"the server's clock is {offset_ms:+.0f} ms from ours"
    if abs(offset_ms) > CLOCK_WARN_MS:
        return [Check("WARN", "clock", text, "keep both machines in time with NTP")]
    return [Check("OK", "clock", text)]


async def _ping(client: Client) -> list[Check]:
    times = []
    for _ in range(PINGS):
        began = perf_counter()
        await client.ping()
        times.append((perf_counter() - began) * 1000)
    times.sort()
    p50, p99 = times[PINGS // 2], times[PINGS - 2]
    text = f"p50 {p50:.2f} ms, p99 {p99:.2f} ms over {PINGS} pings"
    if p50 > PING_WARN_MS:
        return [Check("WARN", "round trip", text, "put workers and server into one network")]
    return [Check("OK", "round trip", text)]


async def _memory(client: Client) -> list[Check]:
    info: dict[str, Any] = await client.info("memory")
    used = info.get("used_memory_human", "?")
    if not int(info.get("maxmemory", 0)):
        text = f"{used} used, no limit (maxmemory)"
        return [Check("OK", "memory", text)]
    return [Check("OK", "memory", f"{used} used of {info.get('maxmemory_human')}")]


async def _queues(client: Client) -> list[Check]:
    from jobs.states import State

    checks: list[Check] = []
    for name in await client.queues():
        view = client.queue(name)
        counts, workers = await view.counts(), await view.workers()
        work = sum(counts[s] for s in (State.waiting, State.delayed, State.active))
        topic = f"queue {name}"
        if work and not workers:
            text = f"{work} jobs and no live worker"
            checks.append(Check("WARN", topic, text, f"{PROGRAM} worker --queues {name}"))
        elif counts[State.parked]:
            text = f"{counts[State.parked]} jobs that no worker knows or can read"
            checks.append(Check("WARN", topic, text, f"{PROGRAM} list --state parked"))
        else:
            text = f"{work} jobs, {len(workers)} workers, {counts[State.failed]} dead letters"
            checks.append(Check("OK", topic, text))
    return checks


# -- surroundings ------------------------------------------------------------------------


def _surroundings() -> list[Check]:
    python = ".".join(map(str, sys.version_info[:3]))
    return [Check("OK", "python", python), *_uvloop(), *_shell()]


def _uvloop() -> list[Check]:
    if sys.platform == "win32" or find_spec("uvloop"):
        return [Check("OK", "event loop", "uvloop" if find_spec("uvloop") else "asyncio")]
    text = "uvloop is not installed: workers run on asyncio's loop, slower by a third"
    return [Check("WARN", "event loop", text, 'pip install "arq-jobs[uvloop]"')]


def _shell() -> list[Check]:
    """`jobs` is a builtin of every shell and wins over the script (yshui/job-security#3)."""
    shell = os.environ.get("SHELL", "").rpartition("/")[2]
    if shutil.which("jobs") is None or shell not in {"bash", "zsh", "fish", "sh", "dash", "ksh"}:
        return [Check("OK", "shell", f"{PROGRAM} works in every shell")]
    text = f"in {shell}, `jobs` is the shell's own builtin, not this program"
    known = shell if shell in {"bash", "zsh", "fish"} else "bash"
    return [Check("WARN", "shell", text, f'{PROGRAM}, or: eval "$({PROGRAM} shell-init {known})"')]
