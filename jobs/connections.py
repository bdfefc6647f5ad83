"""Connections to the server: settings, and what each kind of error means."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, fields
from enum import Enum, auto
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import arq.connections
import redis
import redis.asyncio
from redis import exceptions as redis_errors

from jobs.errors import (
    ConfigurationError,
    JobsError,
    ServerAway,
    ServerError,
    ServerRefused,
    did_you_mean,
)

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A", bound="Addressed")

#: Seconds without any answer after which a connection is given up (arq-B4: arq waits for ever).
SOCKET_TIMEOUT_S = 5.0

_TRUE = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


@dataclass(repr=False)
class RedisSettings(arq.connections.RedisSettings):
    """arq's settings of a connection, with two additions and two repairs (arq-E6, arq-E10).

    Args:
        socket_timeout: seconds without an answer after which a connection is given up.
        sentinel_kwargs: arguments for the connections to the sentinels (password, TLS).
    """

    ssl_check_hostname: bool = True
    socket_timeout: float = SOCKET_TIMEOUT_S
    sentinel_kwargs: dict[str, Any] | None = None

    @classmethod
    def from_dsn(cls, dsn: str) -> RedisSettings:
        """Settings from `redis://user:password@host:port/db?option=value`.

        `rediss://` is TLS, `unix:///path?db=1` a socket; user and password are percent-decoded;
        options are the fields of this class.

        Raises:
            ConfigurationError: another scheme, an unknown option, or a number that is none.
        """
        parts = urlsplit(dsn)
        if parts.scheme not in {"redis", "rediss", "unix"}:
            raise ConfigurationError(
                "the address of the server begins with redis://, rediss:// or unix://, "
                f"not with {parts.scheme or dsn[:10]!r}"
            )
        options = dict(parse_qsl(parts.query))
        try:
            database = int(options.pop("db", "") or _path_database(parts.scheme, parts.path))
            port = parts.port or 6379
        except ValueError as error:
            raise ConfigurationError(f"the address of the server is malformed: {error}") from None
        return cls(
            host=parts.hostname or "localhost",
            port=port,
            ssl=parts.scheme == "rediss",
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            database=database,
            unix_socket_path=parts.path if parts.scheme == "unix" else None,
            **{name: _option(name, value) for name, value in options.items()},
        )

    def address(self) -> str:
        """Where the server is, for people; without the password."""
        if self.unix_socket_path:
            return self.unix_socket_path
        if isinstance(self.host, str):
            return f"{self.host}:{self.port}"
        return ", ".join(f"{host}:{port}" for host, port in self.host)

    def __repr__(self) -> str:
        hidden = {"password", "ssl_ca_data", "sentinel_kwargs"}
        shown = ", ".join(
            f"{field.name}={'***' if field.name in hidden else getattr(self, field.name)!r}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        )
        return f"RedisSettings({shown})"


def connection_options(settings: arq.connections.RedisSettings) -> dict[str, Any]:
    """The settings as arguments of a redis-py client, asynchronous or blocking.

    redis-py's own retries stay off: which call may be repeated is decided here, not by it.
    """
    options: dict[str, Any] = {
        "db": settings.database,
        "username": settings.username,
        "password": settings.password,
        "socket_connect_timeout": settings.conn_timeout,
        "socket_timeout": getattr(settings, "socket_timeout", SOCKET_TIMEOUT_S),
        "retry": settings.retry,
        "retry_on_timeout": settings.retry_on_timeout,
        "retry_on_error": settings.retry_on_error,
        "ssl": settings.ssl,
    }
    if settings.ssl:
        names = ("keyfile", "certfile", "cert_reqs", "ca_certs", "ca_data", "check_hostname")
        options |= {f"ssl_{name}": getattr(settings, f"ssl_{name}") for name in names}
    if settings.unix_socket_path:
        return options | {"unix_socket_path": settings.unix_socket_path}
    return (
        options if settings.sentinel else options | {"host": settings.host, "port": settings.port}
    )


def waiting_pool(client: redis.asyncio.Redis, most: int) -> redis.asyncio.BlockingConnectionPool:
    """A pool of at most `most` connections like those of `client`, whose callers take turns."""
    pool = client.connection_pool
    return redis.asyncio.BlockingConnectionPool(
        max_connections=most,
        timeout=int(SOCKET_TIMEOUT_S),
        connection_class=pool.connection_class,
        **pool.connection_kwargs,
    )


def blocking_client(
    client: redis.asyncio.Redis, settings: arq.connections.RedisSettings | None
) -> redis.Redis:
    """A blocking client for the server of `client`, for threads."""
    if settings is not None and settings.sentinel:
        sentinel = redis.Sentinel(  # type: ignore[no-untyped-call]  # redis-py has no types here
            settings.host,
            sentinel_kwargs=getattr(settings, "sentinel_kwargs", None),
            **connection_options(settings),
        )
        primary = sentinel.master_for(settings.sentinel_master)  # type: ignore[no-untyped-call]
        return cast("redis.Redis", primary)
    if settings is not None:
        return redis.Redis(**connection_options(settings))
    given = client.connection_pool.connection_kwargs
    names = ("host", "port", "db", "username", "password", "socket_connect_timeout")
    options = {name: given[name] for name in names if name in given}
    if "path" in given:
        options["unix_socket_path"] = given["path"]
    if client.connection_pool.connection_class is redis.asyncio.SSLConnection:
        options |= {"ssl": True} | {k: v for k, v in given.items() if k.startswith("ssl_")}
    return redis.Redis(**options, socket_timeout=SOCKET_TIMEOUT_S)


class Trouble(Enum):
    """What an error of the server asks for."""

    reconnect = auto()  #: the server is away or changing; try again for ever
    pressure = auto()  #: it is full or read-only; producers are told, workers wait
    fatal = auto()  #: it will not get better by itself: wrong password, forbidden, corrupt


_RECONNECT_WORDS = (
    "LOADING",
    "MASTERDOWN",
    "READONLY",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "BUSY",
    "UNBLOCKED",
)
_PRESSURE_WORDS = ("OOM", "MISCONF", "NOREPLICAS")


def trouble(error: BaseException) -> Trouble | None:
    """The kind of trouble that `error` is; `None` if it is not the server's.

    The classes are those of FAULTS rule 20. redis-py 5.3.1 can raise AttributeError from a
    connection that closes while it is written to.
    """
    if isinstance(error, JobsError):  # some are TimeoutErrors too, and none is redis-py's
        return None
    if isinstance(error, redis_errors.AuthenticationError | redis_errors.AuthorizationError):
        return Trouble.fatal
    if isinstance(error, redis_errors.OutOfMemoryError):
        return Trouble.pressure
    if isinstance(error, redis_errors.ResponseError):
        return _response_trouble(str(error))
    if isinstance(
        error,
        redis_errors.ConnectionError | redis_errors.TimeoutError | OSError | asyncio.TimeoutError,
    ):
        return Trouble.reconnect
    if isinstance(error, AttributeError) and "writelines" in str(error):
        return Trouble.reconnect
    return Trouble.fatal if isinstance(error, redis_errors.RedisError) else None


def as_server_error(error: BaseException, address: str) -> ServerError:
    """`error` of redis-py as a sentence for users."""
    if isinstance(error, redis_errors.ReadOnlyError) or "read only replica" in str(error):
        return ServerRefused(
            f"the server at {address} is a read-only replica: point REDIS_URL at its primary"
        )
    match trouble(error):
        case Trouble.pressure:
            return ServerRefused(
                f"the server at {address} takes no more data ({error}): free memory, raise "
                "maxmemory, or let the workers catch up"
            )
        case Trouble.fatal:
            return ServerRefused(
                f"the server at {address} refuses: {error}; check the password and rights of "
                "the user in REDIS_URL"
            )
        case _:
            return ServerAway(
                f"no server answers at {address} ({error}): is it running, and is REDIS_URL right?"
            )


class Addressed(Protocol):
    """Something that knows which server it asks."""

    @property
    def address(self) -> str:
        """Where the server is, for people."""


def asks_server(
    method: Callable[Concatenate[A, P], Awaitable[R]],
) -> Callable[Concatenate[A, P], Coroutine[Any, Any, R]]:
    """Decorates a method: errors of redis-py come out as `ServerError`."""

    @wraps(method)
    async def asking(self: A, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await method(self, *args, **kwargs)
        except Exception as error:
            if trouble(error) is None:
                raise
            raise as_server_error(error, self.address) from error

    return asking


def never_sent(error: BaseException) -> bool:
    """Whether the command did not leave this process: it never got a connection."""
    words = ("connecting to", "no connection available", "too many connections")
    return isinstance(error, ConnectionRefusedError) or any(
        word in str(error).lower() for word in words
    )


def _response_trouble(message: str) -> Trouble:
    head = message.lstrip("-").split(" ", 1)[0].rstrip(":")
    if head in _RECONNECT_WORDS or "read only replica" in message or "is busy" in message.lower():
        return Trouble.reconnect
    if head in _PRESSURE_WORDS or "OOM" in message or "MISCONF" in message:
        return Trouble.pressure
    return Trouble.fatal


def _path_database(scheme: str, path: str) -> int:
    return int(path.strip("/")) if scheme != "unix" and path.strip("/") else 0


def _option(name: str, text: str) -> Any:
    known = {field.name: field for field in fields(RedisSettings)}
    if name not in known:
        raise ConfigurationError(
            f"the address of the server has no option {name!r}{did_you_mean(name, known)}"
        )
    default = known[name].default
    if isinstance(default, bool):
        if text.lower() not in _TRUE:
            raise ConfigurationError(f"the option {name!r} is true or false, not {text!r}")
        return _TRUE[text.lower()]
    return type(default)(text) if isinstance(default, int | float) else text
