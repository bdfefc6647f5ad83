"""How long a job waits after a failure: fixed, exponential, or computed by a function.

`failures` counts the failed runs so far, from 1: the wait after the first failure is the first
wait. A job with 5 attempts therefore has 4 waits: `exponential(1)` gives 1, 2, 4 and 8 seconds.

Jitter is the share of the wait that chance decides, so that jobs which failed together do not
come back together: wait = d * (1 - jitter) + random * d * jitter, with d the wait after its cap
and random in [0, 1). A wait is thus never longer than d, and jobs at the cap are spread too.
0 is none, 1 is the "full jitter" and 0.5 the "equal jitter" of "Exponential Backoff And Jitter"
(AWS Architecture Blog, 2015); BullMQ's `jitter` has the same formula. Sidekiq adds its jitter on
top of the wait instead, which a custom function can do.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeAlias

from jobs.durations import MAX_MS, Duration, format_ms, to_ms
from jobs.errors import InvalidOption, did_you_mean

# An exponential backoff without a `max` doubles past any use: from here on it stays the same.
LONGEST_MS: Final = 365 * 86_400_000
LARGEST_FACTOR: Final = 1000
#: The names of the policies that ship.
PRESETS: Final = ("standard", "aggressive", "none")

BackoffFunction: TypeAlias = (
    Callable[[int], Duration] | Callable[[int, BaseException | None], Duration]
)


class Backoff(ABC):
    """The wait after a failure. Made by `fixed`, `exponential` and `custom`."""

    def delay_ms(
        self,
        failures: int,
        *,
        exc: BaseException | None = None,
        random: Callable[[], float],
    ) -> int:
        """Milliseconds to wait before the next attempt.

        Args:
            failures: failed runs so far, 1 or more.
            exc: what the last run raised, for custom functions.
            random: a source of floats in [0, 1), asked once where there is jitter.

        Raises:
            InvalidOption: `failures` is below 1, or a custom function returned no duration.
        """
        if not _is_whole(failures) or failures < 1:
            raise InvalidOption(f"`failures` counts failed runs from 1, not {failures!r}")
        return self._wait_ms(failures, exc, random)

    @abstractmethod
    def _wait_ms(
        self, failures: int, exc: BaseException | None, random: Callable[[], float]
    ) -> int: ...

    @abstractmethod
    def to_wire(self) -> list[Any]:
        """A JSON form for the options of one job; `Backoff.from_wire` reads it.

        Raises:
            InvalidOption: the backoff is a function, which cannot be sent.
        """

    @staticmethod
    def from_wire(wire: object) -> Backoff:
        """The backoff that `to_wire` wrote.

        Raises:
            InvalidOption: anything else.
        """
        match wire:
            case ["fixed", int(delay), int() | float() as jitter]:
                return Fixed(delay, jitter)
            case [
                "exponential",
                int(base),
                int() | float() as factor,
                int() | None as cap,
                int() | float() as jitter,
            ]:
                return Exponential(base, factor, cap, jitter)
            case _:
                raise InvalidOption(
                    'a stored backoff is ["fixed", ms, jitter] or '
                    f'["exponential", ms, factor, max_ms, jitter], not {wire!r:.100}'
                )


@dataclass(frozen=True, slots=True)
class Fixed(Backoff):
    """The same wait after every failure; see `fixed`."""

    wait_ms: int
    jitter: float = 0.0

    def __post_init__(self) -> None:
        _check_ms("delay", self.wait_ms)
        _check_jitter(self.jitter)

    def _wait_ms(
        self, failures: int, exc: BaseException | None, random: Callable[[], float]
    ) -> int:
        return _with_jitter(self.wait_ms, self.jitter, random)

    def to_wire(self) -> list[Any]:
        """["fixed", ms, jitter]."""
        return ["fixed", self.wait_ms, self.jitter]

    def __str__(self) -> str:
        return f"fixed {format_ms(self.wait_ms)}{_jitter_text(self.jitter)}"


@dataclass(frozen=True, slots=True)
class Exponential(Backoff):
    """A wait that grows by `factor` with every failure; see `exponential`."""

    base_ms: int
    factor: float = 2
    max_ms: int | None = None
    jitter: float = 0.0

    def __post_init__(self) -> None:
        _check_ms("base", self.base_ms)
        if not _is_between(self.factor, 1, LARGEST_FACTOR):
            raise InvalidOption(
                f"`factor` is a number from 1 to {LARGEST_FACTOR}, not {self.factor!r}"
            )
        if self.max_ms is not None:
            _check_ms("max", self.max_ms)
            if self.max_ms < self.base_ms:
                raise InvalidOption(
                    f"`max` ({format_ms(self.max_ms)}) is below the first wait "
                    f"({format_ms(self.base_ms)}); use fixed() for a wait that does not grow"
                )
        _check_jitter(self.jitter)

    def _wait_ms(
        self, failures: int, exc: BaseException | None, random: Callable[[], float]
    ) -> int:
        return _with_jitter(self._capped_ms(failures), self.jitter, random)

    def to_wire(self) -> list[Any]:
        """["exponential", base ms, factor, max ms or null, jitter]."""
        return ["exponential", self.base_ms, self.factor, self.max_ms, self.jitter]

    def __str__(self) -> str:
        cap = "" if self.max_ms is None else f", at most {format_ms(self.max_ms)}"
        factor = "" if self.factor == 2 else f" x {self.factor:g}"  # noqa: PLR2004 -- the default
        return f"exponential {format_ms(self.base_ms)}{factor}{cap}{_jitter_text(self.jitter)}"

    def _capped_ms(self, failures: int) -> int:
        cap = max(LONGEST_MS, self.base_ms) if self.max_ms is None else self.max_ms
        if self.base_ms == 0:
            return 0
        try:
            grown = self.base_ms * float(self.factor) ** (failures - 1)
        except OverflowError:
            return cap
        return round(min(grown, cap))


@dataclass(frozen=True, slots=True)
class Custom(Backoff):
    """A wait that a function computes; see `custom`."""

    function: Callable[..., Duration]
    takes_exc: bool

    def _wait_ms(
        self, failures: int, exc: BaseException | None, random: Callable[[], float]
    ) -> int:
        wait = self.function(failures, exc) if self.takes_exc else self.function(failures)
        return to_ms(wait, what=f"return value of the backoff function {self.name}")

    def to_wire(self) -> list[Any]:
        """Always raises InvalidOption: a function cannot be sent."""
        raise InvalidOption(
            f"the backoff function {self.name} is code and cannot be sent with one job: give it "
            "to @job(backoff=…), which every worker reads, or send fixed() or exponential()"
        )

    @property
    def name(self) -> str:
        """The function's name, for messages."""
        return str(getattr(self.function, "__qualname__", type(self.function).__qualname__))

    def __str__(self) -> str:
        return f"custom {self.name}"


