"""The schedules that an application declares, tried without a server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from jobs import Schedule
from jobs.cli.application import Application
from jobs.errors import JobsError, UnknownFunction
from jobs.recurring import declared
from jobs.requests import Preparer


class Tried(NamedTuple):
    """One schedule, the queue of its jobs, and why they could not be enqueued, if so."""

    schedule: Schedule
    queue: str
    problem: JobsError | None


def tried(app: Application) -> Iterator[Tried]:
    """Every declared schedule, with its payload checked as `enqueue` would.

    Raises:
        ConfigurationError: two schedules have one name.
    """
    preparer = Preparer(app.default_queue, serializer=app.settings.get("job_serializer"))
    for schedule in declared(app.functions.values(), app.given_schedules):
        name = schedule.request.function
        if name not in app.functions:
            yield Tried(schedule, "", UnknownFunction(name, app.functions))
            continue
        try:
            queue, _ = schedule.define(preparer, from_code=True)
        except JobsError as error:
            yield Tried(schedule, "", error)
        else:
            yield Tried(schedule, queue, None)
