"""`create_pool`: a few tries for a server that starts, none for one that refuses."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from jobs import Client, RedisSettings, create_pool
from jobs.errors import ServerAway, ServerRefused
from tests.helpers.servers import MakeServer, Server

#: A retry that was made would be noticed: it comes after an hour.
ONE_HOUR = 3600


async def test_it_connects_at_once(redis_settings: RedisSettings) -> None:
    client = await create_pool(redis_settings)
    assert isinstance(client, Client)
    assert await client.ping()
    await client.aclose()


async def test_a_wrong_password_is_not_tried_again(make_server: MakeServer) -> None:
    url = make_server(config={"requirepass": "right"}).url.replace("right", "wrong")
    settings = replace(RedisSettings.from_dsn(url), conn_retry_delay=ONE_HOUR)
    async with asyncio.timeout(10):
        with pytest.raises(ServerRefused, match="check the password"):
            await create_pool(settings)


async def test_a_server_that_is_away_is_tried_again(make_server: MakeServer) -> None:
    server = make_server()
    settings = replace(RedisSettings.from_dsn(server.url), conn_retry_delay=ONE_HOUR)
    server.stop()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await create_pool(settings)
    with pytest.raises(ServerAway, match="no server answers"):
        await create_pool(replace(settings, conn_retries=0))


async def test_a_server_that_comes_late_is_reached(make_server: MakeServer) -> None:
    server: Server = make_server()
    url, port = server.url, server.port
    server.stop()
    settings = replace(RedisSettings.from_dsn(url), conn_retries=1000, conn_retry_delay=0)
    connecting = asyncio.create_task(create_pool(settings))
    late = await asyncio.to_thread(make_server, port=port)
    assert late.port == port
    client = await connecting
    assert await client.ping()
    await client.aclose()
