"""Exit codes, and which error ends with which of them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from jobs import errors
from jobs.errors import JobsError


class Code(IntEnum):
    """What a command ends with; `124` and `130` are those of `timeout` and of the shells."""

    ok = 0
    failed = 1
    usage = 2
    server = 3
    not_found = 4
    partial = 5
    refused = 6
    timed_out = 124
    interrupted = 130


MEANINGS = {
    Code.ok: "ok",
    Code.failed: "the operation failed; with --wait: the job failed",
    Code.usage: "the command, the settings or a payload is not valid; nothing was done",
    Code.server: "no Redis or Valkey can be reached, none is configured, or it refuses to serve",
    Code.not_found: "no such job, queue, schedule or topic",
    Code.partial: "some of many were done, some were not",
    Code.refused: "refused: it needs --yes, or the job is in another state",
    Code.timed_out: "timed out waiting",
    Code.interrupted: "interrupted with Ctrl-C",
}


class Problem(JobsError):
    """Why a command ends without having done its work.

    Args:
        what: one line that says what is wrong.
        hint: one line that says what to do about it.
        code: what the process ends with. Default 2.
        lines: more lines, such as one for each field of a payload that does not validate.
    """

    def __init__(
        self, what: str, hint: str = "", code: Code = Code.usage, lines: Sequence[str] = ()
    ) -> None:
        self.hint, self.code, self.lines = hint, code, list(lines)
        super().__init__(what)


_BY_TYPE: list[tuple[type[BaseException], Code, str]] = [
    (errors.ServerRefused, Code.server, "`arq-jobs doctor` looks closer"),
    (errors.ServerError, Code.server, "start it, or name another with --redis; `arq-jobs doctor`"),
    (errors.JobNotFound, Code.not_found, "`arq-jobs list` shows what is there"),
    (errors.ScheduleNotFound, Code.not_found, ""),
    (errors.WrongState, Code.refused, "`arq-jobs show ID` tells its state"),
    (errors.DuplicateJob, Code.refused, "`arq-jobs show ID` tells its state"),
    (errors.ResultTimeout, Code.timed_out, "`arq-jobs wait ID` waits again"),
    (
        errors.JobFailed,
        Code.failed,
        "`arq-jobs show ID` has the trace, `arq-jobs retry ID` repeats",
    ),
    (errors.JobsError, Code.usage, ""),
    (KeyboardInterrupt, Code.interrupted, ""),
]


def code_of(error: BaseException) -> Code:
    """The exit code of an error."""
    if isinstance(error, Problem):
        return error.code
    return next((code for kind, code, _ in _BY_TYPE if isinstance(error, kind)), Code.failed)


def hint_of(error: BaseException) -> str:
    """The line that says what to do about an error, if there is one."""
    if isinstance(error, Problem):
        return error.hint
    return next((hint for kind, _, hint in _BY_TYPE if isinstance(error, kind)), "")
