"""Arguments on their way into JSON: what a worker reads back is what the caller gave.

pydantic writes some values so that they cannot be read again: a `SecretStr` as asterisks, NaN as
null, a field under another alias than it is read by. Types in which that can happen are found
once; their values are then written with secrets in the clear, read back, and compared.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, SecretBytes, SecretStr, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

#: Parts of a pydantic schema that may not survive a trip through JSON.
_RISKY = ("float", "json'", "serialization", "alias", "any'", "function", "bytes", "strict': True")


class Wire:
    """The way of one annotated type into JSON and back."""

    def __init__(self, adapter: TypeAdapter[Any]) -> None:
        self.adapter = adapter
        schema = repr(adapter.core_schema)
        #: Whether a validated value is written as it is.
        self.faithful = not any(word in schema for word in _RISKY)

    def read(self, value: Any) -> Any:
        """A value as the type: of Python objects, else of what JSON makes of them.

        Raises:
            pydantic.ValidationError: it does not fit.
        """
        try:
            return self.adapter.validate_python(value)
        except ValidationError:
            return self._read_json(value)

    def _read_json(self, value: Any) -> Any:
        """The same by the rules for JSON: a strict type takes a date written as text."""
        try:
            document = to_json(value)
        except ValueError:
            return self.adapter.validate_python(value)
        return self.adapter.validate_json(document)

    def write(self, value: Any) -> Any:
        """A validated value in a form that `to_json` writes faithfully.

        Raises:
            ValueError: no such form was found.
        """
        if self.faithful:
            return value
        problem: object = "the value read back is another one"
        for by_alias in (True, False):
            plain = _reveal(self.adapter.dump_python(value, round_trip=True, by_alias=by_alias))
            try:
                if _same(self.read(from_json(to_json(plain))), value):
                    return plain
            except ValidationError as error:
                problem = error.errors(include_input=False, include_url=False)[0]["msg"]
            except ValueError as error:
                problem = error
        raise ValueError(f"it does not survive being written as JSON and read back: {problem}")


def _reveal(value: Any) -> Any:
    """`value` with its secrets in the clear."""
    if isinstance(value, SecretStr | SecretBytes):
        return value.get_secret_value()
    if isinstance(value, dict):
        return {key: _reveal(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_reveal(item) for item in value]
    return value


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, BaseModel):
        return type(one) is type(other) and bool(one == other)
    return bool(one == other)
