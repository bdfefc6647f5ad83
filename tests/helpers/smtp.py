"""A mail server for tests: it keeps what it gets, and misbehaves when told to.

async with SmtpSink() as sink:
    sink.answer("RCPT", "451 4.7.1 greylisted")     # the next RCPT only
    ...
    assert sink.messages[0].headers["Subject"] == "Welcome"
"""

from __future__ import annotations

import asyncio
import ssl
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTPUTF8
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from jobs import Context
from jobs.catalog.email import EmailSettings, Mailer

HOST: Final = "127.0.0.1"

# Answers that are no reply: close the connection, or never say anything.
HANG_UP: Final = "hang up"
SILENCE: Final = "silence"

_Command = Callable[[str | None], Awaitable[None]]


@dataclass(frozen=True)
class Received:
    """One message as the sink took it: the envelope, its options and the content."""

    sender: str
    recipients: list[str]
    options: list[str]
    content: bytes

    @property
    def headers(self) -> EmailMessage:
        """The message, parsed; its headers are read like a mapping."""
        message = message_from_bytes(self.content, policy=SMTPUTF8)
        assert isinstance(message, EmailMessage)
        return message

    @property
    def header_names(self) -> list[str]:
        """The names of all header lines, as they stand in the raw bytes."""
        head = self.content.partition(b"\r\n\r\n")[0]
        lines = [line for line in head.split(b"\r\n") if line[:1] not in {b" ", b"\t"}]
        return [line.partition(b":")[0].decode() for line in lines]

    def body(self, kind: str) -> str:
        """The part of kind `plain` or `html`."""
        part = self.headers.get_body((kind,))
        assert part is not None, f"the message has no {kind} part"
        return str(part.get_content()).replace("\r\n", "\n")


@asynccontextmanager
async def mailer_for(sink: SmtpSink, **changes: Any) -> AsyncIterator[Mailer]:
    """A mailer that talks to `sink`, closed at the end; unencrypted unless `changes` say so."""
    values = {"sender": "jobs@example.com", "host": HOST, "port": sink.port, "tls": "none"}
    mailer = Mailer(EmailSettings(**{**values, **changes}))
    try:
        yield mailer
    finally:
        await mailer.aclose()


def context_for(mailer: Mailer, job_id: str = "j1") -> Context:
    """The context of one e-mail job."""
    return Context(
        {"mailer": mailer}, job_id=job_id, queue="email", function="email", attempt=1, attempts=5
    )


