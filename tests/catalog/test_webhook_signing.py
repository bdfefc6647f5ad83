"""Standard Webhooks signatures (X15), checked against the reference implementation both ways."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from jobs import errors
from jobs.catalog._signing import SignatureError, decode_secret, sign_standard, verify_standard

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(b"o" * 32).decode()
KEY, OTHER_KEY = decode_secret(SECRET), decode_secret(OTHER)
ID, STAMP, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
# The test vector of the Standard Webhooks reference libraries.
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
HEADERS = {
    "webhook-id": ID,
    "webhook-timestamp": str(STAMP),
    "webhook-signature": SIGNATURE,
}


def check(changes: Mapping[str, str] | None = None, body: bytes = BODY, now: float = STAMP) -> int:
    headers = HEADERS | dict(changes or {})
    return verify_standard(body, headers, [KEY], now=now)


def test_the_official_vector() -> None:
    assert sign_standard([KEY], ID, STAMP, BODY) == HEADERS
    assert check() == STAMP


@given(
    body=st.text(st.characters(codec="utf-8")),
    message_id=st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True),
)
def test_the_reference_library_verifies_what_is_signed_here(body: str, message_id: str) -> None:
    headers = sign_standard([KEY], message_id, int(time.time()), body.encode())
    Webhook(SECRET).verify(body, headers, json_parse=False)
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(OTHER).verify(body, headers, json_parse=False)


def test_what_the_reference_library_signs_is_verified_here() -> None:
    signature = Webhook(OTHER).sign(ID, datetime.fromtimestamp(STAMP, UTC), BODY.decode())
    headers = HEADERS | {"webhook-signature": signature}
    assert verify_standard(BODY, headers, [OTHER_KEY], now=STAMP) == STAMP


def test_a_rotation_signs_twice_and_either_secret_verifies() -> None:
    headers = sign_standard([OTHER_KEY, KEY], ID, int(time.time()), BODY)
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in (SECRET, OTHER):
        Webhook(secret).verify(BODY, headers)
        verify_standard(BODY, headers, [decode_secret(secret)])


@pytest.mark.parametrize(
    "changes",
    [
        {"webhook-id": "msg_other"},
        {"webhook-id": ID + ".1"},
        {"webhook-id": ""},
        {"webhook-timestamp": str(STAMP + 1)},
        {"webhook-timestamp": f"{STAMP}.0"},
        {"webhook-timestamp": "nan"},
        {"webhook-timestamp": "9" * 5000},
        {"webhook-signature": ""},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1,not base64!"},
        {"webhook-signature": SIGNATURE.removeprefix("v1,")},
        {"webhook-signature": SIGNATURE.replace("v1,", "v1a,")},
        {"webhook-signature": SIGNATURE.replace("v1,", "v1,,")},
        {"webhook-signature": SIGNATURE + "=" * 5000},
        {"webhook-signature": "v1,\xfc\xfc"},
    ],
)
def test_bad_headers_are_signature_errors(changes: dict[str, str]) -> None:
    with pytest.raises(SignatureError):
        check(changes)


@pytest.mark.parametrize("name", sorted(HEADERS))
def test_a_missing_header_is_a_signature_error(name: str) -> None:
    headers = {key: value for key, value in HEADERS.items() if key != name}
    with pytest.raises(SignatureError):
        verify_standard(BODY, headers, [KEY], now=STAMP)


def test_a_changed_body_is_refused() -> None:
    with pytest.raises(SignatureError, match="raw bytes"):
        check(body=BODY + b"\n")


def test_an_unreadable_signature_beside_a_good_one_does_no_harm() -> None:
    assert check({"webhook-signature": f"v1 v1a,xyz {SIGNATURE}"}) == STAMP


@pytest.mark.parametrize(
    ("seconds", "taken"), [(300, True), (-300, True), (301, False), (-301, False)]
)
def test_five_minutes_either_way(seconds: int, *, taken: bool) -> None:
    if taken:
        assert check(now=STAMP + seconds) == STAMP
        return
    with pytest.raises(SignatureError, match="301 s"):
        check(now=STAMP + seconds)


@pytest.mark.parametrize("message_id", ["", "a.b", "ä", "x" * 256, "a b", "a\r\nb"])
def test_an_id_that_could_shift_the_signed_text_is_not_signed(message_id: str) -> None:
    with pytest.raises(SignatureError, match="webhook id"):
        sign_standard([KEY], message_id, STAMP, BODY)


@pytest.mark.parametrize(
    ("size", "taken"), [(0, False), (23, False), (24, True), (64, True), (65, False)]
)
def test_a_secret_has_24_to_64_bytes(size: int, *, taken: bool) -> None:
    secret = "whsec_" + base64.b64encode(b"k" * size).decode()
    if taken:
        assert decode_secret(secret) == b"k" * size
        return
    with pytest.raises(errors.ConfigurationError, match=f"not {size}"):
        decode_secret(secret)


def test_padding_and_prefix_of_a_secret_may_be_missing() -> None:
    bare = base64.b64encode(b"k" * 32).decode().rstrip("=")
    assert decode_secret(bare) == decode_secret(f"whsec_{bare}=\n") == b"k" * 32


@pytest.mark.parametrize("secret", ["whsec_geheim!" + "x" * 40, "whsec_ü" + "x" * 40, "a" * 41])
def test_a_secret_that_is_no_base64_is_refused_unquoted(secret: str) -> None:
    with pytest.raises(errors.ConfigurationError, match="no base64") as caught:
        decode_secret(secret)
    assert secret not in str(caught.value)


@given(signature=st.text(max_size=300), stamp=st.text(max_size=20), message_id=st.text(max_size=30))
def test_whatever_comes_ends_in_a_signature_error(
    signature: str, stamp: str, message_id: str
) -> None:
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": stamp,
        "webhook-signature": signature,
    }
    with pytest.raises(SignatureError):
        verify_standard(BODY, headers, [KEY], now=STAMP)
