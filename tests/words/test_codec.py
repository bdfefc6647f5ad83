"""Bodies: what was written is read back; whatever was changed is found."""

from __future__ import annotations

import json
import struct
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, RootModel

from jobs.codec import (
    MAX_BODY_BYTES,
    MAX_FUNCTION_BYTES,
    decode_body,
    encode_body,
    rebind_body,
)
from jobs.errors import InvalidOption, InvalidPayload, PayloadTooLarge, UnreadableBody

TEXT = st.text(max_size=12)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
JSON = st.recursive(
    PLAIN, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=8
)
CALLS = st.tuples(
    st.text(min_size=1, max_size=20),
    TEXT,
    st.lists(JSON, max_size=3),
    st.dictionaries(TEXT, JSON, max_size=3),
    st.dictionaries(TEXT, JSON, max_size=2),
)
Call = tuple[Any, ...]


def own(value: dict[str, Any]) -> bytes:
    """An application's serializer: JSON with keys of its own order."""
    return json.dumps(value, sort_keys=True).encode()


@given(call=CALLS)
def test_a_body_is_read_back_as_it_was_written(call: Call) -> None:
    job_id, *rest = call
    assert list(decode_body(job_id, encode_body(job_id, *rest))) == rest


@given(call=CALLS)
def test_an_own_serializer_writes_the_same_call(call: Call) -> None:
    job_id, *rest = call
    body = encode_body(job_id, *rest, serializer=own)
    function, args, kwargs, options = decode_body(job_id, body, json.loads)
    assert [function, list(args), kwargs, options] == rest
    with pytest.raises(UnreadableBody, match="job_serializer"):
        decode_body(job_id, body)


@given(call=CALLS, data=st.data(), owned=st.booleans())
def test_any_changed_byte_is_found(call: Call, data: st.DataObject, owned: bool) -> None:
    """S28; also the byte that names the kind, which makes another call of the same document."""
    job_id, *rest = call
    body = bytearray(encode_body(job_id, *rest, serializer=own if owned else None))
    at = data.draw(st.integers(0, len(body) - 1) | st.sampled_from([0, 5]))
    kinds = [first ^ second for first in b"akjx" for second in b"akjx" if first != second]
    body[at] ^= data.draw(st.integers(1, 255) | st.sampled_from(kinds))
    for deserializer in (None, json.loads):
        with pytest.raises(UnreadableBody):
            decode_body(job_id, bytes(body), deserializer)


@given(call=CALLS, cut=st.integers(0, 1_000))
def test_a_body_that_was_cut_is_found(call: Call, cut: int) -> None:
    job_id, *rest = call
    body = encode_body(job_id, *rest)
    with pytest.raises(UnreadableBody):
        decode_body(job_id, body[: cut % len(body)])


@given(call=CALLS, other=st.text(min_size=1, max_size=20))
def test_a_body_belongs_to_one_job(call: Call, other: str) -> None:
    """X12: an old body under a new id."""
    job_id, *rest = call
    if other != job_id:
        with pytest.raises(UnreadableBody, match="checksum"):
            decode_body(other, encode_body(job_id, *rest))


@given(junk=st.binary(max_size=80))
def test_arbitrary_bytes_are_unreadable(junk: bytes) -> None:
    with pytest.raises(UnreadableBody):
        decode_body("a", junk)


@given(call=CALLS, other=st.text(min_size=1, max_size=20), owned=st.booleans())
def test_a_body_can_be_bound_to_another_job(call: Call, other: str, owned: bool) -> None:
    """What a generated id needs that turned out to be taken."""
    job_id, *rest = call
    serializer = own if owned else None
    body = encode_body(job_id, *rest, serializer=serializer)
    assert rebind_body(other, body) == encode_body(other, *rest, serializer=serializer)


def forged(kind: bytes, document: bytes, name: bytes = b"f") -> bytes:
    """A body of job "a" whose checksum fits."""
    rest = bytes([len(name)]) + name + document
    return struct.pack(">cI", kind, crc32(b"a" + kind + rest)) + rest


@pytest.mark.parametrize("kind", [b"z", b"\0", b"\1"])
def test_a_kind_of_another_release_says_so(kind: bytes) -> None:
    """Also when its checksum is another one."""
    for body in (forged(kind, b"[]"), kind + forged(kind, b"[]")[1:3] + b"?" * 9):
        with pytest.raises(UnreadableBody, match=r"is of the kind .* a newer release") as caught:
            decode_body("a", body, json.loads)
        assert repr(kind) in str(caught.value)


@pytest.mark.parametrize(
    ("args", "kwargs", "options", "kind", "document"),
    [
        ([1], {}, {}, b"a", b"[1]"),
        ([], {}, None, b"a", b"[]"),
        ([], {"b": 1}, {}, b"k", b'{"b":1}'),
        ([1], {"b": 1}, {}, b"j", b'[[1],{"b":1},{}]'),
        ([], {}, {"attempts": 2}, b"j", b'[[],{},{"attempts":2}]'),
    ],
)
def test_the_bytes_of_a_body(
    args: Any, kwargs: Any, options: Any, kind: bytes, document: bytes
) -> None:
    """As the head of the module has them, and no more of them than needed."""
    body = encode_body("a", "né", args, kwargs, options)
    assert body == forged(kind, document, "né".encode())
    assert decode_body("a", body) == ("né", args, kwargs, options or {})


