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
    from jobs.filters import Filter as Filter
    from jobs.functions import JobFunction as JobFunction
    from jobs.functions import job as job
    from jobs.handle import Job as Job
    from jobs.handle import JobInfo as JobInfo
    from jobs.letters import DeadLetter as DeadLetter
    from jobs.limiter import limit as limit
    from jobs.limits import Limit as Limit
    from jobs.options import JobOptions as JobOptions
    from jobs.options import Keep as Keep
    from jobs.options import Queue as Queue
    from jobs.options import RateLimit as RateLimit
    from jobs.pool import create_pool as create_pool
    from jobs.requests import Request as Request
    from jobs.states import State as State
    from jobs.uniqueness import Unique as Unique

_HOMES = {
    "Backoff": "jobs.backoff",
    "Cancel": "jobs.errors",
    "Client": "jobs.client",
    "Context": "jobs.context",
    "DeadLetter": "jobs.letters",
    "Fail": "jobs.errors",
    "Filter": "jobs.filters",
    "Job": "jobs.handle",
    "JobFailed": "jobs.errors",
    "JobFunction": "jobs.functions",
    "JobInfo": "jobs.handle",
    "JobOptions": "jobs.options",
    "JobStatus": "arq.jobs",
    "JobsError": "jobs.errors",
    "Keep": "jobs.options",
    "Limit": "jobs.limits",
    "Queue": "jobs.options",
    "RateLimit": "jobs.options",
    "RateLimited": "jobs.errors",
    "RedisSettings": "jobs.connections",
    "Request": "jobs.requests",
    "Retry": "arq.worker",
    "RetryPolicy": "jobs.backoff",
    "ServerError": "jobs.errors",
    "Skip": "jobs.errors",
    "Snooze": "jobs.errors",
    "State": "jobs.states",
    "Unique": "jobs.uniqueness",
    "Worker": "jobs.engine.worker",
    "create_pool": "jobs.pool",
    "cron": "arq.cron",
    "custom": "jobs.backoff",
    "exponential": "jobs.backoff",
    "fixed": "jobs.backoff",
    "func": "jobs.engine.assembly",
    "job": "jobs.functions",
    "limit": "jobs.limiter",
}

__all__ = [
    "Backoff",
    "Cancel",
    "Client",
    "Context",
    "DeadLetter",
    "Fail",
    "Filter",
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
    "RateLimit",
    "RateLimited",
    "RedisSettings",
    "Request",
    "Retry",
    "RetryPolicy",
    "ServerError",
    "Skip",
    "Snooze",
    "State",
    "Unique",
    "Worker",
    "create_pool",
    "cron",
    "custom",
    "exponential",
    "fixed",
    "func",
    "job",
    "limit",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
