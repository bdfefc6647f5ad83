"""The tree of errors is the one that the module draws; every message is a sentence."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import pytest

from jobs import errors
from jobs.errors import JobsError

LINE = re.compile(r"^    (?P<bars>[│├└─ ]*)(?P<name>[A-Z]\w+)(?: {2,}(?P<says>.+))?$")


def drawn() -> Iterator[tuple[str, str | None, str]]:
    """(class, its parent, what is said of it) of every line of the drawing."""
    path: list[str] = []
    for line in inspect.getdoc(errors).splitlines():  # type: ignore[union-attr]  # it has one
        if match := LINE.match(line):
            depth = len(match["bars"]) // 4
            path = [*path[:depth], match["name"]]
            yield match["name"], path[-2] if depth else None, match["says"] or ""


def classes() -> dict[str, type[JobsError]]:
    return {
        name: value
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, JobsError)
    }


def test_the_drawing_is_the_tree() -> None:
    tree = {name: parent for name, parent, _ in drawn()}
    real = {
        name: None if cls is JobsError else cls.__bases__[0].__name__
        for name, cls in classes().items()
    }
    assert tree == real
    assert len(tree) > 20


def test_the_builtin_relatives_are_drawn_too() -> None:
    noted = {name: set(re.findall(r"also a (\w+)", says)) for name, _, says in drawn()}
    real = {
        name: {base.__name__ for base in cls.__bases__ if not issubclass(base, JobsError)}
        for name, cls in classes().items()
    }
    real["JobsError"] = set()
    assert noted == real


def test_every_error_says_what_it_is() -> None:
    silent = [name for name, cls in classes().items() if not str(cls.__doc__).strip().endswith(".")]
    assert silent == []


SENTENCES = [
    (errors.UnknownFunction("emial", ["email", "push"]), "'emial' (did you mean 'email'?); "),
    (errors.UnknownFunction("zzz", ["email"]), "no job function is called 'zzz'; `arq-jobs types`"),
    (errors.InvalidPayload("f", [("a.b", "bad"), ("c", "worse")]), "a.b: bad; c: worse"),
    (
        errors.PayloadTooLarge("f", 1_048_577, 1_048_576),
        "1,048,577 bytes, over the limit of 1,048,576",
    ),
    (errors.DuplicateJob("q", "j"), "queue 'q' already holds a job with the id 'j'"),
    (errors.JobNotFound("q", "j"), "queue 'q' holds no job 'j': it never existed there"),
    (errors.JobFailed("ValueError", "boom"), "ValueError: boom"),
    (errors.JobCancelled("cancelled", ""), "cancelled"),
    (errors.Snooze("5m"), "snoozed for 5m"),
    (errors.Skip("no need"), "no need"),
]


@pytest.mark.parametrize(("error", "part"), SENTENCES, ids=lambda v: type(v).__name__)
def test_a_message_says_what_came_and_what_to_do(error: JobsError, part: str) -> None:
    assert part in str(error)
    assert isinstance(error, JobsError)


def test_a_far_word_suggests_nothing() -> None:
    assert errors.did_you_mean("zzz", ["email"]) == ""
    assert errors.did_you_mean("emai", []) == ""