class Nothing(BaseModel):
    """A payload without fields."""


class Several(RootModel[dict[str, int]]):
    """A payload that says that it is empty."""

    def __len__(self) -> int:
        return 0


@pytest.mark.parametrize(("model", "kwargs"), [(Nothing(), {}), (Several({"a": 1}), {"a": 1})])
def test_a_model_is_never_taken_for_empty(model: Any, kwargs: dict[str, Any]) -> None:
    assert decode_body("a", encode_body("a", "f", [], model)) == ("f", [], kwargs, {})


@pytest.mark.parametrize("letter", ["a", "é", "🦄"])
def test_the_length_of_a_functions_name_counts_in_bytes(letter: str) -> None:
    most = letter * (MAX_FUNCTION_BYTES // len(letter.encode()))
    assert decode_body("a", encode_body("a", most, [], {})).function == most
    with pytest.raises(InvalidOption, match="a function has at most 255 bytes, this one has 25"):
        encode_body("a", most + letter, [], {})


def test_a_functions_name_is_unicode_text() -> None:
    with pytest.raises(InvalidOption, match="is Unicode text, not"):
        encode_body("a", "\ud800", [], {})


@pytest.mark.parametrize(
    ("kind", "document", "name"),
    [
        (b"a", b"{}", b"f"),
        (b"a", b"1", b"f"),
        (b"k", b"[]", b"f"),
        (b"k", b"null", b"f"),
        (b"j", b"[1]", b"f"),
        (b"j", b"[[],{}]", b"f"),
        (b"j", b"[[],{},{},{}]", b"f"),
        (b"a", b"", b"f"),
        (b"a", b"[]", b"\xff"),
    ],
)
def test_a_forged_document_is_unreadable(kind: bytes, document: bytes, name: bytes) -> None:
    with pytest.raises(UnreadableBody, match="is no job"):
        decode_body("a", forged(kind, document, name))


def test_a_name_that_is_longer_than_the_body_is_unreadable() -> None:
    rest = b"\xfff[]"
    with pytest.raises(UnreadableBody, match="is no job"):
        decode_body("a", struct.pack(">cI", b"a", crc32(b"aa" + rest)) + rest)


@pytest.mark.parametrize(
    "document", [b'"abc"', b'{"a":1,"b":2,"c":3}', b"[1]", b"[1,2,3,4,5]", b"1"]
)
def test_a_document_of_another_shape_is_unreadable(document: bytes) -> None:
    """Its checksum fits: a serializer that writes something else, or a forger."""
    body = encode_body("a", "f", [], {}, serializer=lambda _: document)
    with pytest.raises(UnreadableBody):
        decode_body("a", body, json.loads)


# -- depth ---------------------------------------------------------------------------------


def nested(depth: int, *, maps: bool = False) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = {"k": value} if maps else [value]
    return value


@pytest.mark.parametrize("maps", [False, True])
@pytest.mark.parametrize("depth", [1, 50, 187, 188, 189, 195, 199, 200, 201, 1_000])
def test_what_cannot_be_read_back_is_refused_when_it_is_written(depth: int, maps: bool) -> None:
    """The writer nests deeper than the reader; no worker may be the first to notice."""
    value = nested(depth, maps=maps)
    try:
        body = encode_body("a", "f", [value], {})
    except InvalidPayload:
        assert depth > 190
    else:
        assert depth < 200
        assert decode_body("a", body).args == [value]


@settings(max_examples=20)
@given(depth=st.integers(150, 260), wide=st.integers(0, 200))
def test_width_is_not_depth(depth: int, wide: int) -> None:
    """A document with many brackets that is flat enough passes, whatever its number of brackets."""
    value = [nested(depth), *([[]] * wide)]
    try:
        body = encode_body("a", "f", value, {})
    except InvalidPayload:
        assert depth > 190
    else:
        assert decode_body("a", body).args == value


# -- size ----------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [200, MAX_BODY_BYTES])
def test_the_limit_is_exact(limit: int) -> None:
    frame = len(encode_body("a", "f", [""], {}))
    at_limit = "x" * (limit - frame)
    assert len(encode_body("a", "f", [at_limit], {}, limit=limit)) == limit
    with pytest.raises(PayloadTooLarge, match=f"{limit + 1:,} bytes, over the limit of {limit:,}"):
        encode_body("a", "f", [at_limit + "x"], {}, limit=limit)


def test_the_limit_counts_bytes_not_characters() -> None:
    with pytest.raises(PayloadTooLarge):
        encode_body("a", "f", ["é" * 100], {}, limit=200)


@pytest.mark.parametrize("value", [object(), lambda: 0, "\ud800", {"\ud800": 1}, nested(1_000)])
def test_what_json_cannot_say_is_refused(value: Any) -> None:
    with pytest.raises(InvalidPayload, match="the payload of 'f' does not validate: arguments: "):
        encode_body("a", "f", [value], {})


def test_a_serializer_that_makes_text_is_told_so() -> None:
    with pytest.raises(InvalidPayload, match="bytes"):
        encode_body("a", "f", [], {}, serializer=json.dumps)  # type: ignore[arg-type]


def test_a_serializer_that_fails_is_told_about_its_own_error() -> None:
    def broken(_: dict[str, Any]) -> bytes:
        raise RuntimeError("no disk")

    with pytest.raises(InvalidPayload, match="no disk"):
        encode_body("a", "f", [], {}, serializer=broken)
