"""Command-line options from the payload of a function, and the payload from their values.

Simple types become native options: text, numbers, switches, choices, lists of them. Everything
else (dicts, nested models, unions) is an option that takes JSON text. No default of a payload is
given to Typer: what is not on the command line stays unset, and the model has the last word.
"""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from weakref import WeakKeyDictionary

from pydantic import AliasChoices, BaseModel, SecretBytes, SecretStr, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import to_jsonable_python

from jobs.cli.command import GLOBAL_NAMES
from jobs.registry import Function

#: Options of every `enqueue`; a payload field of such a name becomes `--payload-<name>`.
JOB_OPTIONS = ("queue", "in", "at", "priority", "id", "attempts", "timeout", "expires",
               "start_by", "retry_for", "tag", "header", "data",
               "wait", "wait_timeout", "dry_run", "help")  # fmt: skip
RESERVED = {name.replace("_", "-") for name in (*JOB_OPTIONS, *GLOBAL_NAMES)}

SEQUENCES = (list, set, frozenset, tuple)


@dataclass(frozen=True)
class Shape:
    """What one value looks like on a command line, and how its text is read."""

    annotation: Any
    read: Callable[[Any], Any] = lambda value: value
    metavar: str | None = None


@dataclass(frozen=True)
class Field:
    """One field of a payload, or one parameter of a function.

    `key` is its name in the payload, `option` its option without the dashes.
    """

    key: str
    option: str
    shape: Shape
    required: bool
    default: str | None = None
    help: str = ""
    secret: bool = False
    kind: inspect._ParameterKind = inspect.Parameter.KEYWORD_ONLY

    @property
    def flags(self) -> str:
        """The declaration of the option, as Typer reads it."""
        if self.shape.annotation is bool:
            return f"--{self.option}/--no-{self.option}"
        return f"--{self.option}"


_known: WeakKeyDictionary[Callable[..., Any], list[Field]] = WeakKeyDictionary()


def fields_of(function: Function) -> list[Field]:
    """The payload of a function, field by field; worked out once, for a file has many lines."""
    if function.call not in _known:
        _known[function.call] = _fields_of(function)
    return _known[function.call]


def _fields_of(function: Function) -> list[Field]:
    if function.signature.model is not None:
        return [_model_field(n, f) for n, f in function.signature.model.model_fields.items()]
    hints = _hints(function.call)
    return [
        _parameter_field(parameter, hints.get(parameter.name, Any))
        for parameter in function.signature.parameters.parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]


def takes_more(function: Function) -> bool:
    """Whether keys are welcome that are no fields."""
    model = function.signature.model
    if model is not None:
        return model.model_config.get("extra") == "allow"
    kinds = [p.kind for p in function.signature.parameters.parameters.values()]
    return inspect.Parameter.VAR_KEYWORD in kinds


