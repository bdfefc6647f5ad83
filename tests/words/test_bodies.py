"""S48: forty bodies; each comes to the function equal to what was given, or is refused at once."""

from __future__ import annotations

import enum
import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, Json, SecretBytes, SecretStr, computed_field

from jobs.codec import MAX_BODY_BYTES, decode_body
from jobs.errors import JobsError
from jobs.registry import Function, functions
from jobs.requests import Preparer, Request
from jobs.signature import Signature


class Colour(enum.Enum):
    red = "r"


@dataclass
class Point:
    x: int
    y: float


class Inner(BaseModel):
    at: datetime
    price: Decimal


class Ratio(BaseModel):
    value: float


class Login(BaseModel):
    user: str
    password: SecretStr
    key: SecretBytes = SecretBytes(b"")


class Aliased(BaseModel):
    to: str = Field(serialization_alias="to_addr")


class Named(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    to: str = Field(alias="recipient")


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    a: int

    @computed_field  # type: ignore[prop-decorator]  # as pydantic's manual writes it
    @property
    def double(self) -> int:
        return 2 * self.a


class Parsed(BaseModel):
    document: Json[list[int]]


class Frozen(BaseModel):
    model_config = ConfigDict(ser_json_timedelta="float", ser_json_bytes="base64")
    wait: timedelta
    data: bytes


NOW = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
FULL = "x" * (MAX_BODY_BYTES - 100)


def deep(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


#: (annotation, value); a JSON value of an unannotated argument keeps its type, others need one.
BODIES: list[tuple[Any, Any]] = [
    (Any, 2**53),
    (Any, 2**53 + 1),
    (int, 2**63),
    (int, 2**64 + 1),
    (int, -(2**200)),
    (Any, 1_700_000_000_123_456),
    (float, 0.1 + 0.2),
    (float, 5e-324),
    (float, math.nan),
    (float, -math.inf),
    (Any, math.inf),
    (Any, []),
    (Any, {}),
    (list[int], []),
    (dict[str, int], {}),
    (Any, ""),
    (str, "a\0b"),
    (str, "emoji 🦄 and e\u0301"),
    (str, "\ud83d"),
    (str, "line\nbreak\u2028"),
    (dict[str, Any], {"\ud800": 1}),
    (Any, deep(180)),
    (Any, deep(1_000)),
    (str, FULL),
    (str, FULL + "x" * 200),
    (bytes, b"plain"),
    (bytes, b"\xff\x00"),
    (Decimal, Decimal("0.1000")),
    (Decimal, Decimal("1E+400")),
    (datetime, NOW),
    (datetime, datetime.max.replace(tzinfo=UTC)),
    (date, date(1, 1, 1)),
    (time, time(23, 59, 59, 999_999)),
    (timedelta, timedelta(days=-1, microseconds=1)),
    (uuid.UUID, uuid.UUID(int=2**127)),
    (tuple[int, str], (1, "a")),
    (set[int], {1, 2}),
    (Colour, Colour.red),
    (Literal["a", 1], 1),
    (Point, Point(1, 2.5)),
    (Inner, Inner(at=NOW, price=Decimal("9.90"))),
    (list[Inner], [Inner(at=NOW, price=Decimal(1))]),
    (Ratio, Ratio(value=math.nan)),
    (Ratio, Ratio(value=math.inf)),
    (Login, Login(user="ada", password=SecretStr("hush"), key=SecretBytes(b"k"))),
    (SecretStr, SecretStr("hush")),
    (dict[str, Login], {"a": Login(user="ada", password=SecretStr("hush"))}),
    (Aliased, Aliased(to="ada")),
    (Named, Named(to="ada")),
    (Strict, Strict(a=1)),
    (Parsed, Parsed.model_validate({"document": "[1, 2]"})),
    (Frozen, Frozen(wait=timedelta(milliseconds=1), data=b"\xff")),
    (IPv4Address, IPv4Address("127.0.0.1")),
    (PurePosixPath, PurePosixPath("/a/b")),
    (Annotated[int, Field(gt=0)], 1),
    (Annotated[int, Field(gt=0)], 0),
    (complex, 1j),
    (object, object()),
    (Callable[[], int], lambda: 1),
]


def same(left: Any, right: Any) -> bool:
    """Equal, where NaN equals NaN."""
    if isinstance(left, BaseModel):
        return type(left) is type(right) and all(
            same(getattr(left, name), getattr(right, name)) for name in type(left).model_fields
        )
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    return type(left) is type(right) and bool(left == right)


def taking(annotation: Any) -> Function:
    async def function(ctx: Any, value: Any) -> None: ...

    function.__annotations__["value"] = annotation
    return Function("takes", function, Signature.of("takes", function))


@pytest.mark.parametrize(
    ("annotation", "value"),
    BODIES,
    ids=[f"{n}-{type(v).__name__}" for n, (_, v) in enumerate(BODIES)],
)
def test_a_body_arrives_equal_or_is_refused_when_it_is_enqueued(
    annotation: Any, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = taking(annotation)
    monkeypatch.setitem(functions, "takes", function)
    try:
        prepared = Preparer().prepare(Request("takes", (value,)))
    except JobsError:
        return
    body = decode_body(prepared.entry.id, prepared.entry.body)
    args, kwargs = function.signature.arguments(body.args, body.kwargs)
    (arrived,) = [*args, *kwargs.values()]
    assert same(arrived, value), f"{value!r} became {arrived!r}"


#: Kinds of values that must pass: being refused is no way to be equal here.
PASSING = [2**53 + 1, [], {}, "a\0b", "🦄", 0.1 + 0.2, deep(150), Decimal("0.10"), NOW, b"plain"]


@pytest.mark.parametrize("value", PASSING, ids=lambda value: type(value).__name__)
def test_ordinary_values_are_not_refused(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(functions, "takes", taking(type(value)))
    Preparer().prepare(Request("takes", (value,)))


def test_there_are_at_least_forty_bodies() -> None:
    assert len(BODIES) >= 40
