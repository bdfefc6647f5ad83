"""Limits over all workers: how many jobs run at once, how many start in a time, in which order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from jobs.durations import MAX_MS, parse_rate
from jobs.errors import InvalidOption, did_you_mean
from jobs.keys import check_name

#: Largest number of jobs or starts that a limit can name.
MOST = 10**9

#: Every limit with a name, so that all who name it mean the same numbers.
named: dict[str, Limit] = {}


@dataclass(frozen=True, slots=True, init=False)
class Limit:
    """A limit that holds over all workers; it delays and never drops.

    On a queue it holds for the queue's jobs, on a function for the function's; with a name, for
    all queues and functions that are given it, and for `async with limit(name)`. What a limit
    holds back takes no slot of a worker and does not hide the jobs behind it.

    Args:
        name: makes it one limit wherever it is given. Queues that share a limit need a server
            that is no cluster.
        concurrency: at most so many jobs at once, 1 or more.
        rate: at most so many starts in any such time, e.g. "30/s", "100/min" or "10/30s".
        per: "all" jobs together (default), or each "key" by itself.
        ordered: one job of a key at a time, in the order of their enqueue; the next one begins
            when the one before has ended, with all its attempts. Only with `per="key"`.

    Raises:
        InvalidOption: neither number nor order, a number below 1, a rate that is none, a name
            or `ordered` that does not go with `per`, or another limit of the same name.
    """

    name: str | None
    concurrency: int | None
    rate: tuple[int, int] | None  #: (starts, period in ms)
    per: Literal["all", "key"]
    ordered: bool

    def __init__(
        self,
        name: str | None = None,
        *,
        concurrency: int | None = None,
        rate: str | None = None,
        per: Literal["all", "key"] = "all",
        ordered: bool = False,
    ) -> None:
        if concurrency is None and rate is None and not ordered:
            raise InvalidOption("a Limit needs `concurrency`, `rate`, or `ordered=True`")
        if per not in ("all", "key"):
            hint = did_you_mean(str(per), ("all", "key"))
            raise InvalidOption(f'`per` of a Limit is "all" or "key", not {per!r}{hint}')
        if ordered and per != "key":
            raise InvalidOption('`ordered` is the order of a key: give `per="key"` too')
        if name is not None and per == "key":
            raise InvalidOption('a Limit with a name is one for all: it has no `per="key"`')
        _set(self, name=None if name is None else _check_shared(name))
        _set(self, concurrency=_check_number("concurrency", concurrency), per=per, ordered=ordered)
        _set(self, rate=None if rate is None else _check_rate(rate))
        if self.name is not None and named.setdefault(self.name, self) != self:
            raise InvalidOption(
                f"another Limit is called {self.name!r} and has other numbers: make one, and give "
                "it wherever it holds"
            )

    def rules(self) -> str:
        """The limit as the scripts read it."""
        rules = [] if self.concurrency is None else [f"c{self.concurrency}"]
        if self.rate is not None:
            rules.append(f"r{self.rate[0]}/{self.rate[1]}")
        if self.ordered:
            rules.append("o")
        return " ".join(rule if self.name is None else f"{rule}@{self.name}" for rule in rules)

    def __str__(self) -> str:
        words = [] if self.concurrency is None else [f"{self.concurrency} at once"]
        if self.rate is not None:
            words.append(f"{self.rate[0]} in {self.rate[1] / 1000:g} s")
        if self.ordered:
            words.append("in order")
        each = " for each key" if self.per == "key" else ""
        return f"{', '.join(words)}{each}{f' ({self.name})' if self.name else ''}"


def check_limits(limits: Iterable[Limit]) -> tuple[Limit, ...]:
    """`limits`, if they are such.

    Raises:
        InvalidOption: something else is among them.
    """
    found = tuple(limits)
    for limit in found:
        if not isinstance(limit, Limit):
            raise InvalidOption(f"`limits` holds Limit(…) objects, not {limit!r}")
    return found


def limits_of(
    limits: Iterable[Limit], concurrency: int | None = None, rate: str | None = None
) -> tuple[Limit, ...]:
    """Limits with those that are given as `concurrency` and `rate`, in short.

    Raises:
        InvalidOption: the same as `Limit`.
    """
    short = concurrency is not None or rate is not None
    return check_limits((*limits, *([Limit(concurrency=concurrency, rate=rate)] if short else ())))


def scopes(queue: Iterable[Limit], functions: dict[str, tuple[Limit, ...]]) -> dict[str, str]:
    """scope -> rules for the limits of a queue and of functions; "" where there are none."""
    rules = {"q": _rules(queue, "all"), "k": _rules(queue, "key")}
    for name, limits in functions.items():
        rules[f"f:{name}"] = _rules(limits, "all")
        rules[f"fk:{name}"] = _rules(limits, "key")
    return rules


def find_limit(name: str) -> Limit:
    """The limit of this name.

    Raises:
        InvalidOption: none is declared in this process.
    """
    if name not in named:
        raise InvalidOption(
            f"no limit is called {name!r}{did_you_mean(name, named)}: declare it, "
            f"Limit({name!r}, rate=…), where this process imports it"
        )
    return named[name]


def _rules(limits: Iterable[Limit], per: str) -> str:
    return " ".join(limit.rules() for limit in limits if limit.per == per)


def _check_number(what: str, value: int | None) -> int | None:
    if value is not None and (type(value) is not int or not 1 <= value <= MOST):
        raise InvalidOption(
            f"`{what}` of a Limit is a whole number from 1 to {MOST:,}, not {value!r}"
        )
    return value


def _check_rate(rate: str) -> tuple[int, int]:
    starts, period_ms = parse_rate(rate)
    _check_number("rate", starts)
    if not 1 <= period_ms <= MAX_MS:
        raise InvalidOption(f"the period of a rate is at least 1 ms, not that of {rate!r}")
    return starts, period_ms


def _check_shared(name: str) -> str:
    if any(sign.isspace() or sign == "@" for sign in check_name(name, "limit")):
        raise InvalidOption(f"the name of a limit has no blanks and no @: {name!r}")
    return name


def _set(limit: Limit, **values: object) -> None:
    for name, value in values.items():
        object.__setattr__(limit, name, value)
