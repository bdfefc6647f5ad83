"""One test for each row of the feature list, named after it, on a real server.

After every test the audit of all its queues finds nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from jobs import Client
from tests.fundamentals.conftest import Work, _own_functions, work
from tests.helpers.keyspace import audit

__all__ = ["Work", "_own_functions", "client", "work"]


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Client]:
    """A client of the emptied server; after the test all queues are audited."""
    async with Client.connect(redis_url) as client:
        yield client
        assert not await audit(client)
