"""Which errors are the same one."""

from __future__ import annotations

import pytest

from jobs.operations.fingerprints import fingerprint, normalised, own_frame


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("550 no mailbox for ada@example.com", "551 no mailbox for bob.b@mail.example.org"),
        ("GET https://a.example/x?y=1 took 3.2 s", "GET http://b/z took 30 s"),
        ("no 6f9619ff-8b86-d011-b42d-00c04fc964ff", "no 00000000-0000-0000-0000-000000000001"),
        ("object at 0x7f3a2b", "object at 0x55"),
        ("checksum 9f86d081884c7d65 differs", "checksum 0123456789abcdef01 differs"),
        ("no key 'a'", "no key 'some other'"),
        ('no key "a"', 'no key "b c"'),
        ("line 3\n  of 4", "line 7 of 12"),
        ("at 12:30:45", "at 01:02:03"),
    ],
)  # fmt: skip
def test_what_differs_does_not_count(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)
    assert fingerprint("E", one) == fingerprint("E", other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("no mailbox", "no account"), ("the facade is dead", "the facade is bad"), ("", "x")],
)
def test_what_is_said_counts(one: str, other: str) -> None:
    assert fingerprint("E", one) != fingerprint("E", other)


def trace(*frames: tuple[str, int, str]) -> str:
    lines = [f'  File "{path}", line {line}, in {name}\n    code' for path, line, name in frames]
    return "\n".join(["Traceback (most recent call last):", *lines, "E: message"])


OWN = ("/srv/shop/pay.py", 12, "charge")
LIBRARY = ("/usr/lib/python3.11/socket.py", 7, "connect")
INSTALLED = ("/srv/venv/lib/python3.12/site-packages/httpx/_client.py", 9, "send")
ENGINE = ("/srv/jobs/engine/executor.py", 3, "_perform")


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([ENGINE, OWN], "pay.py in charge"),
        ([ENGINE, OWN, INSTALLED, LIBRARY], "pay.py in charge"),
        ([ENGINE, ("/srv/shop/web.py", 1, "a"), OWN], "pay.py in charge"),
        ([ENGINE, INSTALLED], "_client.py in send"),
        ([], ""),
        ([("C:\\shop\\pay.py", 4, "charge")], "pay.py in charge"),
        ([OWN, ("<string>", 1, "<module>")], "pay.py in charge"),
    ],
)
def test_the_innermost_frame_of_the_applications_own_code(
    frames: list[tuple[str, int, str]], expected: str
) -> None:
    assert own_frame(trace(*frames)) == expected


def test_of_a_chain_the_last_error_counts() -> None:
    first = trace(("/srv/shop/db.py", 1, "read"))
    assert own_frame(f"{first}\n\nDuring handling …\n\n{trace(OWN)}") == "pay.py in charge"


def test_type_and_place_count_and_the_line_does_not() -> None:
    moved = trace(("/srv/shop/pay.py", 99, "charge"))
    elsewhere = trace(("/srv/shop/pay.py", 12, "refund"))
    same = fingerprint("E", "m", trace(OWN))
    assert fingerprint("E", "m", moved) == same
    assert fingerprint("E", "m", elsewhere) != same
    assert fingerprint("F", "m", trace(OWN)) != same
    assert len(same) == 12
    assert fingerprint("E", "caf\udce9") != same, "text that is no Unicode is no error"
