"""How the arguments of a function are checked: when a job is enqueued, and before it runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, cast, get_type_hints

from pydantic import BaseModel, PydanticUserError, TypeAdapter, ValidationError

from jobs.depends import Dependency, dependency_of
from jobs.errors import InvalidOption, InvalidPayload
from jobs.wire import Wire


class _Fast(NamedTuple):
    """What the quick way needs to know of the parameters."""

    names: tuple[str, ...]
    known: frozenset[str]
    positional: int  #: how many may be given by place; the others only by name
    checks: tuple[Callable[[Any], Any] | None, ...]
    faithful: bool  #: whether validated values are written as they are


@dataclass(frozen=True)
class Signature:
    """The parameters of a function behind `ctx`, and how to check arguments against them.

    Those that a worker fills in are `dependencies`, and no part of the payload.
    """

    function: str
    parameters: inspect.Signature
    wires: dict[str, Wire]
    model: type[BaseModel] | None
    returns: TypeAdapter[Any] | None
    dependencies: Mapping[str, Dependency] = field(default_factory=dict)

    @classmethod
    def of(
        cls, name: str, call: Callable[..., Any], scope: Mapping[str, Any] | None = None
    ) -> Signature:
        """Read the signature of the code; annotations that pydantic cannot use are not checked.

        `scope` holds local names in which the annotations may be found.

        Raises:
            InvalidOption: a dependency in a place where it cannot be filled in.
        """
        hints = _hints(call, scope or {})
        written = list(inspect.signature(call).parameters.values())[1:]
        parameters, dependencies = _parted(name, written, hints)
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
            dependencies,
        )

    @cached_property
    def _fast(self) -> _Fast | None:
        """The quick way for functions of ordinary parameters; `None` if there is none."""
        kinds = [parameter.kind for parameter in self.parameters.parameters.values()]
        ordinary = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        if any(kind not in ordinary for kind in kinds):
            return None
        names = tuple(self.parameters.parameters)
        wires = [self.wires.get(name) for name in names]
        return _Fast(
            names,
            frozenset(names),
            kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD),
            tuple(wire.adapter.validator.validate_python if wire else None for wire in wires),
            all(wire is None or wire.faithful for wire in wires),
        )

    def _quick(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any] | None:
        """All arguments, validated, in the order of the parameters, if that is plain to do.

        Binding costs ten times as much. Whatever is not plain (defaults, `*args`, problems to
        tell of, strict types that JSON values fit by other rules) goes the long way.
        """
        fast = self._fast
        if fast is None or len(args) + len(kwargs) != len(fast.names):
            return None
        given = args
        if kwargs:
            values = dict(zip(fast.names, args, strict=False))
            values.update(kwargs)
            if values.keys() != fast.known:
                return None
            given = [values[name] for name in fast.names]
        elif len(args) > fast.positional:
            return None
        try:
            return [
                check(value) if check else value
                for check, value in zip(fast.checks, given, strict=True)
            ]
        except ValidationError:
            return None

    def _split(self, values: list[Any]) -> tuple[list[Any], dict[str, Any]]:
        """Values of all parameters as (args, kwargs)."""
        assert self._fast is not None  # noqa: S101 -- `_quick` gave the values
        at = self._fast.positional
        if at == len(values):
            return values, {}
        return values[:at], dict(zip(self._fast.names[at:], values[at:], strict=True))

    def wire(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[list[Any], Any]:
        """Validated (args, kwargs) as they are written into the body; a model becomes kwargs.

        Raises:
            InvalidPayload: they do not fit the function, or do not survive the way.
        """
        if self.model is not None:
            payload = self._payload(args, kwargs)
            (wire,) = self.wires.values()
            if wire.faithful:
                return [], payload
            return [], self._checked({"payload": payload}, lambda _, model: wire.write(model))[
                "payload"
            ]
        if self._fast and self._fast.faithful and (values := self._quick(args, kwargs)) is not None:
            return self._split(values)
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
        if (values := self._quick(args, kwargs)) is not None:
            return self._split(values)
        bound = self._bound(args, kwargs)
        return bound.args, bound.kwargs

    def by_name(self, args: Sequence[Any], kwargs: Any) -> Mapping[str, Any]:
        """The arguments that `wire` gave, by name; of a model its fields."""
        if isinstance(kwargs, BaseModel):
            return dict(kwargs)
        if self.model is not None:
            return cast("Mapping[str, Any]", kwargs)
        fast = self._fast
        if fast is not None and len(args) + len(kwargs) == len(fast.names):
            return {**dict(zip(fast.names, args, strict=False)), **kwargs}
        bound = self.parameters.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

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


def _hints(call: Callable[..., Any], scope: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return get_type_hints(call, localns=dict(scope), include_extras=True)
    except (NameError, TypeError):
        return {}


def _parted(
    name: str, written: Sequence[inspect.Parameter], hints: Mapping[str, Any]
) -> tuple[list[inspect.Parameter], dict[str, Dependency]]:
    """The parameters of the payload and those that a worker fills in.

    What stands behind a dependency is given by name: its place is taken.
    """
    payload: list[inspect.Parameter] = []
    filled: dict[str, Dependency] = {}
    for parameter in written:
        dependency = dependency_of(parameter, hints.get(parameter.name))
        if dependency is None:
            if filled and parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
                parameter = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)  # noqa: PLW2901
            payload.append(parameter)
        else:
            filled[parameter.name] = dependency
    unplaced = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL)
    if filled and any(parameter.kind in unplaced for parameter in written):
        raise InvalidOption(
            f"{name!r} has dependencies, which are given by name: it can take neither `/` nor "
            "`*args` beside them"
        )
    return payload, filled


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
