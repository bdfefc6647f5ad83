"""Signatures of webhooks: Stripe's scheme for what comes in, Standard Webhooks for what goes out.

Both are HMAC-SHA256 over the raw bytes, compared in constant time. Whatever a header holds, a
verifier ends with the timestamp or with `SignatureError`, never with another exception.
Sources: Stripe's document on webhook signatures; standard-webhooks, spec/standard-webhooks.md.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Iterable, Mapping, Sequence

from jobs import errors

_MAX_HEADER = 4096
_SECONDS = re.compile(r"[0-9]{1,11}")
_STRIPE_V1 = re.compile(r"[0-9a-f]{64}")
_MESSAGE_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")
_LEAST_SECRET, _MOST_SECRET = 24, 64


class SignatureError(errors.JobsError):
    """The signature does not prove that the message is genuine and recent."""


def verify_stripe(
    payload: bytes,
    header: str,
    secrets: Sequence[str],
    tolerance_s: float = 300,
    now: float | None = None,
) -> int:
    """Check a `Stripe-Signature` header: `t=<unix seconds>,v1=<hex>[,v1=<hex>…]`.

    Args:
        payload: the raw body, byte for byte as it came.
        header: the value of the header.
        secrets: the endpoint's signing secrets (`whsec_…`, used as they are); during a rotation
            the old and the new one.
        tolerance_s: how far the timestamp may be from now, before or after, in seconds.
        now: Unix time; by default the current time.

    Returns:
        The timestamp of the signature.

    Raises:
        SignatureError: the header cannot be read, no signature matches, or it is too old or new.
    """
    if not secrets or not all(secrets):
        # HMAC with an empty key is a signature that anybody can make.
        raise SignatureError("there is no signing secret to check with, or an empty one")
    pairs = [item.partition("=") for item in _bounded(header).split(",")]
    stamps = [value for name, _, value in pairs if name.strip() == "t"]
    given = [value for name, _, value in pairs if name.strip() == "v1"]
    if len(stamps) != 1:
        raise SignatureError("Stripe-Signature holds one timestamp, `t=<unix seconds>`")
    stamp = _seconds(stamps[0], "the `t` of Stripe-Signature")
    signed = f"{stamps[0]}.".encode() + payload
    expected = [stripe_signature(secret, signed) for secret in secrets]
    _match(expected, [value for value in given if _STRIPE_V1.fullmatch(value)])
    return _recent(stamp, tolerance_s, now)


def stripe_signature(secret: str, signed: bytes) -> str:
    """Stripe's `v1` signature of `<timestamp>.<body>`, in hex."""
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def stripe_signature_header(
    payload: bytes, secret: str | Sequence[str], now: float | None = None
) -> str:
    """The `Stripe-Signature` header that Stripe would send; for tests and demos.

    Args:
        payload: the raw body.
        secret: the endpoint's secret; several give several signatures, as in a rotation.
        now: Unix time of the signature; by default the current time.
    """
    stamp = int(time.time() if now is None else now)
    secrets = [secret] if isinstance(secret, str) else secret
    signatures = [stripe_signature(one, f"{stamp}.".encode() + payload) for one in secrets]
    return ",".join([f"t={stamp}", *(f"v1={signature}" for signature in signatures)])


def decode_secret(secret: str) -> bytes:
    """The key in a Standard Webhooks secret, `whsec_` and base64 of 24 to 64 random bytes.

    Raises:
        ConfigurationError: it is no base64, or shorter or longer; the secret is not quoted.
    """
    try:
        key = base64.b64decode(_padded(secret.strip().removeprefix("whsec_")), validate=True)
    except (binascii.Error, ValueError):
        raise errors.ConfigurationError(
            "a webhook secret is `whsec_` followed by base64; this one is no base64"
        ) from None
    if not _LEAST_SECRET <= len(key) <= _MOST_SECRET:
        raise errors.ConfigurationError(
            f"a webhook secret holds {_LEAST_SECRET} to {_MOST_SECRET} bytes, not {len(key)}; "
            "make one with: python -c 'import base64, secrets; "
            'print("whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())\''
        )
    return key


def sign_standard(
    keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes
) -> dict[str, str]:
    """The three headers of Standard Webhooks for `body`.

    Args:
        keys: from `decode_secret`, the new one first; each gives one signature.
        message_id: the same over all retries; letters, digits, `_` and `-`. A dot would let the
            id and the timestamp be shifted against each other in the signed text.
        timestamp: Unix seconds of this attempt.
        body: the exact bytes that are sent.

    Raises:
        SignatureError: the id has another form.
    """
    if not _MESSAGE_ID.fullmatch(message_id):
        raise SignatureError(
            f"a webhook id has 1 to 255 letters, digits, '_' and '-', not {message_id[:40]!r}"
        )
    signatures = [_standard_signature(key, message_id, str(timestamp), body) for key in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def verify_standard(
    body: bytes,
    headers: Mapping[str, str],
    keys: Sequence[bytes],
    tolerance_s: float = 300,
    now: float | None = None,
) -> int:
    """Check the headers of a Standard Webhook; the counterpart of `sign_standard`.

    Args:
        body: the raw body.
        headers: with names in lower case.
        keys: from `decode_secret`; any of them may have signed.
        tolerance_s: how far the timestamp may be from now, before or after, in seconds.
        now: Unix time; by default the current time.

    Returns:
        The timestamp of the signature.

    Raises:
        SignatureError: a header is missing or cannot be read, no signature matches, or it is too
            old or new.
    """
    message_id = headers.get("webhook-id", "")
    if not _MESSAGE_ID.fullmatch(message_id):
        raise SignatureError("webhook-id is missing or holds other than letters, digits, '_', '-'")
    text = headers.get("webhook-timestamp", "")
    stamp = _seconds(text, "webhook-timestamp")
    items = (
        item.partition(",") for item in _bounded(headers.get("webhook-signature", "")).split(" ")
    )
    given = [value for version, _, value in items if version == "v1" and value.isascii()]
    _match([_standard_signature(key, message_id, text, body) for key in keys], given)
    return _recent(stamp, tolerance_s, now)


def _standard_signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    signed = f"{message_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def _match(expected: Iterable[str], given: Sequence[str]) -> None:
    """At least one of `given` is one of `expected`; every pair is compared, in constant time."""
    if not given:
        raise SignatureError("the signature header holds no readable `v1` signature")
    matches = [hmac.compare_digest(ours, theirs) for ours in expected for theirs in given]
    if not any(matches):
        raise SignatureError(
            "no signature matches: the body was changed on the way (it must be the raw bytes), "
            "or the secret is another endpoint's"
        )


def _recent(stamp: int, tolerance_s: float, now: float | None) -> int:
    age_s = (time.time() if now is None else now) - stamp
    if abs(age_s) > tolerance_s:
        side = "old" if age_s > 0 else "far ahead"
        raise SignatureError(
            f"the signature is {abs(age_s):.0f} s {side}, more than the {tolerance_s:g} s allowed"
        )
    return stamp


def _seconds(text: str, what: str) -> int:
    if not _SECONDS.fullmatch(text):
        raise SignatureError(f"{what} is a Unix time in whole seconds, not {text[:20]!r}")
    return int(text)


def _bounded(header: str) -> str:
    if len(header) > _MAX_HEADER:
        raise SignatureError(f"the signature header is longer than {_MAX_HEADER:,} characters")
    return header


def _padded(text: str) -> str:
    return text + "=" * (-len(text) % 4)