class Certificates:
    """An authority of its own, made on the spot, and certificates that it issues."""

    def __init__(self, folder: Path) -> None:
        self.ca_file = folder / "ca.pem"
        self._ca = trustme.CA()
        self._ca.cert_pem.write_to_path(str(self.ca_file))

    def context(self, *names: str) -> ssl.SSLContext:
        """The server side of TLS with a certificate for `names` (default: the sink's address)."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._ca.issue_cert(*(names or (HOST, "localhost"))).configure_cert(context)
        return context


@dataclass
class SmtpSink(AbstractAsyncContextManager["SmtpSink"]):
    """A mail server on a free port of 127.0.0.1, for as long as the context is open.

    Attributes:
        tls: offer STARTTLS with this context; default no.
        implicit_tls: speak TLS from the first byte with this context; default no.
        login: the (username, password) that AUTH accepts; default none is accepted.
        auth_in_clear: offer AUTH also on an unencrypted connection; default no.
        no_auth: offer no AUTH at all; default no.
        utf8: offer SMTPUTF8; default yes.
        messages: what was received, oldest first.
        connections: how many were made.
        conversation: (who, bytes) in order, who being "client" or "server"; without the
            TLS handshake, and decrypted after it.
    """

    tls: ssl.SSLContext | None = None
    implicit_tls: ssl.SSLContext | None = None
    login: tuple[str, str] | None = None
    auth_in_clear: bool = False
    no_auth: bool = False
    utf8: bool = True
    port: int = 0
    messages: list[Received] = field(default_factory=list)
    connections: int = 0
    conversation: list[tuple[str, bytes]] = field(default_factory=list)
    _answers: dict[str, deque[str]] = field(default_factory=lambda: defaultdict(deque))
    _sessions: set[_Conversation] = field(default_factory=set)
    _server: asyncio.Server | None = None

    def answer(self, command: str, reply: str, times: int = 1) -> None:
        """Answer the next `times` runs of `command` with `reply` instead of obeying.

        Commands are CONNECT, EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, RSET and "." (the end of
        the content). `reply` is a line such as "451 later", `HANG_UP` or `SILENCE`.
        """
        self._answers[command].extend([reply] * times)

    def next_answer(self, command: str) -> str | None:
        """Take the answer that was laid down for `command`, if any."""
        answers = self._answers[command]
        return answers.popleft() if answers else None

    @property
    def sent(self) -> bytes:
        """Every byte that clients have sent."""
        return b"".join(data for who, data in self.conversation if who == "client")

    @property
    def open(self) -> int:
        """How many connections are open now."""
        return len(self._sessions)

    @property
    def commands(self) -> list[str]:
        """Every line that clients have sent outside the content of a message."""
        lines: list[str] = []
        content: bytes | None = None
        for who, data in self.conversation:
            if who == "server":
                content = b"" if data.startswith(b"354") else content
            elif content is None:
                lines += data.decode("utf-8", "backslashreplace").split("\r\n")[:-1]
            else:
                # The client waits for the reply, so no command follows in the same chunk.
                content += data
                content = None if content.endswith(b"\r\n.\r\n") else content
        return lines

    def count(self, verb: str) -> int:
        """How many commands began with `verb`."""
        return sum(line.upper().startswith(verb) for line in self.commands)

    async def drop_connections(self) -> None:
        """Close every connection from the server's side, as mail servers do with idle ones."""
        for session in list(self._sessions):
            await session.end()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            partial(_Conversation, self, loop), HOST, self.port, ssl=self.implicit_tls
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self.drop_connections()
        await self._server.wait_closed()

    def opened(self, session: _Conversation) -> None:
        """Note a new connection."""
        self.connections += 1
        self._sessions.add(session)

    def closed(self, session: _Conversation) -> None:
        """Note that a connection ended."""
        self._sessions.discard(session)

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        """Accept the one login that the sink knows (aiosmtpd's authenticator)."""
        assert isinstance(data, LoginPassword)
        given = (data.login.decode(), data.password.decode())
        return AuthResult(success=given == self.login, handled=False)

    async def handle_EHLO(  # noqa: N802 - the name is aiosmtpd's
        self, server: SMTP, session: Session, envelope: Envelope, name: str, offers: list[str]
    ) -> list[str]:
        """Take out of the offers what this sink does not offer (aiosmtpd's hook)."""
        session.host_name = name
        return [line for line in offers if not (self.no_auth and "AUTH" in line)]

    async def handle_DATA(  # noqa: N802 - the name is aiosmtpd's
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Keep a message (aiosmtpd's hook at the end of the content)."""
        scripted = self.next_answer(".")
        if scripted is not None:
            assert isinstance(server, _Conversation)
            return await server.misbehave(scripted)
        content = envelope.original_content
        assert isinstance(content, bytes)
        assert envelope.mail_from is not None
        self.messages.append(
            Received(envelope.mail_from, list(envelope.rcpt_tos), envelope.mail_options, content)
        )
        return "250 2.0.0 taken"


class _Conversation(SMTP):
    """One connection of the sink; records every line and gives the scripted answers."""

    def __init__(self, sink: SmtpSink, loop: asyncio.AbstractEventLoop) -> None:
        self._sink = sink
        super().__init__(
            sink,
            loop=loop,
            hostname="sink.example.com",
            tls_context=sink.tls,
            enable_SMTPUTF8=sink.utf8,
            authenticator=sink.authenticate,
            # With implicit TLS aiosmtpd does not see that the connection is encrypted.
            auth_require_tls=not (sink.auth_in_clear or sink.implicit_tls),
        )
        for command, obey in list(self._smtp_methods.items()):
            self._smtp_methods[command] = partial(self._run, command, obey)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._original_transport is None:
            self._sink.opened(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._sink.closed(self)
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        self._sink.conversation.append(("client", data))
        super().data_received(data)

    async def push(self, status: str | bytes) -> None:
        line = status.encode() if isinstance(status, str) else status
        if line.startswith(b"220 sink") and (scripted := self._sink.next_answer("CONNECT")):
            line = scripted.encode()
        self._sink.conversation.append(("server", line))
        await super().push(line)

    async def misbehave(self, scripted: str) -> str:
        """Return the scripted reply, or do what stands there instead of one."""
        if scripted == HANG_UP:
            self.hang_up()
        if scripted in {HANG_UP, SILENCE}:
            await asyncio.Event().wait()
        return scripted

    def hang_up(self) -> None:
        """Close the connection without a word."""
        if self.transport is not None:
            self.transport.close()

    async def end(self) -> None:
        """Close the connection and wait until its coroutine has ended."""
        self.hang_up()
        task = self._handler_coroutine
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])

    async def _run(self, command: str, obey: _Command, arg: str | None) -> None:
        scripted = self._sink.next_answer(command)
        if scripted is None:
            await obey(arg)
        else:
            await self.push(await self.misbehave(scripted))
