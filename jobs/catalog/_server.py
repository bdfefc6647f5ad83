"""A small HTTP/1.1 server for ASGI applications, for demos and tests on this machine.

It hosts the fakes and `StripeEndpoint` without a web framework. h11 reads and writes HTTP; it is
there already, since httpx needs it. Not for production: one request at a time per connection, no
TLS, no limits on time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

import h11

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_READ_BYTES = 65_536
_DRAIN_BYTES = 16 * 1024 * 1024


class AsgiServer:
    """Serves `app` on `host` and `port`; port 0 takes a free one, and `url` tells which.

    ```python
    async with AsgiServer(app) as server:
        print(server.url)
    ```
    """

    def __init__(self, app: App, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._app, self._host, self._port = app, host, port
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> Self:
        """Listen.

        Raises:
            OSError: the port is taken.
        """
        self._server = await asyncio.start_server(self._connected, self._host, self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    @property
    def url(self) -> str:
        """Where it listens, without a final slash."""
        return f"http://{self._host}:{self._port}"

    async def aclose(self) -> None:
        """Stop listening and end the open connections."""
        if self._server is None:
            return
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    # Not a coroutine function: asyncio would make a task of its own that nobody can wait for.
    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_Connection(self._app, reader, writer).serve())
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)


class _Connection:
    """One client: requests are answered in turn until one side closes."""

    def __init__(
        self, app: App, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._app, self._reader, self._writer = app, reader, writer
        self._http = h11.Connection(h11.SERVER)

    async def serve(self) -> None:
        try:
            while isinstance(request := await self._event(), h11.Request):
                await self._answer(request)
                await self._drain()
                if self._http.our_state is not h11.DONE:
                    break
                self._http.start_next_cycle()
        except (h11.ProtocolError, OSError) as error:
            logger.debug("a connection ended: %s", error)
        finally:
            self._writer.close()

    async def _event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(_READ_BYTES))
        return event

    async def _answer(self, request: h11.Request) -> None:
        try:
            await self._app(_scope(request), self._receive, self._send)
        except Exception:
            logger.exception("the application failed")
            if self._http.our_state is h11.SEND_RESPONSE:
                await self._write(h11.Response(status_code=500, headers=[("content-length", "0")]))
                await self._write(h11.EndOfMessage())

    async def _receive(self) -> Message:
        if self._http.their_state is not h11.SEND_BODY:
            return {"type": "http.disconnect"}
        event = await self._event()
        if isinstance(event, h11.Data):
            return {"type": "http.request", "body": bytes(event.data), "more_body": True}
        if isinstance(event, h11.EndOfMessage):
            return {"type": "http.request", "body": b"", "more_body": False}
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", []))
            await self._write(h11.Response(status_code=message["status"], headers=headers))
            return
        await self._write(h11.Data(data=message.get("body", b"")))
        if not message.get("more_body", False):
            await self._write(h11.EndOfMessage())

    async def _write(self, event: h11.Event) -> None:
        self._writer.write(self._http.send(event) or b"")
        await self._writer.drain()

    async def _drain(self) -> None:
        """Read what is left of a request: closing before would reset the answer away."""
        left = _DRAIN_BYTES
        while self._http.their_state is h11.SEND_BODY and left > 0:
            event = await self._event()
            left -= len(event.data) if isinstance(event, h11.Data) else 0


def _scope(request: h11.Request) -> Message:
    path, _, query = bytes(request.target).partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": bytes(request.http_version).decode(),
        "method": bytes(request.method).decode(),
        "scheme": "http",
        "path": unquote(path.decode()),
        "raw_path": path,
        "root_path": "",
        "query_string": query,
        "headers": [(bytes(name), bytes(value)) for name, value in request.headers],
        "client": None,
        "server": None,
    }
