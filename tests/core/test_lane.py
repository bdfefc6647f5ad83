"""The pipelined connection: order, cancellation, breaks, silence, other loops, TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import redis.exceptions
import trustme
from redis.asyncio import ConnectionPool, Redis, SSLConnection

from jobs import Client
from jobs.lane import Lane
from tests.helpers.proxy import Proxy
from tests.helpers.servers import MakeServer, Server
from tests.helpers.waiting import wait_until


@asynccontextmanager
async def lane_to(url: str, timeout_s: float = 10) -> AsyncIterator[Lane]:
    """A lane to the server at `url`."""
    pool = ConnectionPool.from_url(url)
    lane = Lane(pool, timeout_s)
    try:
        yield lane
    finally:
        await lane.aclose()


async def clients_of(url: str) -> int:
    """How many connections the server has, without the one that asks."""
    async with Redis.from_url(url) as admin:
        return len(await admin.client_list()) - 1


async def test_every_kind_of_argument_and_answer(redis_url: str) -> None:
    async with lane_to(redis_url) as lane:
        assert await lane.execute_command("SET", "key", b"\x00\xff") == b"OK"
        assert await lane.execute_command(b"GET", b"key") == b"\x00\xff"
        assert await lane.execute_command("GET", "none") is None
        assert await lane.execute_command("INCRBY", "number", 7) == 7
        assert await lane.execute_command("MGET", "key", "none") == [b"\x00\xff", None]
        assert await lane.execute_command("SET", "text", "héé") == b"OK"
        assert await lane.execute_command("GET", "text") == "héé".encode()


async def test_answers_come_to_their_own_calls(redis_url: str) -> None:
    """A thousand calls at once on one connection, of answers short and long."""
    async with lane_to(redis_url) as lane:
        await lane.execute_command("PING")
        texts = [f"{number}" * (1 + number % 50) for number in range(1_000)]
        calls = [lane.execute_command("ECHO", text) for text in texts]
        assert await asyncio.gather(*calls) == [text.encode() for text in texts]
        assert await clients_of(redis_url) == 1


async def test_first_calls_at_once_make_one_connection(redis_url: str) -> None:
    async with lane_to(redis_url) as lane:
        await asyncio.gather(*(lane.execute_command("PING") for _ in range(20)))
        assert await clients_of(redis_url) == 1


async def test_an_error_is_one_of_redis_py_and_ends_nothing(redis_url: str) -> None:
    async with lane_to(redis_url) as lane:
        with pytest.raises(redis.exceptions.NoScriptError):
            await lane.execute_command("EVALSHA", "0" * 40, 0)
        await lane.execute_command("SET", "text", "x")
        with pytest.raises(redis.exceptions.ResponseError, match="WRONGTYPE"):
            await lane.execute_command("LPUSH", "text", "y")
        assert await lane.execute_command("PING") == b"PONG"


async def test_the_answer_of_a_cancelled_call_is_nobody_elses(server: Server) -> None:
    with Proxy(server.port) as proxy:
        async with lane_to(proxy.url) as lane:
            await lane.execute_command("PING")
            proxy.latency_s = 0.05
            given_up = asyncio.ensure_future(lane.execute_command("ECHO", "given up"))
            wanted = asyncio.ensure_future(lane.execute_command("ECHO", "wanted"))
            await asyncio.sleep(0)
            given_up.cancel()
            assert await wanted == b"wanted"


async def test_a_break_fails_the_calls_under_way_and_the_next_connects_anew(
    server: Server,
) -> None:
    with Proxy(server.port) as proxy:
        async with lane_to(proxy.url) as lane:
            await lane.execute_command("PING")
            proxy.silent = lambda _: True
            calls = [asyncio.ensure_future(lane.execute_command("PING")) for _ in range(3)]
            await wait_until(lambda: proxy.held >= 1, description="a reply is on its way")
            proxy.reset_all()
            for call in calls:
                with pytest.raises(redis.exceptions.ConnectionError):
                    await call
            proxy.silent = lambda _: False
            assert await lane.execute_command("PING") == b"PONG"


async def test_silence_is_given_up_with_its_connection(server: Server) -> None:
    with Proxy(server.port) as proxy:
        async with lane_to(proxy.url, timeout_s=0.1) as lane:
            await lane.execute_command("PING")
            proxy.silent = lambda _: True
            calls = [asyncio.ensure_future(lane.execute_command("PING")) for _ in range(3)]
            for call in calls:
                with pytest.raises(redis.exceptions.TimeoutError, match=r"within 0\.1 s"):
                    await call
            proxy.silent = lambda _: False
            assert await lane.execute_command("PING") == b"PONG"


async def test_no_server_is_an_error_of_connecting() -> None:
    async with lane_to("redis://127.0.0.1:1") as lane:
        with pytest.raises(redis.exceptions.ConnectionError, match="connecting to"):
            await lane.execute_command("PING")


async def test_a_server_that_became_a_replica_is_asked_again_where_it_is(
    make_server: MakeServer,
) -> None:
    """Behind a sentinel the address of the primary has changed by then."""
    server = make_server()
    async with lane_to(server.url) as lane, Redis.from_url(server.url) as admin:
        first = await lane.execute_command("CLIENT", "ID")
        await admin.execute_command("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(redis.exceptions.ReadOnlyError):
            await lane.execute_command("SET", "key", "value")
        assert await lane.execute_command("CLIENT", "ID") != first


async def test_what_is_no_redis_is_told(unused_tcp_port: int) -> None:
    """The stream is in no order any more: the connection is given up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with (
        await asyncio.start_server(serve, "127.0.0.1", unused_tcp_port),
        lane_to(f"redis://127.0.0.1:{unused_tcp_port}") as lane,
    ):
        with pytest.raises(redis.exceptions.RedisError):
            await lane.execute_command("PING")


def test_another_loop_gets_a_connection_of_its_own(redis_url: str) -> None:
    pool = ConnectionPool.from_url(redis_url)
    lane = Lane(pool)

    async def ask() -> bytes:
        answer: bytes = await lane.execute_command("PING")
        return answer

    async def ask_and_close() -> bytes:
        answer = await ask()
        await lane.aclose()
        return answer

    assert asyncio.run(ask_and_close()) == b"PONG"
    assert asyncio.run(ask_and_close()) == b"PONG"


async def test_a_closed_client_leaves_no_connection(redis_url: str) -> None:
    async with Client.connect(redis_url) as client:
        await client.enqueue("some", {})
        assert await clients_of(redis_url) >= 1

    async def none_left() -> bool:
        return await clients_of(redis_url) == 0

    await wait_until(none_left, description="the server has heard of the end")


async def test_a_tls_socket_is_taken_over_like_a_plain_one(server: Server) -> None:
    authority = trustme.CA()
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(theirs)

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def front(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, before = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(copy(reader, before), copy(behind, writer), return_exceptions=True)

    async with await asyncio.start_server(front, "localhost", 0, ssl=theirs) as listening:
        port = listening.sockets[0].getsockname()[1]
        pem = authority.cert_pem.bytes().decode()
        pool = ConnectionPool(
            connection_class=SSLConnection, host="localhost", port=port, ssl_ca_data=pem
        )
        lane = Lane(pool)
        big = "x" * 300_000
        calls = [lane.execute_command("ECHO", f"{big}{number}") for number in range(5)]
        answers = await asyncio.gather(*calls)
        assert [answer[-1:] for answer in answers] == [b"0", b"1", b"2", b"3", b"4"]
        await lane.aclose()
