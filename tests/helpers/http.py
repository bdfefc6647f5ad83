"""A real HTTP server whose every byte the test decides: slow, broken, endless, redirecting.

It is written on bare sockets on purpose: it shares no code with the fakes or the clients under
test.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

Respond = Callable[["Request", asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Request:
    """One request as it came: `target` is path and query, header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class HttpServer:
    """Answers each request by the next of its scripts; the last one serves all that follow.

    Args:
        scripts: coroutine functions `(request, writer)`, or answers made by `reply`.
        tls: serve HTTPS with this context.

    `connections` counts every accepted socket, also one that never sends a byte.
    """

    def __init__(self, *scripts: Respond, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self._scripts = list(scripts) or [reply()]
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await _read_request(reader):
                self.requests.append(request)
                script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
                await script(request, writer)
                if writer.is_closing():
                    return
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client hung up, which several tests are about
        finally:
            writer.close()


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head[:-4].split("\r\n")
    method, target, _ = first.split(" ")
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, target, headers, body)


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """The status line and headers of an answer."""
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def reply(
    status: int = 200, body: object = b"", headers: Mapping[str, str] | None = None
) -> Respond:
    """A whole answer; a body that is not bytes is sent as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"content-length": str(len(content)), **(headers or {})}

    async def respond(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head(status, fields) + content)
        await writer.drain()

    return respond


def hang_up() -> Respond:
    """Close the connection without an answer."""

    async def respond(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.close()

    return respond


def silence() -> Respond:
    """Never answer."""

    async def respond(request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    return respond


def drip(status: int | None = 200, chunk: bytes = b"x", pause_s: float = 0.01) -> Respond:
    """A body (or, without a status, a header) that comes bit by bit for ever."""

    async def respond(request: Request, writer: asyncio.StreamWriter) -> None:
        first = (
            head(status, {"content-length": "10000000000"}) if status else b"HTTP/1.1 200 X\r\nx: "
        )
        writer.write(first)
        while True:
            writer.write(chunk)
            await writer.drain()
            await asyncio.sleep(pause_s)

    return respond
