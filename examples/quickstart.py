"""A job, a worker and a result in one file: `python examples/quickstart.py`.

It uses the server in REDIS_URL, else starts an embedded one for as long as it runs.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

from jobs import Client, Context, RedisSettings, Worker, job
from jobs.config import find_server_url
from jobs.embedded import EmbeddedServer


@job("greet", attempts=3, timeout=10)
async def greet(ctx: Context, name: str) -> str:
    return f"Hello, {name}! This was attempt {ctx.attempt} of {ctx.attempts}."


async def main(url: str) -> None:
    worker = Worker([greet], redis_settings=RedisSettings.from_dsn(url), handle_signals=False)
    async with Client.connect(url) as client, asyncio.TaskGroup() as group:
        group.create_task(worker.async_run())
        queued = await greet.options(client=client).enqueue("Ada")
        print(await queued.result(timeout=10))
        await worker.close()


if __name__ == "__main__":
    with ExitStack() as stack:
        found = find_server_url()
        url = found.url if found else stack.enter_context(EmbeddedServer(None)).url
        asyncio.run(main(url))
