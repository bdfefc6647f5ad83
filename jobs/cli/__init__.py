"""The command line `jobs`, also installed as `arq-jobs`: see docs/reference/cli.md.

This module imports nothing heavy, and no module of the package does at its top: redis, arq and
pydantic are imported inside the commands that need them, so that `--help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(args: Sequence[str] | None = None, *, app: str | None = None) -> None:
    """Run one command and end the process with its exit code.

    Args:
        args: the words after the program's name; default those of the process.
        app: the application when neither `--app` nor `JOBS_APP` names one, as `module:attribute`;
            default "settings:WorkerSettings".

    Raises:
        SystemExit: always; `arq-jobs help exit-codes` explains the codes.
    """
    from jobs.cli.run import run

    raise SystemExit(run(sys.argv[1:] if args is None else args, app=app))
