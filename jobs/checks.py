"""Checks of numbers that several kinds of options share."""

from __future__ import annotations

from jobs.errors import InvalidOption


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