def _hints(call: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(call, include_extras=True)
    except (NameError, TypeError):
        return {}


class _Schema(GenerateJsonSchema):
    """A type without a schema takes anything: the function has the last word."""

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:
        return {}


def schema_of(function: Function) -> dict[str, Any]:
    """The JSON schema of a function's payload."""
    if function.signature.model is not None:
        return function.signature.model.model_json_schema(schema_generator=_Schema)
    fields, wires = fields_of(function), function.signature.wires
    known: list[Any] = [
        (field.key, "validation", wires[field.key].adapter)
        for field in fields
        if field.key in wires
    ]
    schemas, shared = TypeAdapter.json_schemas(known, schema_generator=_Schema)
    found: dict[Any, Any] = dict(schemas)
    return {
        "type": "object",
        "properties": {
            field.key: _property(function, field, found.get((field.key, "validation"), {}))
            for field in fields
        },
        "required": [field.key for field in fields if field.required],
        "additionalProperties": takes_more(function),
        **({"$defs": shared["$defs"]} if "$defs" in shared else {}),
    }


def _property(function: Function, field: Field, schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of one parameter, with its default; what `*args` gathers is a list."""
    if field.kind is inspect.Parameter.VAR_POSITIONAL:
        return {"type": "array", "items": schema}
    default = function.signature.parameters.parameters[field.key].default
    if field.required or field.secret:
        return schema
    return {**schema, "default": to_jsonable_python(default, fallback=str)}


def secret_names(function: Function) -> set[str]:
    """The names of all secret fields in the payload, nested ones and aliases included."""
    model = function.signature.model
    if model is None:
        return set(_secrets(schema_of(function)))
    schemas = [
        model.model_json_schema(by_alias=by_alias, schema_generator=_Schema)
        for by_alias in (True, False)
    ]
    return {name for schema in schemas for name in _secrets(schema)}


def _secrets(schema: Any) -> Iterator[str]:
    """The properties that pydantic calls write-only, or that were marked `secret`."""
    if isinstance(schema, list):
        for item in schema:
            yield from _secrets(item)
    if isinstance(schema, dict):
        for name, part in schema.get("properties", {}).items():
            kinds = (part, *part.get("anyOf", ()))
            if any(kind.get("writeOnly") or kind.get("secret") for kind in kinds):
                yield name
        for item in schema.values():
            yield from _secrets(item)


def _schema(hint: Any) -> dict[str, Any]:
    try:
        return TypeAdapter(hint).json_schema()
    except Exception:  # noqa: BLE001 -- a type without a schema takes JSON, and the model decides
        return {}


def _model_field(name: str, info: FieldInfo) -> Field:
    key = _key(name, info)
    secret = is_secret(info.annotation) or bool(
        isinstance(info.json_schema_extra, Mapping) and info.json_schema_extra.get("secret")
    )
    unset = info.is_required() or info.default is None or info.default_factory is not None
    return Field(
        key,
        _option(name),
        shape(info.annotation),
        info.is_required(),
        None if unset or secret else _text(info.default),
        info.description or "",
        secret,
    )


def _parameter_field(parameter: inspect.Parameter, hint: Any) -> Field:
    required = parameter.default is parameter.empty
    many = parameter.kind is parameter.VAR_POSITIONAL
    default = None if required or parameter.default is None else _text(parameter.default)
    return Field(
        parameter.name,
        _option(parameter.name),
        shape(list[hint] if many else hint),
        required and not many,
        default,
        secret=is_secret(hint),
        kind=parameter.kind,
    )


def _key(name: str, info: FieldInfo) -> str:
    """The key that validation looks for."""
    alias = info.validation_alias
    if isinstance(alias, AliasChoices):
        alias = next((choice for choice in alias.choices if isinstance(choice, str)), None)
    return alias if isinstance(alias, str) else name


def _option(name: str) -> str:
    option = name.strip("_").replace("_", "-")
    negated = option.startswith("no-") and option.removeprefix("no-") in RESERVED
    return f"payload-{option}" if option in RESERVED or negated else option


def _text(default: Any) -> str:
    if isinstance(default, Enum):
        default = default.value
    return default if isinstance(default, str) else json.dumps(default, default=str)


# -- shapes --------------------------------------------------------------------------------------


def shape(hint: Any) -> Shape:
    """How a value of this type is written on a command line."""
    bare = _bare(hint)
    if bare in {bool, int, float}:
        return Shape(bare)
    if choices := _choices(bare):
        return Shape(Literal[tuple(choices)], lambda text: choices.get(text, text))
    if (item := _item(bare)) is not None:
        inner = shape(item)
        if inner.read is read_json or get_origin(inner.annotation) is list:
            return Shape(str, read_json, "JSON")
        inner = Shape(str) if inner.annotation is bool else inner
        many = types.GenericAlias(list, (inner.annotation,))
        return Shape(many, lambda texts: [inner.read(text) for text in texts], inner.metavar)
    if bare is not Any and (kind := _text_kind(bare)):
        return Shape(str, metavar=kind)
    return Shape(str, read_loose if bare is Any or _takes_text(bare) else read_json, "JSON")


def read_json(text: Any) -> Any:
    """The value of JSON text; what is none is left for the model to refuse."""
    try:
        return json.loads(text) if isinstance(text, str) else text
    except ValueError as error:
        raise ValueError(f"expected JSON text, such as '{{\"key\": 1}}': {error}") from None


def read_loose(text: Any) -> Any:
    """The value of JSON text, or the text itself."""
    try:
        return read_json(text)
    except ValueError:
        return text


def is_secret(hint: Any) -> bool:
    """Whether values of this type are not to be shown."""
    bare = _bare(hint)
    return inspect.isclass(bare) and issubclass(bare, SecretStr | SecretBytes)


def _bare(hint: Any) -> Any:
    """The type without `Annotated` and without `| None`."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in {Union, types.UnionType}:
        rest = [arg for arg in get_args(hint) if arg is not type(None)]
        if len(rest) == 1:
            return _bare(rest[0])
    return hint


def _choices(bare: Any) -> dict[str, Any]:
    """The values of a Literal or an Enum, by their text."""
    if get_origin(bare) is Literal:
        values = [v.value if isinstance(v, Enum) else v for v in get_args(bare)]
        return {str(value): value for value in values}
    if inspect.isclass(bare) and issubclass(bare, Enum):
        return {str(member.value): member.value for member in bare}
    return {}


def _item(bare: Any) -> Any:
    """The type of the items of a list; `None` if it is none."""
    args = get_args(bare)
    if get_origin(bare) is tuple:
        return args[0] if args[1:] == (Ellipsis,) else None
    if get_origin(bare) in SEQUENCES or "Sequence" in str(get_origin(bare)):
        return args[0]
    return str if bare in SEQUENCES else None


def _text_kind(bare: Any) -> str | None:
    """The word for a type that validates from text, `None` for all others."""
    if not inspect.isclass(bare) or issubclass(bare, BaseModel | dict):
        return None
    schema = _schema(bare)
    kinds = {schema.get("type"), *(part.get("type") for part in schema.get("anyOf", ()))}
    if "string" not in kinds:
        return None
    name = schema.get("format", "text") if schema.get("type") == "string" else "number"
    return str(name).upper()


def _takes_text(bare: Any) -> bool:
    """Whether text is one of several types."""
    union = get_origin(bare) in {Union, types.UnionType}
    return union and any(_text_kind(_bare(arg)) for arg in get_args(bare))