def fixed(delay: Duration, *, jitter: float = 0.0) -> Backoff:
    """The same wait after every failure.

    Args:
        delay: a duration of zero or more.
        jitter: 0 to 1, the share of the wait that chance decides. Default 0.

    Raises:
        InvalidOption: a value out of its range.
    """
    return Fixed(to_ms(delay, what="delay"), jitter)


def exponential(
    base: Duration,
    *,
    max: Duration | None = None,  # noqa: A002 -- the word of every peer's option
    factor: float = 2,
    jitter: float = 0.0,
) -> Backoff:
    """A wait of base * factor ** (failures - 1): with base 2 s it is 2, 4, 8 … seconds.

    Args:
        base: the first wait, a duration.
        max: no wait is longer; applied before the jitter. Default: one year (or `base`).
        factor: 1 to 1000. Default 2.
        jitter: 0 to 1, the share of the wait that chance decides. Default 0.

    Raises:
        InvalidOption: a value out of its range, or a `max` below `base`.
    """
    max_ms = None if max is None else to_ms(max, what="max")
    return Exponential(to_ms(base, what="base"), factor, max_ms, jitter)


def custom(function: BackoffFunction) -> Backoff:
    """A wait computed by a plain function.

    Args:
        function: called with (failures, exc) if it has two positional parameters without a
            default, else with (failures). It returns a duration: seconds, a `timedelta` or text.
            What it raises comes out of `delay_ms` as it is.

    Raises:
        InvalidOption: it cannot be called like that, or is an `async def`.
    """
    name = getattr(function, "__qualname__", repr(function))
    given: Any = function
    if not callable(given) or inspect.iscoroutinefunction(given):
        raise InvalidOption(f"a backoff function is a plain function, not {name}")
    for takes_exc in (True, False):
        if _accepts(function, 2 if takes_exc else 1):
            return Custom(function, takes_exc)
    raise InvalidOption(
        f"a backoff function takes (failures) or (failures, exc); {name} takes neither"
    )


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """A number of attempts together with a backoff, under a name.

    Args:
        attempts: total runs, 1 or more.
        backoff: the wait between them.

    Raises:
        InvalidOption: `attempts` is not a whole number of 1 or more.
    """

    attempts: int
    backoff: Backoff

    standard: ClassVar[RetryPolicy]
    """3 attempts, waits of 2 and 4 s."""
    aggressive: ClassVar[RetryPolicy]
    """10 attempts, waits of 5, 10, 20 … 1280 s."""
    none: ClassVar[RetryPolicy]
    """1 attempt, no retry."""

    def __post_init__(self) -> None:
        if not _is_whole(self.attempts) or self.attempts < 1:
            raise InvalidOption(f"`attempts` is a whole number from 1, not {self.attempts!r}")

    @classmethod
    def of(cls, value: RetryPolicy | str) -> RetryPolicy:
        """A policy from one, or from the name of a preset.

        Raises:
            InvalidOption: neither.
        """
        if isinstance(value, RetryPolicy):
            return value
        if isinstance(value, str) and value in PRESETS:  # type: ignore[redundant-expr]  # callers without types
            preset: RetryPolicy = getattr(cls, value)
            return preset
        hint = did_you_mean(value, PRESETS) if isinstance(value, str) else ""  # type: ignore[redundant-expr]  # the same
        raise InvalidOption(
            'a retry policy is a RetryPolicy(attempts, backoff), "standard", "aggressive" or '
            f'"none", not {value!r:.60}{hint}'
        )

    def waits_ms(self) -> list[int]:
        """The waits between the attempts, each at its longest; one fewer than attempts."""
        return [self.backoff.delay_ms(n, random=lambda: 1.0) for n in range(1, self.attempts)]


