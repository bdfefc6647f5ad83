"""Frames and errors on their way between a worker and its processes, and the declaration."""

from __future__ import annotations

import functools
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import Context, Fail, Retry, Snooze, job, registry
from jobs.engine.process_wire import Frames, Kind, ProcessTraceback, dumps, frame, pack, unpack
from jobs.errors import InvalidOption, NotInProcess, ProcessDied
from tests.helpers.cpu import Changed, Wordy, compute

# -- frames --------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.sampled_from(Kind), st.binary(max_size=300)), max_size=8),
    st.integers(1, 40),
)
def test_frames_come_out_as_they_went_in_however_they_are_cut(
    sent: list[tuple[Kind, bytes]], step: int
) -> None:
    stream = b"".join(frame(kind, payload) for kind, payload in sent)
    frames, come = Frames(), []
    for at in range(0, len(stream), step):
        come += list(frames.feed(stream[at : at + step]))
    assert come == sent


def test_strange_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="not a valid Kind"):
        list(Frames().feed(b"\xff" + bytes(8)))


# -- errors --------------------------------------------------------------------------------


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001 -- errors of every kind
        return caught


def sent(error: BaseException) -> BaseException:
    return unpack(pickle.loads(dumps(pack(raised(error)))))


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a", 1),
        KeyError("key"),
        FileNotFoundError(2, "gone", "/x"),
        SystemExit(3),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        Fail("for good"),
        Snooze(5),
        Snooze("5m", "not yet"),
        Wordy(3, wait=1),
        Changed("text"),
        NotInProcess("redis"),
        ProcessDied("it died"),
    ],
)
def test_an_error_keeps_class_and_text(error: BaseException) -> None:
    back = sent(error)
    assert isinstance(back, type(error))
    assert (type(back).__name__, str(back)) == (type(error).__name__, str(error))
    assert isinstance(back.__cause__, ProcessTraceback)
    assert "raise error" in str(back.__cause__)


def test_attributes_come_along_where_they_can() -> None:
    back = sent(Snooze("5m", "not yet"))
    assert isinstance(back, Snooze)
    assert back.delay == "5m"
    wordy = sent(Wordy(3, wait=1))
    assert isinstance(wordy, Wordy)
    assert (wordy.number, wordy.wait) == (3, 1)


def test_a_retry_is_reported_as_its_cause_or_as_itself() -> None:
    back = sent(Retry(defer=2))
    assert isinstance(back, Retry)
    assert (back.defer_score, back.__cause__) == (2000, None)
    assert isinstance(back.__context__, ProcessTraceback)
    retry = Retry(defer=2)
    retry.__cause__ = raised(Wordy(3, wait=1))
    cause = sent(retry).__cause__
    assert isinstance(cause, Wordy)
    assert str(cause) == "number 3 is busy"


def test_an_error_of_a_class_that_nobody_can_find_is_one_of_its_base() -> None:
    class Local(LookupError):
        pass

    back = sent(Local("here"))
    assert type(back) is not Local
    assert (type(back).__name__, str(back)) == ("Local", "here")
    assert isinstance(back, LookupError)


def test_an_error_whose_text_cannot_be_made_has_a_sentence() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert str(sent(Mute())) == "the text of this Mute cannot be made"


def test_an_error_that_cannot_be_rebuilt_in_any_way_keeps_its_name_and_text() -> None:
    class Sealed(Exception):
        def __new__(cls, *_: object) -> Any:
            if getattr(cls, "closed", False):
                raise RuntimeError("no more")
            return super().__new__(cls)

    globals()["Sealed"] = Sealed
    Sealed.__qualname__ = "Sealed"
    parcel = pack(raised(Sealed("text")))
    Sealed.closed = True  # type: ignore[attr-defined]
    try:
        back = unpack(parcel)
    finally:
        del globals()["Sealed"]
    assert (type(back).__name__, str(back)) == ("Sealed", "text")


# -- the declaration -----------------------------------------------------------------------


def test_a_plain_function_runs_where_it_asks_to() -> None:
    @job("here")
    def here(ctx: Context) -> None: ...

    @job("thread", executor="thread")
    def thread(ctx: Context) -> None: ...

    assert [f.function.in_process for f in (here, thread, compute)] == [False, False, True]
    assert compute.function.executor == "process"


@pytest.mark.parametrize(
    ("given", "hint"), [("proces", " (did you mean 'process'?)"), ("gpu", ""), (7, ""), (True, "")]
)
def test_another_executor_is_refused(given: Any, hint: str) -> None:
    with pytest.raises(InvalidOption) as caught:

        @job("x", executor=given)
        def plain(ctx: Context) -> None: ...

    assert str(caught.value) == f'`executor` is "thread" or "process", not {given!r}{hint}'
    assert "x" not in registry.functions


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_an_async_function_has_no_executor(executor: Any) -> None:
    with pytest.raises(InvalidOption) as caught:

        @job("x", executor=executor)
        async def send(ctx: Context) -> None: ...

    assert str(caught.value).startswith("`send` is an `async def`, which runs in the event loop")


class Thing:
    """Has a method."""

    def method(self, ctx: Context) -> None: ...


def local(ctx: Context) -> None: ...


def test_what_a_process_cannot_import_is_refused() -> None:
    def inner(ctx: Context) -> None: ...

    @functools.wraps(inner)
    def wrapped(ctx: Context) -> None: ...

    for call in (inner, wrapped, lambda _: None, Thing().method):
        with pytest.raises(InvalidOption, match="another process cannot import `") as caught:
            job("x", executor="process")(call)
        assert "a `def` at the top level of a module" in str(caught.value)
    assert job("x", executor="process")(local).function.in_process


async def test_a_direct_call_runs_here() -> None:
    assert await compute(Context(), "ok", 5) == 5
