"""How long ended jobs are kept: by age, by number and by bytes, for each state of its own."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.durations import Duration, format_ms, to_ms
from jobs.errors import InvalidOption

#: Retention as the scripts take it: age in ms, count, bytes; -1 for no limit.
Limits = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Keep:
    """How long ended jobs of one state are kept.

    Args:
        age: a duration from the end of the job; `None` for no limit. Default `None`.
        count: at most this many jobs of the state in the queue; `None` for no limit.
        max_bytes: at most this many bytes of bodies and results of the state; `None` for no
            limit.

    Raises:
        InvalidOption: a limit is negative, or no whole number.
    """

    age: Duration | None = None
    count: int | None = None
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        for name in ("count", "max_bytes"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 0):
                raise InvalidOption(
                    f"`{name}` of Keep is a whole number of 0 or more, not {value!r}"
                )
        if self.age is not None:
            to_ms(self.age, what="age")

    def limits(self) -> Limits:
        """(age in ms, count, bytes) for the scripts; -1 stands for no limit."""
        age = -1 if self.age is None else to_ms(self.age, what="age")
        count = -1 if self.count is None else self.count
        return age, count, -1 if self.max_bytes is None else self.max_bytes

    def __str__(self) -> str:
        age, count, most_bytes = self.limits()
        if 0 in (age, count):
            return "nothing"
        parts = [format_ms(age)] if age > 0 else []
        parts += [f"{count:,} jobs"] if count > 0 else []
        parts += [f"{most_bytes:,} bytes"] if most_bytes >= 0 else []
        return ", ".join(parts) or "for ever"


KEEP_NOTHING = Keep(age=0)
KEEP_FOREVER = Keep()
