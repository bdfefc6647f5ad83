"""An application on arq: `arq before.WorkerSettings`, and `python before.py` enqueues."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import arq
from arq import create_pool
from arq.connections import RedisSettings

SERVER = RedisSettings.from_dsn(os.environ.get("REDIS_URL", "redis://localhost:6379"))


async def fetch(ctx: dict[str, Any], url: str) -> int:
    if url.endswith("/busy") and ctx["job_try"] == 1:
        raise arq.Retry(defer=0.01)
    ctx["seen"].append(url)
    return len(url)


async def report(ctx: dict[str, Any]) -> str:
    return f"{len(ctx['seen'])} seen"


async def startup(ctx: dict[str, Any]) -> None:
    ctx["seen"] = []


class WorkerSettings:
    functions = (fetch,)
    cron_jobs = (arq.cron(report, hour=3, minute=0),)
    on_startup = startup
    redis_settings = SERVER


async def main() -> None:
    pool = await create_pool(SERVER)
    queued = await pool.enqueue_job("fetch", "https://example.com/busy")
    if queued is not None:
        print(await queued.result(timeout=10))
    await pool.aclose()


if __name__ == "__main__":
    asyncio.run(main())
