"""From the values of a command line, or of a line of a file, to a checked request."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from jobs import Request
from jobs.cli.codes import Problem
from jobs.cli.payload import Field, fields_of, takes_more
from jobs.errors import InvalidPayload, did_you_mean
from jobs.options import EnqueueOptions
from jobs.registry import Function

Problems = list[tuple[str, str]]


def make_request(
    function: Function,
    values: Mapping[str, Any],
    options: Mapping[str, Any],
    args: Sequence[Any] = (),
) -> Request:
    """A validated request for one job.

    Args:
        function: what it will run.
        values: payload keys and their values.
        options: options of the call, those that are `None` left out.
        args: positional arguments, for functions without a payload model.

    Raises:
        InvalidPayload: unknown keys, missing ones, values that do not validate.
    """
    fields = fields_of(function)
    if problems := [*_unknown(function, fields, values), *_missing(function, fields, values, args)]:
        raise InvalidPayload(function.name, problems)
    positional, keywords = _split(fields, dict(values), list(args))
    function.signature.wire(positional, keywords)
    given = {name: value for name, value in options.items() if value is not None}
    return Request(function.name, positional, keywords, cast("EnqueueOptions", given), function)


def _unknown(function: Function, fields: list[Field], values: Mapping[str, Any]) -> Problems:
    known = {field.key for field in fields}
    if takes_more(function):
        return []
    if function.signature.model is not None:
        known |= function.signature.model.model_fields.keys()
    return [(key, f"unknown field{did_you_mean(key, known)}") for key in values if key not in known]


def _missing(
    function: Function, fields: list[Field], values: Mapping[str, Any], args: Sequence[Any]
) -> Problems:
    if function.signature.model is not None:
        return []  # the model says so itself, and knows its aliases
    left = [field for field in fields if field.key not in values][len(args) :]
    return [(field.key, "Field required") for field in left if field.required]


def _split(
    fields: list[Field], values: dict[str, Any], args: list[Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Positional arguments and keywords: each value where the function takes it."""
    many = next((f for f in fields if f.kind is inspect.Parameter.VAR_POSITIONAL), None)
    open_fields = [field for field in fields if field.key not in values and field is not many]
    values |= {field.key: arg for field, arg in zip(open_fields, args, strict=False)}
    rest = args[len(open_fields) :] + list(values.pop(many.key, []) if many else [])
    first = [f.key for f in fields if f.kind is inspect.Parameter.POSITIONAL_ONLY or rest]
    positional = [values.pop(key) for key in first if key in values]
    return [*positional, *rest], values


def payload_problem(error: InvalidPayload, fields: Sequence[Field]) -> Problem:
    """The error as one line a field, each named like its option."""
    lines = [f"{_flag(name, fields)}: {problem}" for name, problem in error.errors]
    return Problem(
        f"the payload of {error.function!r} does not validate",
        f"`arq-jobs enqueue {error.function} --help`",
        lines=lines,
    )


def _flag(name: str, fields: Sequence[Field]) -> str:
    key, dot, rest = name.partition(".")
    option = next((field.option for field in fields if field.key == key), key.replace("_", "-"))
    return name if name in {"arguments", "payload"} else f"--{option}{dot}{rest}"


def read_data(text: str | None) -> Any:
    """The value of `--data`: JSON text, `@file`, or `-` for standard input.

    Raises:
        Problem: no such file, or no JSON.
    """
    if text is None:
        return {}
    try:
        value = json.loads(_source(text))
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"--data: {error}") from None
    except ValueError as error:
        raise Problem(f"--data: expected JSON, an @file with it, or -: {error}") from None
    if not isinstance(value, dict):
        raise Problem(f"--data: expected a JSON object, not {json.dumps(value):.60}")
    return value


def _source(text: str) -> str:
    if text == "-":
        return sys.stdin.read()
    return Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text


def call_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a call from those of the command line."""
    from jobs.cli.when import read_at

    at: datetime | None = read_at(values["at"]) if values.get("at") else None
    start_by = values.get("start_by")
    names = ("queue", "id", "priority", "attempts", "timeout", "expires", "retry_for")
    return {name: values.get(name) for name in names} | {
        "delay": values.get("in_"),
        "run_at": at,
        "start_by": read_at(start_by, "--start-by") if start_by else None,
        "tags": values.get("tag") or None,
        "headers": _headers(values.get("header") or ()) or None,
    }


def _headers(given: Sequence[str]) -> dict[str, str]:
    """The headers of `NAME=VALUE` texts.

    Raises:
        Problem: a text without a name or without the sign.
    """
    headers = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not name or not sign:
            raise Problem(f"--header: expected NAME=VALUE, not {text!r:.60}")
        headers[name] = value
    return headers
