"""What code a job runs: functions by name, their options, and the validation of their arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, get_type_hints

from pydantic import BaseModel, PydanticUserError, TypeAdapter, ValidationError

from jobs.errors import InvalidPayload
from jobs.options import JobOptions


@dataclass(frozen=True)
class Signature:
    """The parameters of a function behind `ctx`, and how to check arguments against them."""

    function: str
    parameters: inspect.Signature
    adapters: dict[str, TypeAdapter[Any]]
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
        adapters = {
            parameter.name: adapter
            for parameter in parameters
            if (adapter := _adapter(hints.get(parameter.name, Any)))
        }
        only = hints.get(parameters[0].name) if len(parameters) == 1 else None
        model = only if inspect.isclass(only) and issubclass(only, BaseModel) else None
        return cls(
            name,
            inspect.Signature(parameters),
            adapters,
            model,
            _adapter(hints.get("return", Any)),
        )

    def wire(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[list[Any], Any]:
        """Validated (args, kwargs) as they are written into the body; a model becomes kwargs.

        Raises:
            InvalidPayload: they do not fit the function.
        """
        if self.model is not None:
            return [], self._payload(args, kwargs)
        args, kwargs = self.arguments(args, kwargs)
        return list(args), kwargs

    def arguments(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """What to call the code with, behind `ctx`: every argument in its annotated type.

        Raises:
            InvalidPayload: they do not fit the function.
        """
        if self.model is not None:
            return (self._payload(args, kwargs),), {}
        try:
            bound = self.parameters.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidPayload(self.function, [("arguments", str(error))]) from error
        self._convert(bound)
        return bound.args, bound.kwargs

    def _convert(self, bound: inspect.BoundArguments) -> None:
        errors: list[tuple[str, str]] = []
        for name, adapter in self.adapters.items():
            if name not in bound.arguments:
                continue
            try:
                bound.arguments[name] = self._converted(name, adapter, bound.arguments[name])
            except ValidationError as error:
                errors += _problems(error, name)
        if errors:
            raise InvalidPayload(self.function, errors)

    def _converted(self, name: str, adapter: TypeAdapter[Any], value: Any) -> Any:
        kind = self.parameters.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            return tuple(adapter.validate_python(item) for item in value)
        if kind is inspect.Parameter.VAR_KEYWORD:
            return {key: adapter.validate_python(item) for key, item in value.items()}
        return adapter.validate_python(value)

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
            return self.model.model_validate(given)
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
