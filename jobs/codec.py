"""Payload <-> bytes: a JSON document behind a short header, never pickle.

    byte 0      version of the envelope (1)
    byte 1      codec of the document (`j`: JSON, `x`: the application's own serializer)
    bytes 2-5   CRC-32 over the job's id, these two bytes and the document, big-endian
    byte 6 …    JSON: [function, args, kwargs] or [function, args, kwargs, options];
                own serializer: what it made of {"f": …, "a": …, "k": …, "o": …}

The checksum binds a body to its job, so that bytes changed on disk (FAULTS S28) or moved to
another job are found before a function sees them. Redis scripts never look inside.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from zlib import crc32

from pydantic_core import from_json, to_json

from jobs.errors import InvalidPayload, PayloadTooLarge, UnreadableBody

VERSION = 1
JSON_CODEC, OWN_CODEC = ord("j"), ord("x")
#: arq's `job_serializer` and `job_deserializer`: a dict to bytes and back.
Serializer = Callable[[dict[str, Any]], bytes]
Deserializer = Callable[[bytes], dict[str, Any]]
#: Limit of an encoded body; the seeds ask for small payloads (ids, not objects).
MAX_BODY_BYTES = 1024 * 1024

_HEADER = struct.Struct(">BBI")
_SUM = struct.Struct(">I")
_KIND = struct.Struct(">BB")
_JSON_KIND, _OWN_KIND = _KIND.pack(VERSION, JSON_CODEC), _KIND.pack(VERSION, OWN_CODEC)
#: Fewer brackets than this cannot nest deeper than the reader goes (pydantic_core: 200).
_SAFE_DEPTH = 190


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
        InvalidPayload: an argument cannot be written, or not be read back.
        PayloadTooLarge: the body has more than `limit` bytes.
    """
    try:
        document = _document(function, args, kwargs, options or {}, serializer)
    except Exception as error:  # a serializer may raise anything; the payload is at fault
        raise InvalidPayload(function, [("arguments", _why(error))]) from error
    if serializer is None and document.count(b"[") + document.count(b"{") > _SAFE_DEPTH:
        _readable_back(function, document)
    if len(document) + _HEADER.size > limit:
        raise PayloadTooLarge(function, len(document) + _HEADER.size, limit)
    kind = _JSON_KIND if serializer is None else _OWN_KIND
    return b"%b%b%b" % (kind, _SUM.pack(_checksum(job_id, kind, document)), document)


def decode_body(job_id: str, data: bytes, deserializer: Deserializer | None = None) -> Body:
    """What `encode_body` wrote for this job id.

    Raises:
        UnreadableBody: another version or codec, a wrong checksum, or no such document.
    """
    if len(data) < _HEADER.size:
        raise UnreadableBody(f"the body of {job_id!r} has only {len(data)} bytes")
    version, codec, checksum = _HEADER.unpack_from(data)
    document = data[_HEADER.size :]
    if version == VERSION and _checksum(job_id, data[: _KIND.size], document) != checksum:
        raise UnreadableBody(f"the body of {job_id!r} was changed: its checksum does not fit")
    try:
        if (version, codec) == (VERSION, JSON_CODEC):
            parts = from_json(document, cache_strings="keys")
            function, args, kwargs, *options = parts
            return Body(function, args, kwargs, *(options or ({},)))
        if (version, codec) == (VERSION, OWN_CODEC) and deserializer is not None:
            own = deserializer(document)
            return Body(own["f"], own["a"], own["k"], own["o"])
    except Exception as error:  # a deserializer may raise anything; the bytes are at fault
        raise UnreadableBody(f"the body of {job_id!r} is no job: {error}") from error
    raise UnreadableBody(
        f"the body of {job_id!r} has version {version} and codec {chr(codec)!r}; this worker reads "
        f"version {VERSION} and codec {'j' if deserializer is None else 'j or x'}: "
        "was it written by a newer release, or with a job_serializer?"
    )


def _document(
    function: str,
    args: Sequence[Any],
    kwargs: Any,
    options: dict[str, Any],
    serializer: Serializer | None,
) -> bytes:
    if serializer is not None:
        return serializer({"f": function, "a": tuple(args), "k": dict(kwargs), "o": options})
    return to_json([function, args, kwargs, options] if options else [function, args, kwargs])


def _checksum(job_id: str, kind: bytes, document: bytes) -> int:
    return crc32(document, crc32(job_id.encode() + kind))


def _readable_back(function: str, document: bytes) -> None:
    """The writer nests deeper than the reader: what no worker can read must not be queued."""
    try:
        from_json(document)
    except ValueError as error:
        raise InvalidPayload(function, [("arguments", str(error))]) from error


def _why(error: BaseException) -> str:
    text = str(error)
    return text.replace("Error serializing to JSON: ", "") or type(error).__name__
