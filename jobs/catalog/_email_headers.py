"""Header lines, written here and not by the standard library.

`email` decodes an encoded word inside a value that it is given: the subject
``=?utf-8?q?x=0D=0ABcc=3A_eve?=`` came out of Python 3.11.7 as a second header (CVE-2024-6923).
"""

from __future__ import annotations

import re
from email.header import Header

from jobs.catalog._email_address import check_line
from jobs.catalog._email_errors import UnsafeHeader

_LINE = 78
_ATOMS = re.compile(r"[A-Za-z0-9 !#$%&'*+/=?^_`{|}~-]+")


def header_line(name: str, value: str) -> str:
    """Return ``Name: value`` for free text, as encoded words (RFC 2047) where it has to be.

    Raises:
        UnsafeHeader: the value is not one line of printable text.
    """
    _require_line(name, value)
    literal = f"{name}: {value}"
    if _is_plain(value) and len(literal) <= _LINE:
        return literal
    return f"{name}: {_encoded(name, value)}"


def address_line(name: str, address: str, display: str = "") -> str:
    """Return ``Name: Display <address>``; `address` is one that `wire_address` returned.

    Raises:
        UnsafeHeader: address or display name is not one line of printable text.
    """
    _require_line(name, display)
    _require_line(name, address)
    return f"{name}: {_phrase(name, display)} <{address}>" if display else f"{name}: {address}"


def _phrase(name: str, display: str) -> str:
    if not _is_plain(display) or len(display) > _LINE // 2:
        return _encoded(name, display)
    if _ATOMS.fullmatch(display):
        return display
    escaped = display.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _is_plain(value: str) -> bool:
    return value.isascii() and "=?" not in value and value == value.strip()


def _encoded(name: str, value: str) -> str:
    return Header(value, "utf-8", header_name=name).encode(linesep="\r\n")


def _require_line(name: str, value: str) -> None:
    try:
        check_line(value)
    except ValueError as error:
        message = f"the header {name} of an e-mail is not safe to send: {error}"
        raise UnsafeHeader(message) from None
