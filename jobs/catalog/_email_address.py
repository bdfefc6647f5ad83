"""Checks of single values that end in a header, an SMTP command or a link: pure, no I/O.

The framework checks every such value itself, whatever the client library does: header injection
was found in aiosmtplib (GHSA-v3q9-hj7j-63hq) and in CPython (CVE-2026-1299).
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from email_validator import ValidatedEmail


# Controls (CR, LF, NUL, tab …), the Unicode line and paragraph separators (Python's header code
# splits lines there too) and lone surrogates, which no encoding can carry.
_UNSAFE = frozenset({"Cc", "Zl", "Zp", "Cs"})
_SHOWN = 80


def shown(value: str) -> str:
    """Return `value` quoted, escaped and cut, fit for an error message."""
    return repr(value if len(value) <= _SHOWN else value[:_SHOWN] + "…")


def check_line(value: str) -> str:
    """Return `value` unchanged if it is one line of printable text.

    Raises:
        ValueError: it holds a line break, another control character or a lone surrogate; the
            message shows that character and not the value, which may be secret.
    """
    for index, char in enumerate(value):
        if unicodedata.category(char) in _UNSAFE:
            message = f"expected one line without control characters, got {char!a} at {index}"
            raise ValueError(message)
    return value


def check_text(value: str) -> str:
    """Return `value` unchanged if it can be encoded, whatever its lines.

    Raises:
        ValueError: it holds a lone surrogate, as JSON escapes can smuggle in.
    """
    try:
        value.encode()
    except UnicodeEncodeError as error:
        message = f"expected text, got half a character (a lone surrogate) at {error.start}"
        raise ValueError(message) from None
    return value


def parse_address(value: str) -> ValidatedEmail:
    """Return the parsed address of `value`, such as ``ada@example.com``; asks no DNS.

    Raises:
        ValueError: it is no e-mail address, or holds a control character.
    """
    # 50 ms to import, for its tables of international names: not where nothing is validated.
    from email_validator import EmailNotValidError, validate_email

    check_line(value)
    try:
        return validate_email(value, check_deliverability=False)
    except EmailNotValidError as error:
        message = f"expected an e-mail address such as ada@example.com, got {shown(value)}: {error}"
        raise ValueError(message) from None


def check_address(value: str) -> str:
    """Return `value` as a normalised address; raises as `parse_address` does."""
    return parse_address(value).normalized


def wire_address(value: str) -> str:
    """Return the form of an address for SMTP: ASCII wherever one exists (IDNA domain).

    The result is not ASCII only if the part before the @ is not; such an address needs a server
    with SMTPUTF8 (RFC 6531). Raises as `parse_address` does.
    """
    parsed = parse_address(value)
    return parsed.ascii_email or f"{parsed.local_part}@{parsed.ascii_domain}"


def check_link(value: object) -> str:
    """Return `value` if it is an absolute http or https address, fit for an ``href``.

    Escaping does not help against ``javascript:`` links, hence the check of the scheme.

    Raises:
        ValueError: any other scheme, no host, white space or a control character; the message
            does not show the link, which may hold a token.
    """
    text = check_line(str(value))
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"}:
        message = f"expected a link beginning with https:// or http://, got {parts.scheme!r}"
        raise ValueError(message)
    if not parts.hostname or any(char.isspace() for char in text):
        message = "expected a link with a host and without white space"
        raise ValueError(message)
    return text
