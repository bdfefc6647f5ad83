"""`schema`: what a payload must look like, and an example that `enqueue` takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, Field, HttpUrl, create_model, model_validator

from jobs import Context, Unique, job
from jobs.cli import application
from jobs.cli.example import example_of
from jobs.cli.payload import schema_of
from jobs.cli.requests import make_request
from jobs.cli.schema import example_for
from jobs.functions import JobFunction
from jobs.registry import Function
from jobs.requests import Preparer
from tests.cli import sample_app
from tests.cli.conftest import Cli, Program

SAMPLE = application.of(sample_app.WorkerSettings)


@pytest.mark.parametrize("name", SAMPLE.functions)
def test_the_example_of_every_job_passes_the_checks_of_enqueue(name: str) -> None:
    """Those that ship are looked at in tests/catalog/test_examples.py."""
    function = SAMPLE.functions[name]
    example, problems = example_for(SAMPLE, function)
    assert (example is None, problems) == (False, [])
    assert example is not None
    through_json = json.loads(json.dumps(example))
    Preparer(SAMPLE.default_queue).prepare(make_request(function, through_json, {}))


def test_the_example_goes_into_enqueue(program: Program, cli: Cli) -> None:
    """The way of a user: one command's output is the other's input."""
    example = program("schema", "email", "-q").out
    assert json.loads(example)["to"] == "ada@example.com"
    done = program("enqueue", "email", "--data", "-", "-q", given=example)
    assert done.code == 0
    assert cli("show", done.out.strip(), "--json").json["job"]["function"] == "email"


def test_the_schema_is_that_of_the_model(cli: Cli) -> None:
    found = cli("schema", "email", "--json").json["job"]
    assert found["schema"]["properties"]["to"]["description"] == "Who gets it."
    assert found["schema"]["required"] == ["to"]
    assert found["schema"]["$defs"].keys() >= {"Address", "Tone"}
    assert found["example"] | {"to": "x@y"} == {
        "to": "x@y", "template": "welcome", "copies": 1, "track": True, "tone": "warm",
        "level": 1, "language": "en", "queue": "none",
    }  # fmt: skip
    assert (found["name"], found["queue"], found["problems"]) == ("email", "email", [])


def test_people_see_both_and_the_next_command(cli: Cli) -> None:
    done = cli("schema", "flaky")
    assert done.code == 0
    assert done.out.startswith("schema of flaky:\n{\n")
    assert 'example:\n{\n  "note": "boom"\n}\n' in done.out
    assert done.err == """next: arq-jobs enqueue flaky --data '{"note": "boom"}'\n"""


def test_parameters_have_a_schema_too(cli: Cli) -> None:
    found = cli("schema", "add", "--json").json["job"]
    assert found["schema"] == {
        "type": "object",
        "properties": {
            "a": {"type": "integer"},
            "b": {"type": "integer", "default": 2},
            "more": {"type": "array", "items": {"type": "integer"}},
        },
        "required": ["a"],
        "additionalProperties": False,
    }
    assert found["example"] == {"a": 1, "b": 2}


def test_an_unknown_job(cli: Cli) -> None:
    done = cli("schema", "emial")
    assert (done.code, done.out) == (4, "")
    assert "did you mean 'email'?" in done.err


def test_a_payload_that_nothing_fits(cli: Cli, home: Path) -> None:
    code = (
        "from pydantic import BaseModel, field_validator\n"
        "from jobs import Context, job\n"
        "class Odd(BaseModel):\n    word: str\n\n"
        "    @field_validator('word')\n    @classmethod\n"
        "    def _check(cls, value: str) -> str:\n"
        "        if value != 'xyzzy':\n            raise ValueError('say the magic word')\n"
        "        return value\n"
        "@job\nasync def odd(ctx: Context, payload: Odd) -> None: ...\n"
        "class WorkerSettings:\n    functions = (odd,)\n"
    )
    (home / "odd_app.py").write_text(code)
    done = cli("schema", "odd", "--app", "odd_app:WorkerSettings", "--json")
    assert (done.code, done.json["job"]["example"]) == (0, None)
    assert done.json["job"]["problems"] == ["word: Value error, say the magic word"]
    plain = cli("schema", "odd", "--app", "odd_app:WorkerSettings")
    assert "no example of the payload of 'odd' was found" in plain.err
    quiet = cli("schema", "odd", "--app", "odd_app:WorkerSettings", "-q")
    assert (quiet.code, quiet.out) == (1, "")
    assert "say the magic word" in quiet.err


# -- drafts and repairs ---------------------------------------------------------------------------


def _upper(text: str) -> str:
    if not text.isupper():
        raise ValueError("capitals, please")
    return text


class Mode(Enum):
    fast = "fast"


class Leaf(BaseModel):
    kind: Literal["leaf"]
    size: int = Field(ge=5, multiple_of=4)


class Tree(BaseModel):
    kind: Literal["tree"]
    children: list[Tree] = Field(min_length=0)
    parent: Tree | None = None


class Many(BaseModel):
    code: Annotated[str, Field(pattern="^[A-Z]{3}$"), AfterValidator(_upper)]
    name: str = Field(min_length=90)
    mode: Mode
    part: Leaf | Tree = Field(discriminator="kind")
    numbers: set[int] = Field(min_length=3)
    pair: tuple[int, str]
    share: float = Field(gt=0, lt=0.5)
    price: Decimal
    at: datetime
    wait: timedelta
    uuid: UUID
    host: IPv4Address
    url: HttpUrl
    table: dict[str, int] = Field(min_length=2)
    anything: Any
    raw: bytes


class OneOfThree(BaseModel):
    a: str | None = None
    b: int | None = None
    c: int | None = None

    @model_validator(mode="after")
    def _two(self) -> Self:
        if self.b is None or self.c is None:
            raise ValueError("b and c, please")
        return self


class Own(BaseModel):
    word: str = Field(examples=["xyzzy"])


def judge_of(function: Function) -> Callable[[Mapping[str, Any]], list[tuple[str, str]]]:
    from jobs.errors import InvalidPayload

    def judge(payload: Mapping[str, Any]) -> list[tuple[str, str]]:
        try:
            make_request(function, payload, {})
        except InvalidPayload as error:
            return error.errors
        return []

    return judge


def job_of(model: type[BaseModel]) -> Function:
    async def run(ctx: Context, payload: model) -> None: ...  # type: ignore[valid-type]  # made here

    made: JobFunction[Any, Any] = job("made")(run)
    return made.function


@pytest.mark.parametrize("model", [Many, Tree, OneOfThree, Own])
def test_what_schemas_and_validators_ask_for(model: type[BaseModel]) -> None:
    function = job_of(model)
    example, problems = example_of(schema_of(function), judge_of(function))
    assert problems == []
    assert example is not None


KINDS: list[Any] = [
    int, float, str, bool, bytes, datetime, UUID, Decimal, Mode, HttpUrl, Leaf, Tree, Any,
    Literal["x", 3], list[int], set[str], dict[str, int], int | None, int | str, list[Leaf],
    tuple[int, ...], tuple[bool, Mode], dict[str, Any], Annotated[int, Field(gt=41)],
    Annotated[str, Field(min_length=7, max_length=8)], Annotated[list[str], Field(max_length=0)],
    Annotated[float, Field(ge=-3, lt=-1)], Annotated[str, Field(pattern="^#[0-9a-f]{6}$")],
]  # fmt: skip


@hypothesis_settings(max_examples=40)
@given(kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=6), data=st.data())
def test_any_model_of_these_types_has_an_example(kinds: list[Any], data: st.DataObject) -> None:
    fields: dict[str, Any] = {}
    for n, kind in enumerate(kinds):
        optional = data.draw(st.booleans())
        fields[f"field_{n}"] = (kind | None if optional and kind is not Any else kind,
                                None if optional else ...)  # fmt: skip
    function = job_of(create_model("Made", **fields))
    example, problems = example_of(schema_of(function), judge_of(function))
    assert (example is None, problems) == (False, [])


@job("keyed", unique=Unique(by="user"))
async def keyed(ctx: Context, user: str | None = None, size: int = 1) -> None:
    """Be one job a user."""


def test_a_key_that_is_found_in_the_payload() -> None:
    app = application.of({"functions": (keyed,)})
    example, problems = example_for(app, app.functions["keyed"])
    assert (example, problems) == ({"size": 1}, [])


def handler(ctx: dict[str, Any], on: Callable[[], None], *, size: int = 2) -> None:
    """Have a type without a schema."""


def test_a_type_without_a_schema_takes_anything() -> None:
    function = job("handler")(handler).function
    assert schema_of(function)["properties"]["on"] == {}
    assert schema_of(function)["properties"]["size"] == {"type": "integer", "default": 2}
