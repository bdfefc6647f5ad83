"""A web application that enqueues: `uvicorn examples.fastapi_app:app`.

The client opens and closes with the application, handlers only enqueue and answer at once, and
Stripe's events go into a queue. A worker runs beside it (`arq-jobs worker`), or inside it with
EMBED_WORKER=1, so that a first try needs one process.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.routing import Route

import settings
from jobs import Client, JobInfo, ServerError, State, Worker
from jobs.catalog.email import Email, send_email
from jobs.catalog.stripe import StripeEndpoint
from jobs.errors import JobNotFound


class Queued(BaseModel):
    """The answer of every route that enqueues."""

    id: str
    queue: str
    duplicate: bool = False


class Reminder(BaseModel):
    to: str
    delay_s: int = 300


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client.connect())
        app.state.client = client
        if settings.settings.stripe:
            endpoint = StripeEndpoint(client, settings.settings.stripe.secrets)
            # A route of its own: a mount would redirect `/stripe` to `/stripe/`, and Stripe does
            # not follow redirects.
            app.router.routes.append(Route("/stripe", endpoint))
        if os.environ.get("EMBED_WORKER") == "1":
            await stack.enter_async_context(embedded_worker(client))
        yield


@asynccontextmanager
async def embedded_worker(client: Client) -> AsyncIterator[Worker]:
    """The project's worker in this process; it ends before the client is closed.

    uvicorn owns the signals, so the worker must not take them.
    """
    own = settings.WorkerSettings
    worker = Worker(
        own.functions,
        queues=own.queues,
        cron_jobs=own.cron_jobs,
        on_startup=own.on_startup,
        on_shutdown=own.on_shutdown,
        redis_pool=client,
        handle_signals=False,
    )
    task = asyncio.create_task(worker.async_run())
    try:
        yield worker
    finally:
        await worker.close()
        await task


app = FastAPI(title="Jobs from a web application", lifespan=lifespan)


@app.exception_handler(ServerError)
async def server_is_away(_: Request, error: ServerError) -> JSONResponse:
    """503 with a sentence; the caller may repeat the request."""
    return JSONResponse({"error": str(error)}, status_code=503, headers={"Retry-After": "5"})


@app.post("/emails", status_code=202)
async def post_email(email: Email, key: str | None = None) -> Queued:
    """Typed: mypy checks the payload. `?key=` makes repeated requests one job."""
    if key is None:
        queued = await send_email.enqueue(email)
    else:
        queued = await send_email.enqueue(email, id=key, id_ttl="1d")
    return Queued(id=queued.id, queue=queued.queue, duplicate=queued.duplicate)


@app.post("/reminders", status_code=202)
async def post_reminder(reminder: Reminder, request: Request) -> Queued:
    """arq's way: by name, with keywords, not before a while."""
    client: Client = request.app.state.client
    queued = await client.enqueue_job(
        "email",
        to=reminder.to,
        template="reminder",
        _job_id=f"reminder:{reminder.to}",
        _defer_by=reminder.delay_s,
    )
    if queued is None:
        raise HTTPException(409, f"{reminder.to} has a reminder already")
    return Queued(id=queued.id, queue=queued.queue)


@app.get("/jobs/{queue}/{job_id}")
async def get_job(queue: str, job_id: str, request: Request) -> dict[str, Any]:
    """Where a job is and what came of it."""
    client: Client = request.app.state.client
    try:
        info = await client.job(job_id, queue).details()
    except JobNotFound as error:
        raise HTTPException(404, str(error)) from None
    return {
        "id": info.id,
        "state": info.state,
        "progress": None,
        "data": info.kwargs or info.args,
        "returnvalue": info.result,
        "attemptsMade": info.attempt,
        "failedReason": _failed_reason(info),
    }


def _failed_reason(info: JobInfo) -> str | None:
    """Why the job, or its last attempt, did not succeed."""
    if info.state is State.completed or not info.history:
        return None
    last = info.history[-1]
    return (last.get("error") or {}).get("message") or last.get("reason")
