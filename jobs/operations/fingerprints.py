"""Which errors are the same one: their type, their message without what differs, and the place."""

from __future__ import annotations

import re
from hashlib import sha1

#: What differs between two messages of one error, and what stands for it; the order matters.
_DIFFERENT = [
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "<address>"),
    (re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>)]+", re.IGNORECASE), "<url>"),
    (re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\b0x[0-9a-f]+\b", re.IGNORECASE), "<hex>"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{12,}\b", re.IGNORECASE), "<hex>"),
    (re.compile(r"'[^'\n]*'|\"[^\"\n]*\""), "<text>"),
    (re.compile(r"\d+(?:[.,:]\d+)*"), "<n>"),
    (re.compile(r"\s+"), " "),
]
_FRAME = re.compile(r'^\s*File "(?P<path>[^"]+)", line \d+, in (?P<name>.+)$', re.MULTILINE)
#: Files that are not the application's own: the standard library, what is installed, this package.
_FOREIGN = re.compile(
    r"[/\\](?:site-packages|dist-packages|lib[/\\]python[\d.]+)[/\\]|^<|[/\\]jobs[/\\]engine[/\\]"
)
_BEGIN = "Traceback (most recent call last)"
LENGTH = 12


def fingerprint(kind: str, message: str, traceback: str = "") -> str:
    """A short name for all errors that are the same one.

    Args:
        kind: the type of the error.
        message: its text; numbers, ids, addresses and quoted text in it do not count.
        traceback: its frames, if they were kept; the innermost one of the application's own
            code counts, without its line, which every release moves.
    """
    what = "\n".join([kind, normalised(message), own_frame(traceback)])
    return sha1(what.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()[:LENGTH]


def normalised(message: str) -> str:
    """The message with placeholders for what differs from one error to the next."""
    for pattern, word in _DIFFERENT:
        message = pattern.sub(word, message)
    return message.strip()


def own_frame(traceback: str) -> str:
    """`file.py in function` of the innermost frame of the application's code, else of any."""
    last = traceback[traceback.rfind(_BEGIN) :] if _BEGIN in traceback else traceback
    frames = [(match["path"], match["name"]) for match in _FRAME.finditer(last)]
    own = [frame for frame in frames if not _FOREIGN.search(frame[0])]
    if not frames:
        return ""
    path, name = (own or frames)[-1]
    file = path.replace("\\", "/").rpartition("/")[2]
    return f"{file} in {name}"
