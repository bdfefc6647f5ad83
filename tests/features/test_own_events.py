"""Events of an application's own, and results of its own serializer in ours."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from jobs import Client, Context, job
from jobs.errors import InvalidOption
from tests.helpers.hearing import only, until
from tests.helpers.worker import running


@job("greet")
async def greet(ctx: Context, name: str = "Ada") -> str:
    """Return a greeting."""
    return f"Hello {name}"


async def test_b166_custom_events(client: Client) -> None:
    assert await client.queue().publish("shop.order-paid", {"total": 7}) is None, "nobody listens"
    async with client.events("default", names="shop.order-paid") as reader:
        await client.enqueue("greet")
        event_id = await client.queue().publish("shop.order-paid", {"total": 8}, job_id="9")
        (event,) = await until(reader, "shop.order-paid")
    assert (event.id, event.job_id, event.data) == (event_id, "9", {"total": 8})


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("completed", {}, "a dot that tells it from ours"),
        ("paid", {}, "a dot that tells it from ours"),
        ("shop.", {}, "a dot that tells it from ours"),
        ("shop.paid", {"a": object()}, "is JSON"),
        ("shop.paid", {"a": "x" * 17_000}, "at most 16,384 bytes"),
    ],
)
async def test_b166_bad_custom_events(
    client: Client, name: str, data: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidOption, match=message):
        await client.queue().publish(name, data)


async def test_b166_results_of_ones_own_serializer(redis_url: str) -> None:
    """They are read as the results themselves are."""
    codec: dict[str, Any] = {"job_serializer": pickle.dumps, "job_deserializer": pickle.loads}
    async with Client.connect(redis_url) as client:
        client.job_serializer, client.job_deserializer = codec.values()
        async with running(redis_url, [greet], **codec), client.events("default") as reader:
            queued = await client.enqueue_job("greet", "Bo")
            assert queued is not None
            found = await until(reader, "completed")
    assert only(found, "completed").data["result"] == "Hello Bo"
