"""The queue of a store test."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from tests.store.steps import Steps


@pytest.fixture
def steps(redis_client: Redis) -> Steps:
    """An empty queue on the shared server."""
    return Steps(redis_client)