def _with_jitter(wait_ms: int, jitter: float, random: Callable[[], float]) -> int:
    if not jitter:
        return wait_ms
    return round(wait_ms * (1 - jitter) + random() * wait_ms * jitter)


def _jitter_text(jitter: float) -> str:
    return f", jitter {jitter:g}" if jitter else ""


def _accepts(function: Callable[..., object], count: int) -> bool:
    """Whether `count` positional arguments fit, and for more than one: are all asked for.

    A second parameter that has a default is the author's own constant, not the exception.
    """
    try:
        signature = inspect.signature(function)
        signature.bind(*range(count))
    except (TypeError, ValueError):
        return False
    required = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.default is parameter.empty and parameter.kind < parameter.VAR_POSITIONAL
    ]
    return count == 1 or len(required) == count


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_between(value: Any, low: int, high: int) -> bool:
    """Whether it is a number in the range; NaN is in none."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and low <= value <= high


def _check_ms(what: str, ms: int) -> None:
    if not _is_whole(ms) or not 0 <= ms <= MAX_MS:
        raise InvalidOption(f"`{what}` is milliseconds from 0 to {MAX_MS}, not {ms!r}")


def _check_jitter(jitter: float) -> None:
    if not _is_between(jitter, 0, 1):
        raise InvalidOption(
            f"`jitter` is the share of the wait that chance decides, from 0 to 1, not {jitter!r}"
        )


RetryPolicy.standard = RetryPolicy(3, exponential(2))
RetryPolicy.aggressive = RetryPolicy(10, exponential(5))
RetryPolicy.none = RetryPolicy(1, fixed(0))
