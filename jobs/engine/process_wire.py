"""What a worker and its processes say to each other: frames, and errors that survive the way.

Both ends run the same code for the same user and nobody else can reach the socket between them,
so values travel pickled. Nothing of it ever comes from the server.
"""

from __future__ import annotations

import pickle
import struct
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, auto
from typing import Any

from jobs.errors import text_of

_HEADER = struct.Struct(">BQ")
_FRAMES_LIMIT = 50


class Kind(IntEnum):
    """What a frame holds."""

    #: To the process: its `Boot`; one call.
    boot = auto()
    call = auto()
    #: From the process: it can work; a log record; what the job tells; how the call ended.
    ready = auto()
    log = auto()
    progress = auto()
    line = auto()
    returned = auto()
    raised = auto()


@dataclass(frozen=True, slots=True)
class Boot:
    """What a new process must know.

    Args:
        functions: (module, qualified name) of each function by its registered name.
        main: how to find the script that is the worker's `__main__`: ("name", module) or
            ("path", file); `None` where there is none, as in an interactive session.
        argv: the worker's command line, in case a module looks at it.
        levels: the levels of the worker's loggers by name; "" is the root.
    """

    functions: dict[str, tuple[str, str]]
    main: tuple[str, str] | None
    argv: list[str]
    levels: dict[str, int]


#: The facts of an attempt that a process is told: arguments of `Context`.
FACTS = (
    "job_id", "queue", "function", "attempt", "attempts", "token", "worker", "enqueued_at",
    "tags",
    "schedule",
)  # fmt: skip


def frame(kind: Kind, payload: bytes = b"") -> bytes:
    """A frame as bytes."""
    return _HEADER.pack(kind, len(payload)) + payload


class Frames:
    """Makes whole frames of bytes as they come."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Kind, bytes]]:
        """The frames that these bytes complete."""
        held = self._held
        held += data
        while len(held) >= _HEADER.size:
            kind, size = _HEADER.unpack_from(held)
            end = _HEADER.size + size
            if len(held) < end:
                return
            payload = bytes(memoryview(held)[_HEADER.size : end])
            del held[:end]
            yield Kind(kind), payload


def dumps(value: Any) -> bytes:
    """`value` pickled."""
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def loads(data: bytes) -> Any:
    """What the other end pickled."""
    return pickle.loads(data)  # noqa: S301 -- written by our own process, see above


class ProcessTraceback(Exception):
    """Where in its process an error was raised, as text: the cause of the error that is raised
    in the worker, as `concurrent.futures` does it.
    """

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


@dataclass(frozen=True, slots=True)
class Parcel:
    """An error on its way.

    Args:
        whole: the error pickled; `None` if it would not come back the same.
        kind: the nearest class of it that can be found by name, pickled.
        state: those of its attributes that can be pickled.
        name, module: of its own class.
        text: its message.
        trace: the frames as text.
        cause: what a `Retry` was raised from, for that is what is reported then.
    """

    whole: bytes | None
    kind: bytes
    state: bytes
    name: str
    module: str
    text: str
    trace: str
    cause: Parcel | None


def pack(error: BaseException, *, skip: int = 0) -> Parcel:
    """An error made ready; `skip` frames of ours stay out of its traceback."""
    own = error.__traceback__
    for _ in range(skip):
        own = own and own.tb_next
    lines = traceback.format_exception(type(error), error, own, limit=-_FRAMES_LIMIT)
    whole = _dumped(error)
    return Parcel(
        whole if whole is not None and _same(whole, error) else None,
        next(data for cls in type(error).__mro__ if (data := _dumped(cls)) is not None),
        dumps({k: v for k, v in vars(error).items() if _survives(v)}),
        type(error).__name__,
        type(error).__module__,
        text_of(error),
        "".join(lines),
        pack(error.__cause__) if _is_retry(error) and error.__cause__ else None,
    )


def unpack(parcel: Parcel) -> BaseException:
    """The error in this process: the same one, or one of the nearest class with the same name,
    text and attributes.
    """
    error = _rebuilt(parcel)
    if parcel.cause is not None:
        error.__cause__ = unpack(parcel.cause)
    elif _is_retry(error):  # its cause would be reported in its place
        error.__context__ = ProcessTraceback(parcel.trace)
    else:
        error.__cause__ = ProcessTraceback(parcel.trace)
    return error


def _rebuilt(parcel: Parcel) -> BaseException:
    try:
        if parcel.whole is not None:
            whole: BaseException = loads(parcel.whole)
            return whole
        return _alike(parcel, loads(parcel.kind), loads(parcel.state))
    except Exception:  # noqa: BLE001 -- the author's classes may do anything while they are rebuilt
        return _alike(parcel, Exception, {})


def _alike(parcel: Parcel, base: type[BaseException], state: dict[str, Any]) -> BaseException:
    """An error of a class made for it: its base cannot be trusted to build itself or its text."""

    def init(_: BaseException) -> None:
        """The base's own may want arguments."""

    members = {
        "__module__": parcel.module,
        "__init__": init,
        "__str__": lambda _: parcel.text,
    }
    error: BaseException = type(parcel.name, (base,), members)()
    for name, value in state.items():
        setattr(error, name, value)
    return error


def _dumped(value: Any) -> bytes | None:
    try:
        return dumps(value)
    except Exception:  # noqa: BLE001 -- pickling runs the author's code
        return None


def _survives(value: Any) -> bool:
    data = _dumped(value)
    if data is None:
        return False
    try:
        loads(data)
    except Exception:  # noqa: BLE001 -- the same
        return False
    return True


def _same(data: bytes, error: BaseException) -> bool:
    """Whether a pickled error comes back as it was; many classes take other arguments."""
    try:
        copy = loads(data)
    except Exception:  # noqa: BLE001 -- the same
        return False
    return type(copy) is type(error) and text_of(copy) == text_of(error)


def _is_retry(error: BaseException) -> bool:
    """arq's `Retry`, told by its attribute: a process need not import arq for this."""
    return hasattr(error, "defer_score")
