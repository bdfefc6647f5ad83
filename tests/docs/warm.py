"""Runs commands of `arq-jobs` in forks of a process that has loaded the libraries already.

A command spends a second on imports, and the pages have some two hundred commands. Requests are
lines of JSON on standard input (folder, environment, arguments, file for the output); the answers
are exit codes, a line each. What a command does is done in a process of its own all the same.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, NoReturn

import aiosmtplib
import httpx
import pydantic_settings
import rich.console
import rich.table

import jobs.cli.server
import jobs.engine.worker
from jobs.cli.run import run

#: Loaded for the forks.
LOADED = (aiosmtplib, httpx, pydantic_settings, rich.console, rich.table, jobs.cli.server,
          jobs.engine.worker)  # fmt: skip


def serve() -> None:
    """Answer requests until standard input is closed."""
    for line in sys.stdin:
        request = json.loads(line)
        if (pid := os.fork()) == 0:
            become(request)
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def become(request: dict[str, Any]) -> NoReturn:
    """Be the command: in its folder, with its environment and output, and end."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    out = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (out, 1), (out, 2)):
        os.dup2(source, target)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 -- it lasts as long as the process
    sys.path[:0] = request["environment"]["PYTHONPATH"].split(os.pathsep)
    sys.argv = ["arq-jobs", *request["arguments"]]
    code = 1
    try:
        code = run(request["arguments"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
