"""A function whose jobs fail or not by their payload, for tests of what is done to jobs."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel

from jobs import Client, Context, JobFailed, State, fixed, job
from jobs.errors import JobNotFound
from tests.features.conftest import Work

HOUR = "1h"


class Letter(BaseModel):
    to: str
    copies: int = 1


class Post(NamedTuple):
    """The function `letter`, and what it sent."""

    function: Any
    sent: list[Letter]


@pytest.fixture
def post() -> Post:
    """Declares the function `letter`."""
    sent: list[Letter] = []

    @job("letter", queue="post", attempts=2, backoff=fixed("1ms"))
    async def letter(ctx: Context, letter: Letter) -> str:
        if letter.to == "nobody":
            raise ConnectionError("no such person")
        sent.append(letter)
        return letter.to

    return Post(letter, sent)


async def state_of(client: Client, job_id: str, queue: str = "default") -> State | None:
    """Where a job is; `None` if it is gone."""
    try:
        return await client.job(job_id, queue).state()
    except JobNotFound:
        return None


async def fail_some(client: Client, work: Work, post: Post, *ids: str) -> None:
    """Jobs of these ids that fail in this order."""
    for job_id in ids:
        await client.enqueue("letter", {"to": "nobody"}, id=job_id, queue="post")
    handles = [client.job(job_id, "post") for job_id in ids]
    worker = await work(post.function, max_jobs=1)
    for handle in handles:
        with pytest.raises(JobFailed):
            await handle.result(timeout=20)
    await worker.close()
