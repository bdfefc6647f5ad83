"""What a dead letter is, for those who read it: one letter, a page of them, groups by error."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from jobs import registry
from jobs.handle import JobInfo
from jobs.operations.filters import tags_of
from jobs.operations.fingerprints import fingerprint
from jobs.operations.payloads import payload_of
from jobs.states import State

#: Ids that a group names.
SAMPLES = 5


class LetterError(BaseModel):
    """The error that ended a job; `stack` holds the innermost frames."""

    model_config = ConfigDict(frozen=True)

    type: str = ""
    message: str = ""
    stack: str = ""


class DeadLetter(BaseModel):
    """A job that failed for good; its JSON says `queueName`, `jobType`, `jobData`.

    It is also what the function of `Queue(…, dead_letter=…)` is called with.

    Args:
        queue_name, job_id, job_type: where it was, which job, of which function.
        job_data: its arguments by name.
        error: what ended it.
        failed_at: when.
        attempts: how often it ran.
        tags: its tags.
        omitted: whether `job_data` was left out, since it was too large for one more job.
    """

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True
    )

    queue_name: str
    job_id: str
    job_type: str
    job_data: dict[str, Any] = {}
    error: LetterError = LetterError()
    failed_at: datetime
    attempts: int
    tags: list[str] = []
    omitted: bool = False

    @classmethod
    def of(cls, info: JobInfo, function: registry.Function | None = None) -> Self:
        """The dead letter that a failed job is.

        Args:
            info: the job.
            function: its function; by default the one declared in this process, if any.
        """
        error = info.error or {}
        return cls(
            queue_name=info.queue,
            job_id=info.id,
            job_type=info.function,
            job_data=payload_of(info, function),
            error=LetterError(
                type=error.get("type", ""),
                message=error.get("message", ""),
                stack=error.get("traceback") or "",
            ),
            failed_at=info.finished_at or info.enqueued_at,
            attempts=max(info.attempt, info.losses),
            tags=sorted(tags_of(info)),
        )

    @property
    def fingerprint(self) -> str:
        """A short name that all letters of the same function and error share."""
        return fingerprint(
            f"{self.job_type} {self.error.type}", self.error.message, self.error.stack
        )

    def record(self) -> dict[str, Any]:
        """The letter under the names of a BullMQ dead-letter queue."""
        return {
            "originalQueue": self.queue_name,
            "originalJobId": self.job_id,
            "originalJob": self.job_type,
            "data": self.job_data,
            "error": {"message": self.error.message, "stack": self.error.stack},
            "failedAt": self.failed_at.isoformat(timespec="milliseconds"),
            "attempts": self.attempts,
        }

    def row(self) -> dict[str, Any]:
        """The letter on one level, as a line of a table."""
        own = self.model_dump(mode="json", by_alias=True, exclude={"error", "omitted"})
        error = {f"error.{name}": value for name, value in self.error.model_dump().items()}
        return own | {"fingerprint": self.fingerprint} | error


class LetterPage(NamedTuple):
    """One page of dead letters, newest first; `cursor` and `bounded` are those of a search."""

    letters: list[DeadLetter]
    cursor: str | None
    bounded: list[tuple[str, State]]


@dataclass(slots=True)
class LetterGroup:
    """Dead letters with the same function and error."""

    fingerprint: str
    function: str
    error_type: str
    message: str  #: of the newest
    count: int
    first: datetime
    last: datetime
    ids: list[str] = field(default_factory=list)  #: the newest few

    def add(self, letter: DeadLetter) -> None:
        """Count one more, older than those before."""
        self.count += 1
        self.first = min(self.first, letter.failed_at)
        if letter.failed_at > self.last:
            self.last, self.message = letter.failed_at, letter.error.message
        if len(self.ids) < SAMPLES:
            self.ids.append(letter.job_id)


class LetterGroups(NamedTuple):
    """All groups, the largest first; `bounded` says where only the newest letters were counted."""

    groups: list[LetterGroup]
    counted: int
    bounded: list[tuple[str, State]]


def count_into(found: dict[str, LetterGroup], letter: DeadLetter) -> None:
    """Count a letter in its group, which begins with the first one."""
    name, at = letter.fingerprint, letter.failed_at
    group = found.get(name)
    if group is None:
        error = letter.error
        group = LetterGroup(name, letter.job_type, error.type, error.message, 0, at, at)
        found[name] = group
    group.add(letter)
