"""What a worker does before it claims anything: a client of our kind, a server that is fit."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from arq.connections import ArqRedis, RedisSettings

from jobs.client import Client
from jobs.connections import as_server_error, trouble
from jobs.depends import Holder, app_holders
from jobs.errors import ConfigurationError
from jobs.keys import SCHEMA_VERSION, schema_key
from jobs.pool import create_pool
from jobs.server_check import check_server, read_server, server_name
from jobs.store.workers import agree_on_schema

logger = logging.getLogger("jobs.worker")

#: Most plain `def` functions that run at once in a worker.
MOST_THREADS = 64
_THRESHOLDS = gc.get_threshold()

#: Set to anything, this variable turns refusals of unfit servers into warnings.
UNSAFE_VARIABLE = "JOBS_ALLOW_UNSAFE_SERVER"


def calm_the_collector() -> None:
    """For a process that is a worker's own: what was loaded so far is never looked at again for
    garbage, and the young are looked at ten times as seldom.

    A job makes some fifty short-lived objects, which are freed by counting; looking for cycles
    among them took 8 % of a busy worker's time.
    """
    gc.freeze()
    young, *older = _THRESHOLDS
    gc.set_threshold(10 * young, *older)


async def connect(
    pool: ArqRedis | None, settings: RedisSettings | None, default_queue: str
) -> Client:
    """A worker's client: on the connections of a given pool, or new ones.

    Raises:
        ServerAway, ServerRefused: no server answers.
    """
    if pool is None:
        assert settings is not None  # noqa: S101 -- arq: settings or a pool
        return await create_pool(settings, default_queue_name=default_queue)
    return pool if isinstance(pool, Client) else _as_client(pool)


def _as_client(pool: ArqRedis) -> Client:
    """A client on the connections of a pool that arq's `create_pool` made."""
    client = Client(pool.connection_pool)
    client.default_queue_name = pool.default_queue_name
    return client


@asynccontextmanager
async def holding(ctx: Mapping[Any, Any]) -> AsyncIterator[Holder]:
    """What a worker's dependencies live in; closed with it, errors logged."""
    holder = Holder("worker", ctx, app_holders.enter())
    try:
        yield holder
    finally:
        for close in (holder.aclose, app_holders.leave):
            try:
                await close()
            except Exception:  # the application's clean-up may raise anything; the worker stops
                logger.exception("a dependency could not be closed")


def function_threads() -> ThreadPoolExecutor:
    """Threads for plain `def` functions, made when they are needed; slots say how many run."""
    return ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="jobs-function")


async def check(client: Client) -> str:
    """Refuse a server that cannot hold jobs; warn of one that holds them badly.

    Returns:
        Kind and version of the server, for people.

    Raises:
        ConfigurationError: it evicts keys, is a replica, or too old; or its data has a layout of
            another release.
        ServerAway, ServerRefused: it does not answer, or not well.
    """
    try:
        info = await read_server(client)
        schema = await agree_on_schema(client, client.prefix)
    except Exception as error:
        if trouble(error) is None:
            raise
        raise as_server_error(error, client.address) from error
    if schema != SCHEMA_VERSION:
        raise ConfigurationError(
            f"the data on this server has layout {schema}, this release reads {SCHEMA_VERSION}: "
            "run the release that wrote it until its queues are empty, then delete the key "
            f"{schema_key(client.prefix)}"
        )
    findings = check_server(info)
    for finding in findings:
        if finding.level == "warn":
            logger.warning("%s", finding.text)
    bad = "; ".join(finding.text for finding in findings if finding.level == "fail")
    if bad and not os.environ.get(UNSAFE_VARIABLE):
        raise ConfigurationError(f"{bad}. {UNSAFE_VARIABLE}=1 starts all the same")
    return server_name(info)
