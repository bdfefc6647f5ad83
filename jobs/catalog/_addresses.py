"""Which addresses a webhook may be sent to: the defence against server-side request forgery.

Customers choose webhook URLs, so a URL is an attack until proved otherwise. It is parsed once,
strictly; the name is resolved once; every address that comes back is judged; and the connection
is made to the judged address itself, never to the name again (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from jobs import Fail
from jobs.catalog._replies import NoReply

_LONGEST_NAME = 253  # RFC 1035, in characters
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]

_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\.?")
_NUMERIC_END = re.compile(r"(\d+|0x[0-9a-f]*)\.?")
_PORTS = {"http": 80, "https": 443}
_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")
# From IANA's special-purpose registries, spelled out: the tables of `ipaddress` change with the
# version of Python (3.11.7 takes 192.0.0.192, Oracle's metadata service, for global).
_REFUSED = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier NAT; Alibaba's metadata service
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # the host agent of Azure's virtual machines
        "169.254.0.0/16",  # link-local; most clouds' metadata service
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata service
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "2001::/23",  # protocol assignments, Teredo among them: an IPv4 address inside
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address inside
        "3fff::/20",  # documentation
    )
)


class UnsafeAddress(Fail):
    """The URL must not be called: its form, its name or its address is refused. Permanent."""


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed URL. `path` includes the query; `host` is lower case, without brackets."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def origin(self) -> str:
        """Scheme, host and port: what logs and errors may show, since paths hold tokens."""
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """The value of the `Host` header: no port where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def parse_target(url: str, *, allow_http: bool = False) -> Target:
    """Take a webhook URL apart, refusing every form that two parsers could read differently.

    Args:
        url: an absolute URL in printable ASCII (an international name in its `xn--` form).
        allow_http: take plain `http` too; by default only `https`.

    Raises:
        UnsafeAddress: not such a URL; user information; a host written as a number
            (`2130706433`, `0x7f.1`, `0177.0.0.1`) other than a plain dotted quad.
    """
    if not url.isascii() or not url.isprintable() or re.search(r'[\s\\<>"^`{|}]', url):
        raise UnsafeAddress(
            "a webhook URL is printable ASCII without spaces, backslashes or quotes; "
            "percent-encode its path and write an international name in its xn-- form"
        )
    parts, port = _split(url)
    if parts.scheme not in (("http", "https") if allow_http else ("https",)):
        wanted = "https or http" if allow_http else "https (`allow_http` permits http)"
        raise UnsafeAddress(f"a webhook URL begins with {wanted}, not {parts.scheme[:20]!r}")
    if "@" in parts.netloc:
        raise UnsafeAddress("a webhook URL has no user name or password (`user:pass@`)")
    query = f"?{parts.query}" if parts.query else ""
    port = _PORTS[parts.scheme] if port is None else port
    return Target(parts.scheme, _host(parts), port, (parts.path or "/") + query)


def _split(url: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UnsafeAddress(f"the webhook URL cannot be read: {error}") from None
    if port == 0:
        raise UnsafeAddress("a webhook URL has a port from 1 to 65535, not 0")
    return parts, port


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    if ":" in host:
        return _bracketed(host)
    if not _NAME.fullmatch(host) or len(host) > _LONGEST_NAME:
        raise UnsafeAddress("a webhook URL names a host, such as https://hooks.example.com/…")
    if _NUMERIC_END.fullmatch(host.rstrip(".").rpartition(".")[2]):
        return _dotted_quad(host)
    return host


def _bracketed(host: str) -> str:
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        raise UnsafeAddress("the IPv6 address in the webhook URL cannot be read") from None
    if address.scope_id is not None:
        raise UnsafeAddress("a webhook URL has no IPv6 zone (`%eth0`)")
    return str(address)


def _dotted_quad(host: str) -> str:
    try:
        return str(ipaddress.IPv4Address(host))
    except ValueError:
        raise UnsafeAddress(
            f"a webhook host in numbers is a plain dotted quad such as 203.0.113.7, not {host!r}"
        ) from None


def refusal(address: IPAddress) -> str | None:
    """Why this address is not on the public internet, or `None` when it is.

    Only 2000::/3 of IPv6 is public: that alone keeps out loopback, link-local, unique local,
    IPv4-mapped (::ffff:0:0/96), IPv4-compatible and NAT64 (64:ff9b::/96) forms.
    """
    kinds = ("loopback", "link_local", "unspecified", "multicast", "reserved", "private")
    for kind in kinds:
        if getattr(address, f"is_{kind}"):
            return kind.replace("_", "-")
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_IPV6:
        return "not public"
    if not address.is_global or any(address in network for network in _REFUSED):
        return "not public"
    return None


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of `host`, by the system's resolver, in its order."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Guard:
    """Turns a host into the addresses that may be dialled.

    Args:
        allow_private: take any address at all; for tests and development.
        allowed_networks: networks that are taken although they are not public, such as the one
            that your own services live in. Default none.
        resolver: `(host, port) -> addresses`; by default the system's.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        allowed_networks: Sequence[IPNetwork] = (),
        resolver: Resolver = resolve,
    ) -> None:
        self._allow_private = allow_private
        self._allowed_networks = tuple(allowed_networks)
        self._resolver = resolver

    async def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of `host`, each judged; one bad address refuses the whole name.

        Raises:
            UnsafeAddress: an address is not public and not allowed.
            NoReply: the name does not resolve.
        """
        found = [self._judged(host, text) for text in await self._look_up(host, port)]
        if not found:
            raise NoReply(f"the name {host!r} has no address")
        return found

    async def _look_up(self, host: str, port: int) -> Sequence[str]:
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            pass
        try:
            return await self._resolver(host, port)
        except (OSError, UnicodeError) as error:
            raise NoReply(f"the name {host!r} does not resolve: {error}") from error

    def _judged(self, host: str, text: str) -> str:
        address = ipaddress.ip_address(text)
        reason = None if self._allow_private else refusal(address)
        if reason and not any(address in network for network in self._allowed_networks):
            raise UnsafeAddress(
                f"webhooks go to public addresses only, and {host!r} is at {text} ({reason}); "
                "`allowed_networks` of the webhook settings can permit it"
            )
        return str(address)
