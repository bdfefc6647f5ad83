"""The limits of one attempt: a soft one that asks the function to end, a hard one that ends it."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.durations import Duration, format_ms, to_ms
from jobs.errors import InvalidOption


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeout:
    """A soft and a hard limit of one attempt: `Timeout(soft=25, hard=30)`.

    Args:
        hard: the attempt is cancelled after this long, a duration; 0 for no hard limit.
        soft: a duration above zero and below `hard`: after it `ctx.soft_timeout` is set, and
            `SoftTimeout` is raised in the function where it awaits, once. What is left until
            `hard` is for ending cleanly. Default: no soft limit.
        raises: whether `SoftTimeout` is raised; with `False` only `ctx.soft_timeout` is set.
            Default `True`.

    Raises:
        InvalidOption: no durations, or a soft limit that is not below the hard one.
    """

    hard: Duration
    soft: Duration | None = None
    raises: bool = True

    def __post_init__(self) -> None:
        hard, soft = self.hard_ms, self.soft_ms
        if type(self.raises) is not bool:
            raise InvalidOption(f"`raises` of Timeout is True or False, not {self.raises!r:.60}")
        if soft is None:
            return
        if soft == 0:
            raise InvalidOption(
                "`soft` of Timeout is longer than zero; leave it out for no soft limit"
            )
        if hard and soft >= hard:
            raise InvalidOption(
                f"`soft` ({format_ms(soft)}) is below `hard` ({format_ms(hard)}): the time "
                "between them is for ending cleanly"
            )

    @property
    def hard_ms(self) -> int:
        """The hard limit; 0 for none."""
        return to_ms(self.hard, what="hard")

    @property
    def soft_ms(self) -> int | None:
        """The soft limit, if there is one."""
        return None if self.soft is None else to_ms(self.soft, what="soft")

    @classmethod
    def of(cls, value: Duration | Timeout) -> Timeout:
        """A timeout from what the option takes: one of these, or a duration for a hard limit.

        Raises:
            InvalidOption: it is neither.
        """
        if isinstance(value, Timeout):
            return value
        to_ms(value, what="timeout")
        return cls(hard=value)

    def to_wire(self) -> int | list[int]:
        """The hard limit in ms; with a soft one [hard, soft, 1 if it raises]."""
        soft = self.soft_ms
        return self.hard_ms if soft is None else [self.hard_ms, soft, int(self.raises)]

    def __str__(self) -> str:
        hard = format_ms(self.hard_ms) if self.hard_ms else "none"
        if self.soft_ms is None:
            return hard
        signal = "" if self.raises else ", signal only"
        return f"soft {format_ms(self.soft_ms)}{signal}, hard {hard}"
