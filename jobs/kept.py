"""How long one job is kept once it has ended, for those who end jobs without running them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from jobs.codec import Deserializer, decode_body
from jobs.errors import UnreadableBody
from jobs.job_options import FRAMEWORK_DEFAULTS, JobOptions
from jobs.registry import Function
from jobs.retention import Keep, Limits


class Retention(NamedTuple):
    """The limits of each way to end."""

    completed: Limits
    failed: Limits
    cancelled: Limits
    expired: Limits


def retention_of(
    job_id: str,
    body: bytes | None,
    functions: Mapping[str, Function],
    queue_defaults: JobOptions | None = None,
    deserializer: Deserializer | None = None,
) -> Retention:
    """The retention of a job by its body: framework < queue < function < call.

    Args:
        job_id: the job's id.
        body: its envelope; of a job that cannot be read the queue decides.
        functions: those known here, by name; the queue decides for jobs of others.
        queue_defaults: the options of the queue, where they are known.
        deserializer: for bodies of the application's own serializer.
    """
    options = queue_defaults or JobOptions()
    wire: Any = {}
    try:
        if body is not None:
            name, _, _, wire = decode_body(job_id, body, deserializer)
            if (function := functions.get(name)) is not None:
                options = function.options.over(options)
    except UnreadableBody:
        pass
    options = options.over(FRAMEWORK_DEFAULTS)
    completed = _limits(wire, "completed", options.keep_completed, Keep().limits())
    return Retention(
        completed,
        _limits(wire, "failed", options.keep_failed, completed),
        _limits(wire, "cancelled", options.keep_cancelled, completed),
        _limits(wire, "expired", options.keep_expired, completed),
    )


def _limits(wire: Any, state: str, keep: Keep | None, below: Limits) -> Limits:
    match wire.get(f"keep_{state}") if isinstance(wire, dict) else None:
        case [int(age), int(count), int(most_bytes)]:
            return age, count, most_bytes
        case _:
            return below if keep is None else keep.limits()
