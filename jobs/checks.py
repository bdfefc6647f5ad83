"""Checks of numbers that several kinds of options share."""

from __future__ import annotations

from typing import TypeVar

from jobs.errors import InvalidOption

T = TypeVar("T", bound="int | None")
#: Jobs of one worker process at once.
MOST_AT_ONCE = 100_000


def check_count(name: str, value: int | None, least: int, most: int) -> None:
    """Refuse what is no whole number from `least` to `most`; `None` is an unset option.

    Raises:
        InvalidOption: it is none.
    """
    if value is None:
        return
    if type(value) is not int or not least <= value <= most:
        raise InvalidOption(
            f"`{name}` is a whole number from {least:,} to {most:,}, not {value!r:.60}"
        )


def check_concurrency(name: str, value: T) -> T:
    """`value`, if one worker process can run so many jobs at once; `None` is an unset option.

    Raises:
        InvalidOption: it is no such number.
    """
    check_count(name, value, 1, MOST_AT_ONCE)
    return value
