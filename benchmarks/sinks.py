"""The other sides of real work: a mail server and a push service that only take and count.

`python -m benchmarks.sinks smtp` prints the port that it listens on, and at SIGTERM how many
connections were made and how many messages came. As little code as a client needs to see, so
that a machine of two cores measures the worker and not the sink.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import Any, ClassVar

import uvloop


class Sink(asyncio.Protocol):
    """One connection; what all of them took is counted in the class."""

    connections: ClassVar[int] = 0
    messages: ClassVar[int] = 0

    def __init__(self) -> None:
        self.buffer = b""
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        """Count the connection."""
        Sink.connections += 1
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Take as much as is complete."""
        self.buffer += data
        while self.take():
            pass

    def take(self) -> bool:
        """Take one whole command from the buffer, if there is one."""
        raise NotImplementedError

    def answer(self, data: bytes) -> bool:
        """Answer what was taken."""
        self.transport.write(data)
        return True


class Smtp(Sink):
    """A mail server that accepts everything."""

    def __init__(self) -> None:
        super().__init__()
        self.in_message = False

    def connection_made(self, transport: Any) -> None:
        """Greet."""
        super().connection_made(transport)
        self.answer(b"220 sink\r\n")

    def take(self) -> bool:
        """One command line, or one whole message."""
        end = b"\r\n.\r\n" if self.in_message else b"\r\n"
        taken, found, rest = self.buffer.partition(end)
        if not found:
            return False
        self.buffer = rest
        if self.in_message:
            self.in_message = False
            Sink.messages += 1
            return self.answer(b"250 taken\r\n")
        return self.obey(taken[:4].upper())

    def obey(self, verb: bytes) -> bool:
        """Answer one command."""
        if verb == b"QUIT":
            self.answer(b"221 bye\r\n")
            self.transport.close()
            return False
        self.in_message = verb == b"DATA"
        return self.answer(b"354 go\r\n" if self.in_message else b"250 ok\r\n")


class Http(Sink):
    """A service that answers every POST as OneSignal does, on connections that stay open."""

    BODY = b'{"id": "00000000-0000-4000-8000-000000000000"}'
    REPLY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        len(BODY),
        BODY,
    )

    def take(self) -> bool:
        """One request, with the body of the length that it names."""
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        length = content_length(head) if found else 0
        if not found or len(rest) < length:
            return False
        self.buffer = rest[length:]
        Sink.messages += 1
        return self.answer(self.REPLY)


def content_length(head: bytes) -> int:
    """What the header of that name says."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def serve(kind: str) -> None:
    """Listen until SIGTERM."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server({"smtp": Smtp, "http": Http}[kind], "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await stop.wait()
    print(json.dumps({"connections": Sink.connections, "messages": Sink.messages}), flush=True)


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
