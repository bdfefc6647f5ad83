"""Fixtures of the arq contract."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from arq.connections import RedisSettings

from jobs import Client, create_pool
from tests.helpers.arq_app import ArqCommand


@pytest.fixture
async def pool(redis_settings: RedisSettings) -> AsyncIterator[Client]:
    """What `create_pool` gives for arq's own settings of the emptied shared server."""
    client = await create_pool(redis_settings)
    yield client
    await client.aclose()


@pytest.fixture
def arq_command(tmp_path: Path, redis_url: str) -> Iterator[Callable[..., ArqCommand]]:
    """A factory of `arq` commands against the shared server."""
    made: list[ArqCommand] = []

    def make(**options: Any) -> ArqCommand:
        made.append(ArqCommand(tmp_path, redis_url, **options))
        return made[-1]

    yield make
    for command in made:
        command.close()
