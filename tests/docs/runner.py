"""Runs one page as its reader would, in a project of its own; see tests/helpers/docs.py."""

from __future__ import annotations

import ast
import asyncio
import configparser
import contextlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from inspect import isawaitable
from pathlib import Path
from typing import Any, Self

from jobs import Client, RedisSettings, Worker
from tests.helpers.docs import Block, commands, missing, targets
from tests.helpers.source import ROOT
from tests.helpers.waiting import wait_until

#: What a program that stays says when it is up.
UP = re.compile(r"serves|Uvicorn running on")
COMMAND_S = 60


class Page:
    """The reader of one page.

    Args:
        project: the folder in which the reader works; a copy of the repository's own settings
            and examples is put there.
        url: the server.
    """

    def __init__(self, project: Path, url: str) -> None:
        self.project = project
        self.url = url
        self.printed = ""
        self._warm: asyncio.subprocess.Process | None = None
        self.stack = AsyncExitStack()
        self.port = free_port()
        self.names: dict[str, Any] = {"__name__": "__docs__"}
        shutil.copy(ROOT / "settings.py", project)
        shutil.copytree(ROOT / "examples", project / "examples", dirs_exist_ok=True)

    async def __aenter__(self) -> Self:
        client = await self.stack.enter_async_context(Client.connect(self.url))
        self.names |= {"client": client, "work": self.work, "page": self, "stack": self.stack}
        sys.path.insert(0, str(self.project))
        return self

    async def __aexit__(self, *_: object) -> None:
        sys.path.remove(str(self.project))
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", "") or "").startswith(str(self.project)):
                del sys.modules[name]
        await self.stack.aclose()

    async def run(self, block: Block) -> None:
        """Do what one block says."""
        runners: dict[str, Callable[[Block], Any]] = {
            "python": self._python,
            "hidden": self._python,
            "sh": self._shell,
            "text": self._compare,
            "dotenv": self._write,
            "json": lambda block: json.loads(block.text),
            "ini": _parse_ini,
            "mermaid": lambda _: None,
        }
        done = runners[block.language](block)
        if isawaitable(done):
            await done

    async def work(self, *functions: Any, **options: Any) -> Worker:
        """A worker in this process until the end of the page; for hidden Python."""
        settings = RedisSettings.from_dsn(self.url)
        worker = Worker(
            functions,
            redis_settings=settings,
            handle_signals=False,
            **({"job_completion_wait": 0} | options),
        )
        task = asyncio.create_task(worker.async_run())

        async def end() -> None:
            await worker.close()
            await task

        self.stack.push_async_callback(end)
        return worker

    # -- blocks ----------------------------------------------------------------------------

    def _write(self, block: Block) -> None:
        if block.file:
            path = self.project / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)

    async def _python(self, block: Block) -> None:
        if block.file:
            compile(block.text, block.where, "exec")
            self._write(block)
            return
        code = compile(
            "\n" * (block.line - 1) + block.text,
            block.page,
            "exec",
            ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
            dont_inherit=True,
        )
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            done = eval(code, self.names)  # the documents are ours
            if done is not None:
                await done
        self.printed = out.getvalue()

    def _compare(self, block: Block) -> None:
        absent = missing(block.text, self.printed)
        assert not absent, (
            f"{block.where}: not printed:\n" + "\n".join(absent) + f"\n--- but:\n{self.printed}"
        )

    async def _shell(self, block: Block) -> None:
        lines = commands(block.text)
        for n, line in enumerate(lines):
            code = await self._command(block, line)
            expected = block.exit_code if n == len(lines) - 1 else 0
            assert code == expected, f"{block.where}: `{line}` ended {code}:\n{self.printed}"

    async def _command(self, block: Block, line: str) -> int:
        words = shlex.split(line, comments=True)
        while words and (assignment := re.fullmatch(r"([A-Z_]+)=(.*)", words[0])):
            os.environ[assignment[1]] = assignment[2]
            words = words[1:]
        if not words or words[0] == "export":
            os.environ |= dict(word.split("=", 1) for word in words[1:])
            return 0
        if words[0] == "make":
            assert words[1] in targets(), f"{block.where}: the Makefile has no target {words[1]!r}"
            return 0
        command = self._program(block, words)
        if _stays(words):
            await self._start(command)
            return 0
        if words[0] == "arq-jobs" and words[1:2] not in (["worker"], ["dev"], ["bench"]):
            return await self._fork(command[3:])
        return await self._finish(command)

    def _program(self, block: Block, words: list[str]) -> list[str]:
        words = [word.replace("8000", str(self.port)) for word in words]
        bins = Path(sys.executable).parent
        programs = {
            "arq-jobs": [sys.executable, "-m", "jobs"],
            "arq": [str(bins / "arq")],
            "python": [sys.executable],
            "uvicorn": [sys.executable, "-m", "uvicorn", "--port", str(self.port)],
            "curl": [sys.executable, "-m", "tests.docs.curl"],
        }
        assert words[0] in programs, f"{block.where}: no runner for {words[0]!r}"
        return programs[words[0]] + words[1:]

    # -- processes -------------------------------------------------------------------------

    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(self.project), str(ROOT)])
        return os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "COLUMNS": "100"}

    async def _finish(self, command: list[str]) -> int:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self.project,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            out, _ = await asyncio.wait_for(process.communicate(), COMMAND_S)
        except TimeoutError:
            process.kill()
            out, _ = await process.communicate()
            raise AssertionError(f"{command} did not end:\n{out.decode()}") from None
        self.printed = out.decode()
        return process.returncode or 0

    async def _fork(self, arguments: list[str]) -> int:
        """Run a command of `arq-jobs` in a fork of a process that is warm."""
        if self._warm is None:
            self._warm = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.docs.warm"),
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            self.stack.push_async_callback(_close, self._warm)
        assert self._warm.stdin is not None
        assert self._warm.stdout is not None
        output = self.project / "command.out"
        request = {
            "folder": str(self.project),
            "environment": self._environment(),
            "arguments": arguments,
            "output": str(output),
        }
        self._warm.stdin.write(json.dumps(request).encode() + b"\n")
        try:
            code = await asyncio.wait_for(self._warm.stdout.readline(), COMMAND_S)
        except TimeoutError:
            raise AssertionError(f"{arguments} did not end:\n{output.read_text()}") from None
        self.printed = output.read_text()
        return int(code)

    async def _start(self, command: list[str]) -> None:
        """Start a program that stays, and wait until it is up."""
        log = self.project / f"{len(list(self.project.glob('*.out')))}.out"
        with log.open("wb") as out:
            process = subprocess.Popen(  # noqa: ASYNC220 -- waited for by `_end`, in a thread
                command,
                cwd=self.project,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self.stack.push_async_callback(_end, process)

        def up() -> bool:
            assert process.poll() is None, f"{command} ended:\n{log.read_text()}"
            return bool(UP.search(log.read_text()))

        await wait_until(up, description=f"{command} is up", timeout=60, poll=0.02)
        self.printed = log.read_text()


async def _close(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), 20)
    except TimeoutError:
        process.kill()
        await process.wait()


async def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        await asyncio.to_thread(process.wait, 15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _stays(words: list[str]) -> bool:
    """Whether a command runs until it is stopped."""
    if words[0] == "arq":
        return not {"--burst", "--check", "--help"} & set(words)
    worker = words[0] == "arq-jobs" and words[1] in {"worker", "dev"}
    return words[0] == "uvicorn" or (worker and not {"--burst", "--once", "--help"} & set(words))


def _parse_ini(block: Block) -> None:
    configparser.ConfigParser(strict=False).read_string(block.text)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
