"""The mailer: a few SMTP connections, opened when first needed and reused from job to job."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl

from aiosmtplib import (
    SMTP,
    SMTPException,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)

from jobs import errors
from jobs.catalog._email_address import wire_address
from jobs.catalog._email_errors import MailRefused, MailServerUntrusted
from jobs.catalog._email_message import Letter, compose
from jobs.catalog._email_payload import Email
from jobs.catalog._email_replies import CONVERSATION, explain, explain_login
from jobs.catalog._email_settings import EmailSettings

logger = logging.getLogger("jobs.catalog.email")

_SERVICE_CLOSING = 421
_REFUSALS = range(400, 600)


class Mailer:
    """Sends letters over connections that it keeps, and closes them with `aclose`.

    Made once a worker (`on_startup`) and shared by its e-mail jobs; makes no connection before
    the first letter. A connection that the server has closed meanwhile is replaced unnoticed.

    Args:
        settings: the mail server, the sender and the templates.

    Raises:
        ConfigurationError: `settings.ca_file` holds no certificates.
    """

    def __init__(self, settings: EmailSettings) -> None:
        # Jinja costs 60 ms to import, and producers need the payload only.
        from jobs.catalog._email_templates import EmailTemplates

        self.settings = settings
        self.templates = EmailTemplates(
            settings.templates_dir, name=settings.sender_name, url=settings.base_url or ""
        )
        self._server = f"the mail server {settings.host}:{settings.port}"
        self._tls = None if settings.tls == "none" else _verifying_context(settings)
        self._slots = asyncio.Semaphore(settings.connections)
        self._idle: list[SMTP] = []
        self._closed = False

    def compose(self, email: Email, key: str) -> Letter:
        """Build the letter of the job with this idempotency key; raises as `send_email` does."""
        return compose(email, self.settings, self.templates.render, key)

    async def send(self, letter: Letter) -> None:
        """Hand `letter` to the mail server; returns once the server has taken it.

        Raises:
            MailServerBusy: the server cannot take it now or cannot be reached; try again.
            MailServerUntrusted: the connection is not safe; nothing was sent.
            MailRefused: the server refused it for good.
            JobsError: the mailer is closed.
        """
        if self._closed:
            message = "the mailer is closed; it ends with its worker"
            raise errors.JobsError(message)
        async with self._slots:
            try:
                await self._deliver(letter)
            except CONVERSATION as error:
                raise explain(error, self._server) from error

    async def aclose(self) -> None:
        """Say goodbye on every idle connection and close it; safe to call twice."""
        self._closed = True
        while self._idle:
            smtp = self._idle.pop()
            with contextlib.suppress(*CONVERSATION):
                await smtp.quit(timeout=1.0)
            smtp.close()

    async def _deliver(self, letter: Letter) -> None:
        smtp = await self._begin(letter)
        try:
            await self._transfer(smtp, letter)
        except SMTPResponseException as error:
            await self._reset(smtp, error)
            raise
        except BaseException:
            # Time-out or cancellation in mid-conversation: the next reply on this connection
            # would belong to this letter.
            smtp.close()
            raise
        self._keep(smtp)

    async def _begin(self, letter: Letter) -> SMTP:
        """Return a connection that has accepted the letter's sender.

        The first command shows whether a kept connection still lives. Only up to here may a
        letter be moved to a new connection: once its text is under way, it might have arrived.
        """
        while self._idle:
            smtp = self._idle.pop()
            if not smtp.is_connected:
                continue
            try:
                await self._announce(smtp, letter)
            except CONVERSATION as error:
                if not _was_stale(error):
                    raise
                logger.debug("%s had closed an idle connection", self._server)
            else:
                return smtp
        smtp = await self._connect()
        await self._announce(smtp, letter)
        return smtp

    async def _announce(self, smtp: SMTP, letter: Letter) -> None:
        if letter.needs_utf8:
            self._require_utf8(smtp, letter)
        options = ["SMTPUTF8", "BODY=8BITMIME"] if letter.needs_utf8 else []
        try:
            await smtp.mail(letter.sender, options=options, encoding=_encoding(letter))
        except SMTPResponseException as error:
            await self._reset(smtp, error)
            raise
        except BaseException:
            smtp.close()
            raise

    def _require_utf8(self, smtp: SMTP, letter: Letter) -> None:
        if smtp.supports_extension("smtputf8"):
            return
        self._keep(smtp)
        message = (
            f"{self._server} does not offer SMTPUTF8, which an address outside ASCII needs "
            f"(from {letter.sender!r} to {letter.to!r})"
        )
        raise MailRefused(message)

    async def _transfer(self, smtp: SMTP, letter: Letter) -> None:
        await smtp.rcpt(letter.to, encoding=_encoding(letter))
        await smtp.data(letter.content)

    async def _reset(self, smtp: SMTP, refusal: SMTPResponseException) -> None:
        """Keep the connection after a refusal of one letter, if it can take another."""
        try:
            if refusal.code not in _REFUSALS:  # garbage: replies and commands no longer pair up
                smtp.close()
            await smtp.rset()
        except CONVERSATION:
            smtp.close()
        except BaseException:
            smtp.close()
            raise
        else:
            self._keep(smtp)

    def _keep(self, smtp: SMTP) -> None:
        if self._closed or not smtp.is_connected:
            smtp.close()
        else:
            self._idle.append(smtp)

    async def _connect(self) -> SMTP:
        smtp = SMTP(
            hostname=self.settings.host,
            port=self.settings.port,
            timeout=self.settings.timeout_s,
            use_tls=self.settings.tls == "implicit",
            start_tls=False,  # done below, where a server that does not offer it is named as such
            tls_context=self._tls,
            local_hostname=_own_name(self.settings),
        )
        await smtp.connect()
        try:
            await self._secure(smtp)
            await self._login(smtp)
        except BaseException:
            smtp.close()
            raise
        return smtp

    async def _secure(self, smtp: SMTP) -> None:
        await smtp.ehlo()
        if self.settings.tls != "starttls":
            return
        if not smtp.supports_extension("starttls"):
            message = (
                f"{self._server} does not offer STARTTLS; either it cannot, or somebody on the "
                "way took the offer out. Nothing was sent"
            )
            raise MailServerUntrusted(message)
        await smtp.starttls()
        await smtp.ehlo()

    async def _login(self, smtp: SMTP) -> None:
        username, password = self.settings.username, self.settings.password
        if username is None or password is None:
            return
        if smtp.get_transport_info("sslcontext") is None:
            message = f"{self._server} would get the password in clear; it was not sent"
            raise MailServerUntrusted(message)
        try:
            await smtp.login(username, password.get_secret_value())
        except SMTPResponseException as error:
            code = error.code
        except (SMTPServerDisconnected, SMTPTimeoutError):
            raise
        except SMTPException as error:
            message = f"{self._server} offers no way to log in that is known here: {error}"
            raise MailRefused(message) from None
        else:
            return
        # Raised outside the handler, so that the reply hangs on it neither as cause nor context.
        raise explain_login(code, self._server, username)


def _verifying_context(settings: EmailSettings) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if settings.ca_file is not None:
        try:
            context.load_verify_locations(settings.ca_file)
        except ssl.SSLError as error:
            message = f"expected certificates in PEM form in {str(settings.ca_file)!r}: {error}"
            raise errors.ConfigurationError(message) from None
    return context


def _encoding(letter: Letter) -> str:
    return "utf-8" if letter.needs_utf8 else "ascii"


def _was_stale(error: Exception) -> bool:
    if isinstance(error, SMTPResponseException):
        return error.code == _SERVICE_CLOSING
    return isinstance(error, SMTPServerDisconnected)


def _own_name(settings: EmailSettings) -> str:
    """The name for EHLO. No look-up of a full name: it blocks for seconds where DNS is slow."""
    name = socket.gethostname()
    if "." in name and name.isascii():
        return name
    return wire_address(settings.sender).rpartition("@")[2]
