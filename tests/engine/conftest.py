"""What every test of the engine needs: a client, and workers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from jobs import Client
from tests.helpers.keyspace import audit


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Client]:
    """A client of the emptied server; after the test the audit of all queues finds nothing."""
    async with Client.connect(redis_url) as client:
        yield client
        assert not await audit(client)
