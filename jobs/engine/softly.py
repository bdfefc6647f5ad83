"""The soft end of an attempt: `SoftTimeout` raised inside a coroutine, in place of a cancellation.

A task can only be cancelled; what its coroutine meets then is a plain `CancelledError`. So a
coroutine with a soft timeout is driven by hand, and this one cancellation becomes another error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any

from jobs.engine.awaits import chain_of
from jobs.errors import JobTimedOut
from jobs.soft_timeout import SoftTimeout


class Soft:
    """The soft timeout of one attempt.

    Args:
        limit_s: when it is over, in seconds from the start of the attempt.
        raises: whether the function is told by an exception, beside the event.
    """

    __slots__ = (
        "_delivered",
        "_owed",
        "_pending",
        "awaiting",
        "driving",
        "event",
        "limit_s",
        "raises",
        "struck",
    )

    def __init__(self, limit_s: float, *, raises: bool) -> None:
        self.limit_s = limit_s
        self.raises = raises
        self.struck = False
        self.awaiting: tuple[str, ...] = ()
        #: Set when the time is over; functions see it as `ctx.soft_timeout`.
        self.event = asyncio.Event()
        #: Whether a coroutine is driven now, which could be told.
        self.driving = False
        self._pending = False
        self._delivered = False
        self._owed = False

    def strike(self, task: asyncio.Task[Any] | None) -> None:
        """The time is over: set the event, and raise in the function if asked."""
        self.struck = True
        self.event.set()
        if self.raises and self.driving and task is not None:
            self.awaiting = chain_of(task)
            self._pending = task.cancel()

    def drive(self, coroutine: Coroutine[Any, Any, Any]) -> Driven:
        """Await this to await `coroutine`, with `SoftTimeout` raised in it when the time comes."""
        return Driven(self, coroutine)

    def give_way(self) -> None:
        """The attempt is to stop: from now on a cancellation is one."""
        self._delivered = True

    def meant(self, error: BaseException) -> BaseException:
        """`SoftTimeout` for the cancellation that `strike` made; any other error as it is.

        A task that is cancelled twice before it runs meets one `CancelledError`: with one of a
        timeout of the function's own it is told of the soft one, which is the outer.
        """
        if not self._pending or self._delivered or not isinstance(error, asyncio.CancelledError):
            return error
        self._delivered = self._owed = True
        return SoftTimeout(f"the soft timeout of {self.limit_s:g} s is over")

    def settle(self) -> None:
        """Take back the cancellation that was told as a soft timeout, once the coroutine was told.

        Not before: by the count of cancellations a timeout of the function's own that ends in the
        same moment sees that there is an outer one (`asyncio.timeouts`; since Python 3.13 also for
        kinds of `CancelledError`).
        """
        if self._owed and (task := asyncio.current_task()) is not None:
            self._owed = False
            task.uncancel()

    def failure(self, error: SoftTimeout) -> JobTimedOut:
        """What an attempt failed with that let its `SoftTimeout` out."""
        failure = JobTimedOut(
            f"the attempt ran longer than its soft timeout of {self.limit_s:g} s", self.awaiting
        )
        failure.__cause__ = error
        return failure


class Driven:
    """Awaits a coroutine, and asks `Soft` what an error that comes from outside means."""

    __slots__ = ("_coroutine", "_soft")

    def __init__(self, soft: Soft, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._soft, self._coroutine = soft, coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        coroutine = self._coroutine  # by this name `awaits` finds it
        step: Any = coroutine.send
        value: Any = None
        self._soft.driving = True
        try:
            while True:
                try:
                    waits_for = step(value)
                finally:
                    self._soft.settle()
                try:
                    value = yield waits_for
                    step = coroutine.send
                except BaseException as error:  # noqa: BLE001 -- handed on, as `await` would
                    step, value = coroutine.throw, self._soft.meant(error)
        except StopIteration as end:
            return end.value
        finally:
            self._soft.driving = False
