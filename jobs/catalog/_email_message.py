"""From an `Email` to the bytes that travel: headers, Message-ID, envelope. No I/O."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime
from typing import TypeAlias

from pydantic import JsonValue

from jobs.catalog._email_address import wire_address
from jobs.catalog._email_errors import UnsafeHeader
from jobs.catalog._email_headers import address_line, header_line
from jobs.catalog._email_payload import Email
from jobs.catalog._email_settings import EmailSettings


@dataclass(frozen=True)
class Letter:
    """A message with its envelope; `needs_utf8` if an address cannot be written in ASCII."""

    sender: str
    to: str
    subject: str
    message_id: str
    needs_utf8: bool
    content: bytes


@dataclass(frozen=True)
class Rendered:
    """One message's words: the subject, the plain text, the HTML."""

    subject: str
    text: str
    html: str


Render: TypeAlias = Callable[[str, str, str, Mapping[str, JsonValue]], Rendered]
"""Renders (template, language, recipient, data), as `EmailTemplates.render` does."""


def compose(email: Email, settings: EmailSettings, render: Render, key: str) -> Letter:
    """Build the letter of one job.

    Args:
        email: the payload.
        settings: gives the sender.
        render: renders the words, if the payload names a template.
        key: stable over the attempts of the job, so that the Message-ID is too.

    Raises:
        TemplateFailed: the template cannot be rendered with the data.
        UnsafeHeader: a header or address, with its data filled in, holds a line break.
    """
    words = _words(email, render)
    sender, to = _wire(email.from_ or settings.sender), _wire(email.to)
    reply_to = _wire(email.reply_to) if email.reply_to else None
    own_id = message_id(key, sender)
    lines = [
        address_line("From", sender, settings.sender_name),
        address_line("To", to),
        header_line("Subject", words.subject),
        f"Message-ID: {own_id}",
        f"Date: {format_datetime(datetime.now(UTC))}",
        # RFC 3834: asks out-of-office responders not to answer a machine.
        "Auto-Submitted: auto-generated",
        *_unsubscribe(email),
    ]
    if reply_to:
        lines.append(address_line("Reply-To", reply_to))
    return Letter(
        sender=sender,
        to=to,
        subject=words.subject,
        message_id=own_id,
        needs_utf8=not f"{sender}{to}{reply_to}".isascii(),
        content="".join(f"{line}\r\n" for line in lines).encode() + _body(words),
    )


def message_id(key: str, sender: str) -> str:
    """Return the Message-ID for an idempotency key: equal keys, equal ids, nothing disclosed."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    return f"<{digest[:32]}@{sender.rpartition('@')[2]}>"


def _unsubscribe(email: Email) -> list[str]:
    """The header behind the mail program's own button (RFC 2369), which Gmail and Yahoo demand of
    bulk senders. Left out if the link does not fit into it: it stands in the message as well.
    """
    link = str(email.data.get("unsubscribe_url", "")) if email.template == "newsletter" else ""
    fits = re.fullmatch(r"[!-;=?-~]{1,900}", link)
    return [f"List-Unsubscribe: <{link}>"] if fits else []


def _words(email: Email, render: Render) -> Rendered:
    if email.template is None:
        return Rendered(email.subject or "", email.text or "", email.html or "")
    words = render(email.template, email.lang, email.to, email.data)
    return Rendered(email.subject or words.subject, words.text, words.html)


def _wire(address: str) -> str:
    try:
        return wire_address(address)
    except ValueError as error:
        raise UnsafeHeader(str(error)) from None


def _body(words: Rendered) -> bytes:
    """The MIME part of the message: its own headers, an empty line, the content."""
    part = EmailMessage(policy=policy.SMTP)
    # Quoted-printable throughout: no line is too long, no server needs 8BITMIME, and a NUL or a
    # lone CR in a text is encoded instead of sent.
    if words.text:
        part.set_content(words.text, cte="quoted-printable")
    if words.html and words.text:
        part.add_alternative(words.html, subtype="html", cte="quoted-printable")
    elif words.html:
        part.set_content(words.html, subtype="html", cte="quoted-printable")
    return part.as_bytes()
