"""Arguments that a worker fills in: what provides them, and how long it lives.

    def mailer(settings: Settings = Depends(read_settings)) -> Mailer: ...

    @job
    async def welcome(ctx: Context, user: int, mail: Mailer = Depends(mailer)) -> None: ...

A provider is a function, a coroutine function or a class; a generator, plain or async, yields the
value once and cleans up behind the `yield`. Its parameters are further dependencies, and `ctx`.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Annotated, Any, Literal, Self, TypeVar, get_args, get_origin, overload

from jobs.errors import InvalidOption, did_you_mean

T = TypeVar("T")

#: How long a provided value lives, from the longest to the shortest.
Lifetime = Literal["app", "worker", "job"]
LIFETIMES: tuple[Lifetime, ...] = ("app", "worker", "job")


@dataclass(frozen=True)
class Dependency:
    """A value to be provided; made by `Depends`."""

    make: Callable[..., Any]
    lifetime: Lifetime

    @cached_property
    def parameters(self) -> dict[str, Dependency | None]:
        """What the provider itself takes; `None` stands for the context.

        Raises:
            InvalidOption: a parameter that nobody can fill in.
        """
        return _parameters(self.make, self.lifetime)


@overload
def Depends(make: Callable[..., AsyncIterator[T]], /, *, lifetime: Lifetime = "job") -> T: ...
@overload
def Depends(make: Callable[..., Iterator[T]], /, *, lifetime: Lifetime = "job") -> T: ...
@overload
def Depends(make: Callable[..., Awaitable[T]], /, *, lifetime: Lifetime = "job") -> T: ...
@overload
def Depends(make: Callable[..., T], /, *, lifetime: Lifetime = "job") -> T: ...
def Depends(make: Callable[..., Any], /, *, lifetime: Lifetime = "job") -> Any:  # noqa: N802 -- FastAPI's word
    """A parameter's default that says: fill this in. The parameter is no part of the payload.

    Args:
        make: the provider. Providers are told apart by identity, so one provider gives one value
            for each lifetime.
        lifetime: "job" (default): made for each attempt and closed after it, once for all that
            need it. "worker": made when first needed, closed when the worker stops. "app": the
            same, shared by all workers of the event loop and closed with the last of them.

    Raises:
        InvalidOption: an unknown lifetime, a provider that cannot be called or filled in, or one
            that needs something which does not live as long as itself.
    """
    if not callable(make):
        raise InvalidOption(f"`Depends` takes a function or a class, not {make!r:.80}")
    if lifetime not in LIFETIMES:
        hint = did_you_mean(lifetime, LIFETIMES)
        raise InvalidOption(f'`lifetime` is "app", "worker" or "job", not {lifetime!r}{hint}')
    dependency = Dependency(make, lifetime)
    _ = dependency.parameters  # what is wrong is told where it is written
    return dependency


def dependency_of(parameter: inspect.Parameter, hint: Any) -> Dependency | None:
    """The dependency that a parameter asks for, as its default or in `Annotated[…]`."""
    if isinstance(parameter.default, Dependency):
        return parameter.default
    if get_origin(hint) is Annotated:
        return next((item for item in get_args(hint) if isinstance(item, Dependency)), None)
    return None


def _parameters(make: Callable[..., Any], lifetime: Lifetime) -> dict[str, Dependency | None]:
    try:
        parameters = inspect.signature(make, eval_str=True).parameters.values()
    except (NameError, TypeError, ValueError):
        parameters = _unread(make)
    found: dict[str, Dependency | None] = {}
    for parameter in parameters:
        dependency = dependency_of(parameter, parameter.annotation)
        if dependency is not None:
            _check_lifetimes(make, lifetime, dependency)
            found[parameter.name] = dependency
        elif parameter.name == "ctx":
            found["ctx"] = None
        elif parameter.default is parameter.empty and parameter.kind not in _ANY_NUMBER:
            raise InvalidOption(
                f"nobody can fill in {parameter.name!r} of the provider {_name(make)!r}: its "
                "parameters are `ctx`, dependencies (`Depends`), or have defaults"
            )
    return found


_ANY_NUMBER = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _unread(make: Callable[..., Any]) -> Any:
    """The parameters without their annotations; none for code that has no signature."""
    try:
        return inspect.signature(make).parameters.values()
    except (TypeError, ValueError):
        return ()


def _check_lifetimes(make: Callable[..., Any], lifetime: Lifetime, needs: Dependency) -> None:
    if LIFETIMES.index(needs.lifetime) > LIFETIMES.index(lifetime):
        raise InvalidOption(
            f"{_name(make)!r} lives as long as the {lifetime} and needs {_name(needs.make)!r}, "
            f"which ends with the {needs.lifetime}: give that one the longer lifetime too"
        )


def _name(make: Callable[..., Any]) -> str:
    return getattr(make, "__qualname__", repr(make))


# -- replacing providers in tests -----------------------------------------------------------

_overrides: dict[Callable[..., Any], Callable[..., Any]] = {}


@contextmanager
def overriding(make: Callable[..., Any], by: Callable[..., Any]) -> Iterator[None]:
    """In this block `by` provides what `make` would: for tests.

    Args:
        make: the provider that functions name.
        by: another one; a lambda that returns a fake will do.

    Raises:
        InvalidOption: `by` has a parameter that nobody can fill in.
    """
    _parameters(by, "job")
    before = _overrides.get(make)
    _overrides[make] = by
    try:
        yield
    finally:
        if before is None:
            _overrides.pop(make, None)
        else:
            _overrides[make] = before


# -- making and closing ---------------------------------------------------------------------


class Holder:
    """The values of one lifetime: each made once, when first needed, and closed in reverse.

    Args:
        lifetime: which values it holds; those that live longer are held by `outer`.
        ctx: what providers get as `ctx`: the job's context, or the worker's.
        outer: the holder of the next longer lifetime; without one this holds those as well.
    """

    def __init__(
        self, lifetime: Lifetime, ctx: Mapping[Any, Any] | None, outer: Holder | None = None
    ) -> None:
        self._lifetime = lifetime
        self._ctx = ctx
        self._outer = outer
        self._values: dict[Callable[..., Any], Any] = {}
        self._locks: dict[Callable[..., Any], asyncio.Lock] = {}
        self._ends = AsyncExitStack()

    async def fill(self, wanted: Mapping[str, Dependency]) -> dict[str, Any]:
        """The values for these parameters.

        Raises:
            Exception: whatever a provider raises.
        """
        return {name: await self.get(dependency) for name, dependency in wanted.items()}

    async def get(self, dependency: Dependency) -> Any:
        """One value; made now if it is not there.

        Raises:
            Exception: whatever its provider raises; the next call tries again.
        """
        if dependency.lifetime != self._lifetime and self._outer is not None:
            return await self._outer.get(dependency)
        make = _overrides.get(dependency.make, dependency.make)
        if make in self._values:
            return self._values[make]
        async with self._locks.setdefault(make, asyncio.Lock()):
            if make not in self._values:
                self._values[make] = await self._made(make, dependency)
        return self._values[make]

    async def _made(self, make: Callable[..., Any], dependency: Dependency) -> Any:
        needs = dependency.parameters if make is dependency.make else _parameters(make, "job")
        given = {
            name: self._ctx if needed is None else await self.get(needed)
            for name, needed in needs.items()
        }
        if inspect.isasyncgenfunction(make):
            return await self._ends.enter_async_context(asynccontextmanager(make)(**given))
        if inspect.isgeneratorfunction(make):
            return self._ends.enter_context(contextmanager(make)(**given))
        value = make(**given)
        return await value if inspect.isawaitable(value) else value

    async def aclose(self) -> None:
        """Close every value, the last one first.

        Raises:
            Exception: whatever their clean-up raises, when all are closed.
        """
        self._values.clear()
        await self._ends.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Providers see the error, so that a transaction can be rolled back; none can hide it.
        await self._ends.__aexit__(kind, error, trace)


class AppHolders:
    """The values with the lifetime "app": one holder for each event loop, while workers use it."""

    def __init__(self) -> None:
        self._held: dict[asyncio.AbstractEventLoop, tuple[Holder, int]] = {}

    def enter(self) -> Holder:
        """The holder of the running loop; `leave` it in the end."""
        loop = asyncio.get_running_loop()
        holder, users = self._held.get(loop) or (Holder("app", {}), 0)
        self._held[loop] = holder, users + 1
        return holder

    async def leave(self) -> None:
        """Use the holder no more; the last one closes its values.

        Raises:
            Exception: whatever their clean-up raises.
        """
        loop = asyncio.get_running_loop()
        holder, users = self._held.pop(loop)
        if users > 1:
            self._held[loop] = holder, users - 1
        else:
            await holder.aclose()


app_holders = AppHolders()
