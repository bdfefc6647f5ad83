"""Background jobs for asyncio, on Redis or Valkey, at home for users of arq.

The public names and nothing else. They are loaded when first used, so that the command line
starts fast: importing arq, redis and pydantic takes longer than printing a help text.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arq.cron import cron as cron
    from arq.jobs import JobStatus as JobStatus
    from arq.worker import Retry as Retry

    from jobs.backoff import Backoff as Backoff
    from jobs.backoff import RetryPolicy as RetryPolicy
    from jobs.backoff import custom as custom
    from jobs.backoff import exponential as exponential
    from jobs.backoff import fixed as fixed
    from jobs.client import Client as Client
    from jobs.connections import RedisSettings as RedisSettings
    from jobs.context import Context as Context
    from jobs.depends import Depends as Depends
    from jobs.depends import overriding as overriding
    from jobs.emitting import Event as Event
    from jobs.emitting import emit as emit
    from jobs.emitting import on as on
    from jobs.engine.assembly import func as func
    from jobs.engine.worker import Worker as Worker
    from jobs.errors import Cancel as Cancel
    from jobs.errors import Fail as Fail
    from jobs.errors import JobFailed as JobFailed
    from jobs.errors import JobsError as JobsError
    from jobs.errors import RateLimited as RateLimited
    from jobs.errors import ServerError as ServerError
    from jobs.errors import Skip as Skip
    from jobs.errors import Snooze as Snooze
    from jobs.event_reader import EventReader as EventReader
    from jobs.events import QueueEvent as QueueEvent
    from jobs.functions import JobFunction as JobFunction
    from jobs.functions import job as job
    from jobs.handle import Job as Job
    from jobs.handle import JobInfo as JobInfo
    from jobs.limiter import limit as limit
    from jobs.limits import Limit as Limit
    from jobs.middleware import CallNext as CallNext
    from jobs.middleware import EnqueueCall as EnqueueCall
    from jobs.middleware import RunCall as RunCall
    from jobs.operations.filters import Filter as Filter
    from jobs.operations.fleet import Fleet as Fleet
    from jobs.operations.letters import DeadLetter as DeadLetter
    from jobs.options import JobOptions as JobOptions
    from jobs.options import Keep as Keep
    from jobs.options import RateLimit as RateLimit
    from jobs.pool import create_pool as create_pool
    from jobs.recurring import Schedule as Schedule
    from jobs.recurring import schedule as schedule
    from jobs.requests import Request as Request
    from jobs.routers import Queue as Queue
    from jobs.routers import Router as Router
    from jobs.routers import discover as discover
    from jobs.schedules import ScheduleInfo as ScheduleInfo
    from jobs.soft_timeout import SoftTimeout as SoftTimeout
    from jobs.states import State as State
    from jobs.timeouts import Timeout as Timeout
    from jobs.uniqueness import Unique as Unique

_HOMES = {
    "Backoff": "jobs.backoff",
    "CallNext": "jobs.middleware",
    "Cancel": "jobs.errors",
    "Client": "jobs.client",
    "Context": "jobs.context",
    "DeadLetter": "jobs.operations.letters",
    "Depends": "jobs.depends",
    "EnqueueCall": "jobs.middleware",
    "Event": "jobs.emitting",
    "EventReader": "jobs.event_reader",
    "Fail": "jobs.errors",
    "Filter": "jobs.operations.filters",
    "Fleet": "jobs.operations.fleet",
    "Job": "jobs.handle",
    "JobFailed": "jobs.errors",
    "JobFunction": "jobs.functions",
    "JobInfo": "jobs.handle",
    "JobOptions": "jobs.options",
    "JobStatus": "arq.jobs",
    "JobsError": "jobs.errors",
    "Keep": "jobs.options",
    "Limit": "jobs.limits",
    "Queue": "jobs.routers",
    "QueueEvent": "jobs.events",
    "RateLimit": "jobs.options",
    "RateLimited": "jobs.errors",
    "RedisSettings": "jobs.connections",
    "Request": "jobs.requests",
    "Retry": "arq.worker",
    "RetryPolicy": "jobs.backoff",
    "Router": "jobs.routers",
    "RunCall": "jobs.middleware",
    "Schedule": "jobs.recurring",
    "ScheduleInfo": "jobs.schedules",
    "ServerError": "jobs.errors",
    "Skip": "jobs.errors",
    "Snooze": "jobs.errors",
    "SoftTimeout": "jobs.soft_timeout",
    "State": "jobs.states",
    "Unique": "jobs.uniqueness",
    "Timeout": "jobs.timeouts",
    "Worker": "jobs.engine.worker",
    "create_pool": "jobs.pool",
    "cron": "arq.cron",
    "custom": "jobs.backoff",
    "discover": "jobs.routers",
    "emit": "jobs.emitting",
    "exponential": "jobs.backoff",
    "fixed": "jobs.backoff",
    "func": "jobs.engine.assembly",
    "job": "jobs.functions",
    "limit": "jobs.limiter",
    "on": "jobs.emitting",
    "overriding": "jobs.depends",
    "schedule": "jobs.recurring",
}

__all__ = [
    "Backoff",
    "CallNext",
    "Cancel",
    "Client",
    "Context",
    "DeadLetter",
    "Depends",
    "EnqueueCall",
    "Event",
    "EventReader",
    "Fail",
    "Filter",
    "Fleet",
    "Job",
    "JobFailed",
    "JobFunction",
    "JobInfo",
    "JobOptions",
    "JobStatus",
    "JobsError",
    "Keep",
    "Limit",
    "Queue",
    "QueueEvent",
    "RateLimit",
    "RateLimited",
    "RedisSettings",
    "Request",
    "Retry",
    "RetryPolicy",
    "Router",
    "RunCall",
    "Schedule",
    "ScheduleInfo",
    "ServerError",
    "Skip",
    "Snooze",
    "SoftTimeout",
    "State",
    "Timeout",
    "Unique",
    "Worker",
    "create_pool",
    "cron",
    "custom",
    "discover",
    "emit",
    "exponential",
    "fixed",
    "func",
    "job",
    "limit",
    "on",
    "overriding",
    "schedule",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
