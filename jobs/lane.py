"""One connection on which many calls are under way at once: the fast way to the server.

redis-py gives a connection to one call at a time, packs its arguments in Python and looks for
unread bytes before each: about 80 µs a call. A lane lets redis-py connect (address, TLS, password,
database, sentinels), then takes the socket over: arguments are packed by hiredis, a call is
written at once, and answers are given out in the order of the calls.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis
from redis._parsers.base import BaseParser
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError

#: A call is given up after this time, and the connection with it.
ANSWER_TIMEOUT_S = 10.0


class Lane:
    """Duties: 1. connect when first needed, and again after a break; 2. send calls as they come;
    3. close.

    It connects beside the pool and counts in none of its limits. A caller that is cancelled
    leaves its call under way; its answer is dropped.

    Args:
        pool: where the connection comes from, and how its server is reached.
        timeout_s: seconds for which an answer is waited for.
    """

    def __init__(self, pool: ConnectionPool, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self._pool = pool
        self._timeout_s = timeout_s
        self._pipe: _Pipe | None = None
        self._connecting: asyncio.Lock | None = None

    async def execute_command(self, *args: Any) -> Any:
        """Send one command; its answer as hiredis reads it: bytes, numbers, lists, `None`.

        Raises:
            redis.exceptions.ResponseError: the server refuses.
            redis.exceptions.ConnectionError, TimeoutError: no connection, or no answer.
        """
        return await (await self.begin(*args))

    async def begin(self, *args: Any) -> asyncio.Future[Any]:
        """Send one command; its future answer. The next call may be sent before it has come.

        Raises:
            redis.exceptions.ConnectionError, TimeoutError: no connection.
        """
        pipe = self._pipe
        if pipe is None or pipe.broken or pipe.loop is not asyncio.get_running_loop():
            pipe = await self._connect()
        return pipe.send(hiredis.pack_command(args))

    async def aclose(self) -> None:
        """Close the connection; calls under way fail. The lane can be used again."""
        if self._pipe is not None:
            self._pipe.close()
        self._pipe = self._connecting = None

    async def _connect(self) -> _Pipe:
        loop = asyncio.get_running_loop()
        if self._pipe is not None and self._pipe.loop is not loop:
            self._pipe = self._connecting = None  # of a loop that is gone
        if self._connecting is None:
            self._connecting = asyncio.Lock()
        async with self._connecting:
            if self._pipe is None or self._pipe.broken:
                connection = self._pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py has no types here
                await connection.connect()
                self._pipe = _take_over(connection, _Pipe(loop, self._timeout_s))
            return self._pipe


class _Pipe(asyncio.Protocol):
    """Answers to calls, in order, of one connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout_s: float) -> None:
        self.loop = loop
        self.broken = False
        self._timeout_s = timeout_s
        self._reader = hiredis.Reader(
            protocolError=RedisConnectionError,
            replyError=cast("Callable[[str], Exception]", BaseParser.parse_error),
        )
        self._calls: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._writer: asyncio.StreamWriter | None = None

    def adopt(self, writer: asyncio.StreamWriter) -> None:
        """Take the socket from the stream that connected it."""
        self._writer = writer  # kept: it closes its transport when it is collected
        self._transport = cast("asyncio.Transport", writer.transport)
        self._transport.set_protocol(self)
        self.broken = self._transport.is_closing()

    def send(self, packed: bytes) -> asyncio.Future[Any]:
        """The future answer of one call."""
        future = self.loop.create_future()
        self._calls.append((future, self.loop.time()))
        if self._timer is None:
            self._timer = self.loop.call_later(self._timeout_s, self._look_at_the_clock)
        self._transport.write(packed)  # type: ignore[union-attr]  # adopted before it is used
        return future

    def data_received(self, data: bytes) -> None:
        """Give out the answers in `data`."""
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                self._answer(reply)
        except RedisConnectionError as error:  # not the protocol of Redis
            self._break(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the calls under way."""
        text = "Connection closed by server." if exc is None else f"Connection lost: {exc}"
        self._break(RedisConnectionError(text))

    def close(self) -> None:
        """Close the connection."""
        self._break(RedisConnectionError("Connection closed by this client."))

    def _answer(self, reply: Any) -> None:
        future, _ = self._calls.popleft()
        if future.done():
            return
        if isinstance(reply, Exception):
            future.set_exception(reply)
            if isinstance(reply, ReadOnlyError):  # a former primary: look for the new one
                self._break(RedisConnectionError("Connection to a read-only replica dropped."))
        else:
            future.set_result(reply)

    def _look_at_the_clock(self) -> None:
        self._timer = None
        if not self._calls:
            return
        over_s = self._calls[0][1] + self._timeout_s
        if over_s <= self.loop.time():
            self._break(RedisTimeoutError(f"no answer within {self._timeout_s:g} s"))
        else:
            self._timer = self.loop.call_at(over_s, self._look_at_the_clock)

    def _break(self, error: Exception) -> None:
        self.broken = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()
        while self._calls:
            future, _ = self._calls.popleft()
            if not future.done():
                future.set_exception(error)


def _take_over(connection: AbstractConnection, pipe: _Pipe) -> _Pipe:
    """Move the socket of a connection to `pipe`: the one place that reaches into redis-py."""
    writer = connection._writer  # noqa: SLF001 -- it has no public way to hand its socket over
    connection._reader = connection._writer = None  # noqa: SLF001 -- an empty shell from here on
    if writer is None:
        raise RedisConnectionError("Connection closed by server.")
    pipe.adopt(writer)
    return pipe
