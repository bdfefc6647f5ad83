"""A TCP proxy that mistreats what passes: late replies, silence, resets, lost replies.

It runs in a thread of its own, so that a test may use it from any loop or from none.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Coroutine
from threading import Thread
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")
Asked = Callable[[bytes], bool]
"""A question about the last chunk that the client of a connection sent."""

LINGER_NONE = struct.pack("ii", 1, 0)
HEAL_POLL_S = 0.005


def _never(request: bytes) -> bool:
    return False


class Proxy:
    """Forwards connections to the port `target` of this machine.

    These may be set at any time:
        latency_s: every reply is held back this long.
        silent: while it is true of a request, its replies stay on the way: a black hole without
            a reset. They arrive when it is true no longer.
        cuts: a reply for whose request this is true is dropped and the connection reset; the
            server has executed the request by then.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.latency_s = 0.0
        self.silent: Asked = _never
        self.cuts: Asked = _never
        self.held = 0  #: replies that met silence
        self.cut = 0  #: replies that were dropped
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.StreamWriter] = set()
        self._thread = Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._serve, "127.0.0.1", 0))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def reset_all(self) -> None:
        """Break every open connection with an RST."""

        async def reset() -> None:
            for writer in list(self._open):
                _reset(writer)

        self._do(reset())

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _close(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        last = [b""]
        ends = [writer]
        with contextlib.suppress(OSError, asyncio.CancelledError):
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target)
            ends.append(server_writer)
            self._open |= {*ends}
            asking = asyncio.ensure_future(self._requests(reader, server_writer, last))
            answering = asyncio.ensure_future(self._replies(server_reader, writer, last))
            try:
                await asyncio.wait([asking, answering], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (asking, answering):
                    task.cancel()
                await asyncio.gather(asking, answering, return_exceptions=True)
        self._open.difference_update(ends)
        for end in ends:
            end.close()

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, last: list[bytes]
    ) -> None:
        while chunk := await reader.read(1 << 16):
            last[0] = chunk
            writer.write(chunk)
            await writer.drain()

    async def _replies(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, last: list[bytes]
    ) -> None:
        while chunk := await reader.read(1 << 16):
            if self.cuts(last[0]):
                self.cut += 1
                return _reset(writer)
            await asyncio.sleep(self.latency_s)
            self.held += self.silent(last[0])
            while self.silent(last[0]):  # noqa: ASYNC110 -- asked anew: the test may set it meanwhile
                await asyncio.sleep(HEAL_POLL_S)
            writer.write(chunk)
            await writer.drain()
        return None


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the other side sees a reset instead of an orderly end."""
    found: socket.socket | None = writer.get_extra_info("socket")
    if found is not None:
        with contextlib.suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
    writer.transport.abort()
