"""Payloads: B124-B127."""

from __future__ import annotations

import zlib
from datetime import date
from typing import Any

import pytest
from pydantic_core import from_json, to_json

from jobs import (
    Client,
    Context,
    job,
)
from jobs.errors import InvalidPayload
from tests.features.conftest import Work

# -- B124-B127: payloads ----------------------------------------------------------------------


async def test_b124_typed_enqueue_and_result(client: Client, work: Work) -> None:
    """That the checkers refuse wrong ones is tests/typing; here the types hold at run time."""

    @job
    async def due(ctx: Context, start: date, days: int) -> date:
        return date.fromordinal(start.toordinal() + days)

    await work(due)
    queued = await due.enqueue(date(2026, 12, 30), 5)
    assert await queued.result(timeout=20) == date(2027, 1, 4)


async def test_b125_a_bad_payload_never_enters_the_queue(client: Client) -> None:
    @job("size")
    async def size(ctx: Context, width: int, height: int) -> None: ...

    with pytest.raises(InvalidPayload) as caught:
        await client.enqueue("size", {"width": "wide", "height": "high"})
    assert [field for field, _ in caught.value.errors] == ["width", "height"]
    assert await client.queues() == []


async def test_b126_payloads_are_json(client: Client) -> None:
    @job("plain")
    async def plain(ctx: Context, value: Any) -> None: ...

    await plain.enqueue({"name": "ada", "tags": [1, 2.5, None]})
    (body,) = (await client.hgetall("jobs:{default}:body")).values()  # type: ignore[misc]  # redis-py's hints
    assert b'{"name":"ada","tags":[1,2.5,null]}' in body
    with pytest.raises(InvalidPayload):
        await plain.enqueue(object())


def shrink(value: dict[str, Any]) -> bytes:
    """What an application may do with its payloads: compress, and hide from plain sight."""
    return bytes(byte ^ 0x55 for byte in zlib.compress(to_json(value)))


def grow(data: bytes) -> dict[str, Any]:
    document: dict[str, Any] = from_json(zlib.decompress(bytes(byte ^ 0x55 for byte in data)))
    return document


async def test_b127_the_bytes_are_the_applications_own(client: Client, work: Work) -> None:
    client.job_serializer, client.job_deserializer = shrink, grow

    @job("secret")
    async def secret(ctx: Context, text: str) -> str:
        return text.upper()

    queued = await secret.enqueue("attack at dawn" * 50)
    (body,) = (await client.hgetall("jobs:{default}:body")).values()  # type: ignore[misc]  # redis-py's hints
    assert b"attack" not in body
    assert len(body) < 200
    await work(secret, job_serializer=shrink, job_deserializer=grow)
    assert await queued.result(timeout=20) == "ATTACK AT DAWN" * 50
    history = (await client.hgetall("jobs:{default}:result")).values()  # type: ignore[misc]  # redis-py's hints
    assert not [line for line in history if b"ATTACK" in line]
