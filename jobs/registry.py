"""What code a job runs: functions by name, their options, and the validation of their arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast, get_type_hints

from pydantic import BaseModel, PydanticUserError, TypeAdapter, ValidationError

from jobs.errors import InvalidPayload
from jobs.options import JobOptions
from jobs.wire import Wire


@dataclass(frozen=True)
class Signature:
    """The parameters of a function behind `ctx`, and how to check arguments against them."""

    function: str
    parameters: inspect.Signature
    wires: dict[str, Wire]
    model: type[BaseModel] | None
    returns: TypeAdapter[Any] | None

    @classmethod
    def of(
        cls, name: str, call: Callable[..., Any], scope: Mapping[str, Any] | None = None
    ) -> Signature:
        """Read the signature of the code; annotations that pydantic cannot use are not checked.

        `scope` holds local names in which the annotations may be found.
        """
        hints = _hints(call, scope or {})
        parameters = list(inspect.signature(call).parameters.values())[1:]
        adapters = {p.name: _adapter(hints.get(p.name, Any)) for p in parameters}
        wires = {name: Wire(adapter) for name, adapter in adapters.items() if adapter}
        only = hints.get(parameters[0].name) if len(parameters) == 1 else None
        model = only if inspect.isclass(only) and issubclass(only, BaseModel) else None
        return cls(
            name,
            inspect.Signature(parameters),
            wires,
            model,
            _adapter(hints.get("return", Any)),
        )

    def wire(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[list[Any], Any]:
        """Validated (args, kwargs) as they are written into the body; a model becomes kwargs.

        Raises:
            InvalidPayload: they do not fit the function, or do not survive the way.
        """
        if self.model is not None:
            payload = self._payload(args, kwargs)
            (wire,) = self.wires.values()
            return [], self._checked({"payload": payload}, lambda _, model: wire.write(model))[
                "payload"
            ]
        bound = self._bound(args, kwargs)
        bound.arguments.update(self._checked(bound.arguments, self._written))
        return list(bound.args), bound.kwargs

    def arguments(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """What to call the code with, behind `ctx`: every argument in its annotated type.

        Raises:
            InvalidPayload: they do not fit the function.
        """
        if self.model is not None:
            return (self._payload(args, kwargs),), {}
        bound = self._bound(args, kwargs)
        return bound.args, bound.kwargs

    def _bound(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> inspect.BoundArguments:
        try:
            bound = self.parameters.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidPayload(self.function, [("arguments", str(error))]) from error
        bound.arguments.update(self._checked(bound.arguments, self._read))
        return bound

    def _checked(
        self, arguments: Mapping[str, Any], convert: Callable[[str, Any], Any]
    ) -> dict[str, Any]:
        """Every argument converted; all problems are told at once."""
        done: dict[str, Any] = {}
        errors: list[tuple[str, str]] = []
        for name, value in arguments.items():
            try:
                done[name] = convert(name, value)
            except ValidationError as error:
                errors += _problems(error, name)
            except ValueError as error:
                errors.append((name, str(error)))
        if errors:
            raise InvalidPayload(self.function, errors)
        return done

    def _read(self, name: str, value: Any) -> Any:
        return self._each(name, value, lambda wire, item: wire.read(item))

    def _written(self, name: str, value: Any) -> Any:
        return self._each(name, value, lambda wire, item: wire.write(item))

    def _each(self, name: str, value: Any, convert: Callable[[Wire, Any], Any]) -> Any:
        """Convert an argument, or each of those gathered by `*args` or `**kwargs`."""
        wire = self.wires.get(name)
        if wire is None:
            return value
        kind = self.parameters.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            return tuple(convert(wire, item) for item in value)
        if kind is inspect.Parameter.VAR_KEYWORD:
            return {key: convert(wire, item) for key, item in value.items()}
        return convert(wire, value)

    def _payload(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> BaseModel:
        assert self.model is not None  # noqa: S101 -- both callers have checked
        if len(args) > 1 or (args and kwargs):
            problem = f"expected one {self.model.__name__} or its fields, got {len(args)} values"
            raise InvalidPayload(self.function, [("arguments", problem)])
        name = next(iter(self.parameters.parameters))
        given = args[0] if args else kwargs
        if not args and kwargs.keys() == {name} and name not in self.model.model_fields:
            given = kwargs[name]
        try:
            return cast("BaseModel", self.wires[name].read(given))
        except ValidationError as error:
            raise InvalidPayload(self.function, _problems(error)) from None


@dataclass(frozen=True)
class Function:
    """One function that jobs can run.

    Args:
        name: what producers call it.
        call: the code: a coroutine function, or a plain one that is run in a thread.
        signature: its parameters behind `ctx`.
        queue: where its jobs go; `None` for the default queue.
        options: its layer of job options.
        retries: whether an ordinary exception leads to another attempt. Plain arq functions
            keep arq's rule: only `Retry`, a timeout and a cancellation do.
        no_retry: exception types that are final all the same.
        description: a sentence for people.
    """

    name: str
    call: Callable[..., Any]
    signature: Signature
    queue: str | None = None
    options: JobOptions = field(default_factory=JobOptions)
    retries: bool = True
    no_retry: tuple[type[BaseException], ...] = ()
    description: str = ""

    @cached_property
    def is_async(self) -> bool:
        """Whether the code is a coroutine function."""
        return inspect.iscoroutinefunction(self.call)


#: Every function declared with `@job`, by name, so that a producer can check what it enqueues.
functions: dict[str, Function] = {}


def _hints(call: Callable[..., Any], scope: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return get_type_hints(call, localns=dict(scope), include_extras=True)
    except (NameError, TypeError):
        return {}


def _adapter(annotation: Any) -> TypeAdapter[Any] | None:
    if annotation is Any or annotation is None:
        return None
    try:
        return TypeAdapter(annotation)
    except (PydanticUserError, TypeError):
        return None


def _problems(error: ValidationError, parameter: str = "") -> list[tuple[str, str]]:
    """(dotted field, problem) of each error; input values stay out, they may be secret."""
    prefix = (parameter,) if parameter else ()
    return [
        (".".join(map(str, (*prefix, *item["loc"]))) or "payload", item["msg"])
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    ]
