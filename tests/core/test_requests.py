"""From a call to an entry: the typed way never depends on what else has the same name."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from jobs import Context, job
from jobs.errors import InvalidPayload
from jobs.requests import Preparer, Request


class Mine(BaseModel):
    mine: int


class Other(BaseModel):
    other: int


async def test_a_function_enqueues_its_own_payload_whoever_has_its_name() -> None:
    @job("same", queue="mine")
    async def mine(ctx: Context, payload: Mine) -> None: ...

    @job("same", queue="other")
    async def other(ctx: Context, payload: Other) -> None: ...

    prepare = Preparer().prepare
    assert prepare(mine.request(Mine(mine=1))).queue == "mine"
    assert prepare(mine.options(priority=1).request(Mine(mine=1))).queue == "mine"
    assert prepare(other.request(Other(other=1))).queue == "other"
    assert prepare(Request("same", kwargs={"other": 1})).queue == "other", "by name: the last one"
    with pytest.raises(InvalidPayload, match="other: Field required"):
        prepare(Request("same", kwargs={"mine": 1}))
