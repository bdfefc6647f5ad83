"""Payload <-> bytes: a JSON document behind a short header, never pickle.

    byte 0      kind of the document, below
    bytes 1-4   CRC-32 over the job's id, the kind and all that follows, big-endian
    byte 5      length of the function's name
    byte 6 …    the function's name, in UTF-8
    then        the document:
                `a`  JSON of the args, where there is nothing else
                `k`  JSON of the kwargs, where there is nothing else
                `j`  JSON: [args, kwargs, options]
                `x`  what the application's own serializer made of {"a": …, "k": …, "o": …}

The checksum binds a body to its job, so that bytes changed on disk (FAULTS S28) or moved to
another job are found before a function sees them. Redis scripts never look inside.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from zlib import crc32

from pydantic_core import from_json, to_json

from jobs.errors import InvalidOption, InvalidPayload, PayloadTooLarge, UnreadableBody

ARGS, KWARGS, CALL, OWN = b"a", b"k", b"j", b"x"
#: arq's `job_serializer` and `job_deserializer`: a dict to bytes and back.
Serializer = Callable[[dict[str, Any]], bytes]
Deserializer = Callable[[bytes], dict[str, Any]]
#: Limit of an encoded body; the seeds ask for small payloads (ids, not objects).
MAX_BODY_BYTES = 1024 * 1024
#: Limit of a function's name, whose length is one byte.
MAX_FUNCTION_BYTES = 255

_BOUND = struct.Struct(">cI")
_HEADER = struct.Struct(">cIB")
#: Fewer brackets than this cannot nest deeper than the reader goes (pydantic_core: 200).
_SAFE_DEPTH = 190
#: Fewer bytes than this cannot hold so many brackets, and those that close them.
_SAFE_BYTES = 2 * _SAFE_DEPTH


class Body(NamedTuple):
    """What a producer asked for, as a worker reads it."""

    function: str
    args: list[Any]
    kwargs: dict[str, Any]
    options: dict[str, Any]


def encode_body(  # noqa: PLR0913 -- the parts of an envelope, each named at the one call
    job_id: str,
    function: str,
    args: Sequence[Any],
    kwargs: Any,
    options: dict[str, Any] | None = None,
    *,
    limit: int = MAX_BODY_BYTES,
    serializer: Serializer | None = None,
) -> bytes:
    """The body of one job; `kwargs` is a dict or a pydantic model that is written as one.

    Raises:
        InvalidOption: nothing can be called `function`.
        InvalidPayload: an argument cannot be written, or not be read back.
        PayloadTooLarge: the body has more than `limit` bytes.
    """
    name = _name(function)
    try:
        if serializer is not None:
            kind = OWN
            document = serializer({"a": tuple(args), "k": dict(kwargs), "o": options or {}})
        elif options:
            kind, document = CALL, to_json([args, kwargs, options])
        elif type(kwargs) is dict and not kwargs:  # a model may say that it is empty
            kind, document = ARGS, to_json(args)
        elif not args:
            kind, document = KWARGS, to_json(kwargs)
        else:
            kind, document = CALL, to_json([args, kwargs, {}])
        rest = name + document
    except Exception as error:  # a serializer may raise anything; the payload is at fault
        raise InvalidPayload(function, [("arguments", _why(error))]) from error
    if len(document) >= _SAFE_BYTES and serializer is None:
        _check_depth(function, document)
    if len(rest) + _BOUND.size > limit:
        raise PayloadTooLarge(function, len(rest) + _BOUND.size, limit)
    return _BOUND.pack(kind, crc32(rest, crc32(job_id.encode() + kind))) + rest


def rebind_body(job_id: str, data: bytes) -> bytes:
    """The same body for another job id."""
    kind, rest = data[:1], data[_BOUND.size :]
    return _BOUND.pack(kind, crc32(rest, crc32(job_id.encode() + kind))) + rest


def decode_body(job_id: str, data: bytes, deserializer: Deserializer | None = None) -> Body:
    """What `encode_body` wrote for this job id.

    Raises:
        UnreadableBody: another kind, a wrong checksum, or no such document.
    """
    if len(data) < _HEADER.size:
        raise UnreadableBody(f"the body of {job_id!r} has only {len(data)} bytes")
    kind, checksum, length = _HEADER.unpack_from(data)
    if crc32(data[_BOUND.size :], crc32(job_id.encode() + kind)) != checksum:
        raise _unread(job_id, kind, changed=True)
    at = _HEADER.size + length
    try:
        function, document = data[_HEADER.size : at].decode(), data[at:]
        if kind == ARGS:
            return Body(function, _of(list, from_json(document, cache_strings="keys")), {}, {})
        if kind == KWARGS:
            return Body(function, [], _of(dict, from_json(document, cache_strings="keys")), {})
        if kind == CALL:
            args, kwargs, options = from_json(document, cache_strings="keys")
            return Body(function, args, kwargs, options)
        if kind == OWN and deserializer is not None:
            own = deserializer(document)
            return Body(function, own["a"], own["k"], own["o"])
    except Exception as error:  # a deserializer may raise anything; the bytes are at fault
        raise UnreadableBody(f"the body of {job_id!r} is no job: {error}") from error
    raise _unread(job_id, kind)


@lru_cache(maxsize=4096)
def _name(function: str) -> bytes:
    """The name as it stands in a body, behind its length; remembered, since names are few."""
    try:
        name = function.encode()
    except UnicodeEncodeError:
        raise InvalidOption(f"the name of a function is Unicode text, not {function!r}") from None
    if len(name) > MAX_FUNCTION_BYTES:
        raise InvalidOption(
            f"the name of a function has at most {MAX_FUNCTION_BYTES} bytes, this one has "
            f"{len(name)}: {function[:40]!r}…"
        )
    return b"%c%b" % (len(name), name)


def _of(kind: type, document: Any) -> Any:
    if type(document) is not kind:
        raise TypeError(f"expected a {kind.__name__}, found a {type(document).__name__}")
    return document


def _check_depth(function: str, document: bytes) -> None:
    """The writer nests deeper than the reader: what no worker can read must not be queued."""
    # In text, what is left without the brackets is known thirty times sooner than their `count`.
    left = len(document.replace(b"[", b"")) + len(document.replace(b"{", b""))
    if 2 * len(document) - left <= _SAFE_DEPTH:
        return
    try:
        from_json(document)
    except ValueError as error:
        raise InvalidPayload(function, [("arguments", str(error))]) from error


def _unread(job_id: str, kind: bytes, *, changed: bool = False) -> UnreadableBody:
    body = f"the body of {job_id!r}"
    if kind not in (ARGS, KWARGS, CALL, OWN):
        return UnreadableBody(
            f"{body} is of the kind {kind!r}, which this release does not know: was it written "
            "by a newer release?"
        )
    if changed:
        return UnreadableBody(f"{body} was changed: its checksum does not fit")
    return UnreadableBody(
        f"{body} was written with a `job_serializer`: this worker needs the `job_deserializer`"
    )


def _why(error: BaseException) -> str:
    text = str(error)
    return text.replace("Error serializing to JSON: ", "") or type(error).__name__
