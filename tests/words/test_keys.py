"""Keys: no two names share one, and no name reaches the keys of another queue (X23)."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from jobs.errors import InvalidOption
from jobs.keys import (
    MAX_ID_BYTES,
    MAX_NAME_BYTES,
    QueueKeys,
    check_job_id,
    check_name,
    control_channel,
    inbox_channel,
    queue_keys,
    queues_key,
    quote_name,
    schema_key,
)

PRINTABLE = st.characters(categories=("L", "M", "N", "P", "S"), include_characters=" {}:*%")
NAMES = st.text(PRINTABLE, min_size=1, max_size=12) | st.text("{}:*%a é", min_size=1, max_size=6)

#: Pairs that some escaping would confuse: twenty of them, as X23 asks.
COLLISIONS = [
    ("a", "{a}"), ("a", "a:"), ("a:b", "a}:{b"), ("a", "a "), ("a", " a"), ("a%7B", "a{"),
    ("a%257B", "a%7B"), ("%", "%25"), ("a:ready", "a"), ("a}:ready", "a"), ("é", "e\u0301"),
    ("é", "%C3%A9"), ("A", "a"), ("a.b", "a:b"), ("a*", "a"), ("*", "**"), ("a/b", "a%2Fb"),
    ("ª", "a"), ("{", "}"), ("a{b}c", "a"), ("default", "default "),
]  # fmt: skip


def allowed(name: str) -> bool:
    try:
        check_name(name)
    except InvalidOption:
        return False
    return True


@given(first=NAMES, second=NAMES)
def test_no_two_names_share_a_key(first: str, second: str) -> None:
    assume(allowed(first) and allowed(second) and check_name(first) != check_name(second))
    assert not set(queue_keys(first).all()) & set(queue_keys(second).all())
    assert control_channel(first) != control_channel(second)


@pytest.mark.parametrize(("first", "second"), COLLISIONS)
def test_names_that_look_alike_stay_apart(first: str, second: str) -> None:
    assert not set(queue_keys(first).all()) & set(queue_keys(second).all())
    assert quote_name(first) != quote_name(second)


@given(name=NAMES)
def test_a_name_cannot_leave_its_hash_tag(name: str) -> None:
    """The tag is the first `{…}` of a key, and the name is all of it."""
    assume(allowed(name))
    for key in [*queue_keys(name).all(), control_channel(name)]:
        assert key.isascii()
        assert key.isprintable()
        assert (key.count("{"), key.count("}")) == (1, 1)
        head, _, rest = key.partition("{")
        assert head == "jobs:"
        assert rest.split("}:")[0] == quote_name(name)


@given(name=NAMES)
def test_every_key_of_a_queue_is_its_own(name: str) -> None:
    assume(allowed(name))
    keys = queue_keys(name).all()
    others = [queues_key(), schema_key(), control_channel(name), inbox_channel(name)]
    assert len({*keys, *others}) == len(fields(QueueKeys)) + len(others)


@given(first=st.sampled_from(["jobs", "app", "a:b"]), second=st.sampled_from(["jobs2", "app:x"]))
def test_prefixes_keep_applications_apart(first: str, second: str) -> None:
    assert not set(queue_keys("q", first).all()) & set(queue_keys("q", second).all())


@pytest.mark.parametrize("name", ["", " ", "\n", "a\nb", "a\0b", "a\x1b[31m", "\u2028", "\ud800"])
def test_a_name_is_printable_text(name: str) -> None:
    with pytest.raises(InvalidOption, match="the name of a queue"):
        queue_keys(name)


@pytest.mark.parametrize("name", [None, 7, b"a"])
def test_a_name_is_text(name: object) -> None:
    with pytest.raises(InvalidOption, match="non-empty text, not"):
        check_name(name)  # type: ignore[arg-type]


@pytest.mark.parametrize("letter", ["a", "é", "🦄"])
def test_the_length_of_a_name_counts_in_bytes(letter: str) -> None:
    most = MAX_NAME_BYTES // len(letter.encode())
    assert check_name(letter * most) == letter * most
    with pytest.raises(InvalidOption, match=f"at most {MAX_NAME_BYTES} bytes"):
        check_name(letter * (most + 1))


def test_arqs_default_name_is_ours() -> None:
    assert queue_keys("arq:queue") == queue_keys("default")


@given(job_id=st.text(min_size=1, max_size=64))
def test_an_id_is_any_text(job_id: str) -> None:
    """K4: `invite-email:<id>`, digits, emoji: all are ids, and none is changed."""
    assert check_job_id(job_id) == job_id


@pytest.mark.parametrize("job_id", ["invite-email:7", "123", "🦄", "a b\n", "x" * MAX_ID_BYTES])
def test_ids_that_other_systems_refuse_are_fine(job_id: str) -> None:
    assert check_job_id(job_id) == job_id


@pytest.mark.parametrize(
    ("job_id", "sentence"),
    [
        ("", "1 to 256 bytes, this one has 0"),
        ("x" * 257, "this one has 257; use a hash of it"),
        ("é" * 129, "this one has 258"),
        ("\ud800", "not valid Unicode"),
        (7, "a string, not int: 7"),
        (None, "a string, not NoneType"),
        (b"a", "a string, not bytes"),
    ],
)
def test_an_id_that_cannot_be_one_is_refused(job_id: object, sentence: str) -> None:
    with pytest.raises(InvalidOption, match=sentence):
        check_job_id(job_id)  # type: ignore[arg-type]
