"""The only module that imports httpx (and httpcore, its transport).

Two clients: `ApiClient` for an API we chose (OneSignal), `GuardedClient` for URLs that somebody
else chose (webhooks). Neither follows redirects.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping

import httpcore
import httpx

from jobs.catalog._addresses import Guard, Target
from jobs.catalog._replies import NoReply, Reply

# One silent address of several must not use up the whole deadline.
_CONNECT_S = 5.0
_FAILURES = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    OSError,
)


class ApiClient:
    """One pooled httpx client for the API at `base_url`; `timeout_s` is for a whole request."""

    def __init__(self, base_url: str, headers: Mapping[str, str], timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(
            base_url=base_url, headers=dict(headers), timeout=timeout_s, follow_redirects=False
        )

    async def post(self, path: str, body: bytes) -> Reply:
        """POST a JSON body.

        Raises:
            NoReply: no answer within the timeout, or no connection.
        """
        try:
            # httpx's timeout is per read; a server that drips would hold the job for ever.
            async with asyncio.timeout(self._timeout_s):
                response = await self._client.post(
                    path, content=body, headers={"content-type": "application/json"}
                )
        except (httpx.TimeoutException, TimeoutError) as error:
            raise NoReply(f"no answer within {self._timeout_s:g} s") from error
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise NoReply(f"no answer: {_cause(error)}") from error
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Reply(response.status_code, headers, response.content)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()


class _PinnedBackend(httpcore.AsyncNetworkBackend):
    """Dials addresses that the guard has judged, in order; there is no other way out.

    The pool still knows the connection by its name, so the Host header, TLS server name and
    certificate check are those of the name.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception = NoReply(f"the name {host!r} has no address")
        for address in await self._guard.addresses(host, port):
            try:
                return await self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


class GuardedClient:
    """POSTs to untrusted URLs: pinned addresses, no redirect, no proxy, no decompression.

    Args:
        guard: judges the addresses.
        deadline_s: limit of one request in all, from the look-up of the name to the last byte
            that is read; above 0.
        max_reply_bytes: no more than this is read of a body; the connection is then closed.
        ssl_context: for tests with their own authority; by default certifi's authorities.
    """

    def __init__(
        self,
        guard: Guard,
        *,
        deadline_s: float,
        max_reply_bytes: int,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._deadline_s = deadline_s
        self._max_reply_bytes = max_reply_bytes
        # No connection is kept: each request looks up, judges and dials anew.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context or httpx.create_ssl_context(),
            max_keepalive_connections=0,
            network_backend=_PinnedBackend(guard),
        )

    async def post(self, target: Target, headers: Mapping[str, str], body: bytes) -> Reply:
        """POST `body` and read the answer, as much of it as comes within the limits.

        An answer whose body drips past the deadline counts by its status, as truncated.

        Raises:
            NoReply: no status line and headers came by the deadline.
            UnsafeAddress: the guard refuses the host.
        """
        deadline = asyncio.get_running_loop().time() + self._deadline_s
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._pool.handle_async_request(_request(target, headers, body))
        except TimeoutError as error:
            raise NoReply(f"{target.origin}: no answer within {self._deadline_s:g} s") from error
        except _FAILURES as error:
            raise NoReply(f"{target.origin}: no answer: {_cause(error)}") from error
        try:
            content, truncated = await self._read(response, deadline)
        finally:
            await response.aclose()
        return Reply(response.status, _headers(response), content, truncated)

    async def _read(self, response: httpcore.Response, deadline: float) -> tuple[bytes, bool]:
        """The body up to the size limit, as sent on the wire: a gzip bomb stays small."""
        content = bytearray()
        try:
            async with asyncio.timeout_at(deadline):
                async for chunk in response.aiter_stream():
                    content += chunk
                    if len(content) > self._max_reply_bytes:
                        break
                else:
                    return bytes(content), False
        except (TimeoutError, *_FAILURES):
            pass  # the status, which decides, has already come
        return bytes(content[: self._max_reply_bytes]), True

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


def _request(target: Target, headers: Mapping[str, str], body: bytes) -> httpcore.Request:
    url = httpcore.URL(
        scheme=target.scheme.encode(),
        host=target.host.encode(),
        port=target.port,
        target=target.path.encode(),
    )
    own = {
        "host": target.authority,
        "content-length": str(len(body)),
        "accept-encoding": "identity",
    }
    fields = [(name.encode(), value.encode()) for name, value in (own | dict(headers)).items()]
    limits = {"timeout": {"connect": _CONNECT_S}}
    return httpcore.Request("POST", url, headers=fields, content=body, extensions=limits)


def _headers(response: httpcore.Response) -> dict[str, str]:
    return {
        name.decode("latin-1").lower(): text.decode("latin-1") for name, text in response.headers
    }


def _cause(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
