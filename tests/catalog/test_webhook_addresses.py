"""Server-side request forgery (X14): hostile URLs never reach a listener inside."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpcore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import Context, Fail
from jobs.catalog._addresses import Guard, UnsafeAddress, parse_target, refusal
from jobs.catalog.webhook import (
    DeliveryFailed,
    NoReply,
    WebhookDelivery,
    WebhookSender,
    WebhookSettings,
    deliver_webhook,
)
from tests.helpers.http import HttpServer, reply

SECRETS = {"default": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]}
PUBLIC, LOOPBACK = "93.184.216.34", "127.0.0.1"
NAMES = {
    "loop.example": [LOOPBACK],
    "mixed.example": [PUBLIC, LOOPBACK],
    "ten.example": ["10.0.0.5"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "nat64.example": ["64:ff9b::7f00:1"],
    "scoped.example": ["fe80::1%1"],
    "metadata.example": ["169.254.169.254"],
}

# {p} is the port of the listener inside.
HOSTILE = [
    "http://127.0.0.1:{p}/",
    "http://127.255.255.254:{p}/",
    "http://127.1:{p}/",
    "http://127.0.0.1.:{p}/",
    "http://127.0.0.01:{p}/",
    "http://0:{p}/",
    "http://0.0.0.0:{p}/",
    "http://2130706433:{p}/",
    "http://0x7f000001:{p}/",
    "http://0x7f.0.0.1:{p}/",
    "http://0x7F.1:{p}/",
    "http://017700000001:{p}/",
    "http://0177.0.0.1:{p}/",
    "http://127.0.0.0x1:{p}/",
    "http://localhost:{p}/",
    "http://LOCALHOST.:{p}/",
    "http://[::1]:{p}/",
    "http://[::]:{p}/",
    "http://[::ffff:127.0.0.1]:{p}/",
    "http://[::ffff:7f00:1]:{p}/",
    "http://[::127.0.0.1]:{p}/",
    "http://[::ffff:169.254.169.254]/latest/meta-data/",
    "http://[64:ff9b::127.0.0.1]:{p}/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[64:ff9b:1::7f00:1]:{p}/",
    "http://[2002:7f00:1::]:{p}/",
    "http://[2001:0:7f00:1::]:{p}/",
    "http://[fe80::1]:{p}/",
    "http://[fe80::1%25lo]:{p}/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://[ff02::1]:{p}/",
    "http://[127.0.0.1]:{p}/",
    "http://10.0.0.1:{p}/",
    "http://172.16.0.1:{p}/",
    "http://192.168.0.1:{p}/",
    "http://169.254.169.254/latest/meta-data/",
    "http://100.100.100.200/latest/meta-data/",
    "http://168.63.129.16/machine",
    "http://192.0.0.192/opc/v1/",
    "http://198.18.0.1/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://user:pass@127.0.0.1:{p}/",
    "https://example.com@127.0.0.1:{p}/",
    "https://127.0.0.1:{p}@example.com/",
    "http://127.0.0.1:{p}\\@example.com/",
    "http://example.com\\@127.0.0.1:{p}/",
    "http://127.0.0.1:6379/\r\nFLUSHALL\r\n",
    "http://127.0.0.1:6379/%0d%0aFLUSHALL%0d%0a",
    "http://127.0.0.1%0d%0a:{p}/",
    "http://127.0.0.1%00.example.com:{p}/",
    "http://%31%32%37.0.0.1:{p}/",
    " http://127.0.0.1:{p}/",
    "ht\ttp://127.0.0.1:{p}/",
    "http://①②⑦.⓪.⓪.①:{p}/",
    "http://127。0。0。1:{p}/",
    "http://ⓛocalhost:{p}/",
    "http:127.0.0.1:{p}/",
    "http:///127.0.0.1:{p}/",
    "//127.0.0.1:{p}/",
    "http://-x-:{p}/",
    "http://example.com:0/",
    "http://example.com:65536/",
    "http://example.com:8a/",
    "http://[::1/",
    "http://" + "a" * 64 + ".example/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{p}/_FLUSHALL",
    "ftp://127.0.0.1:{p}/",
    "dict://127.0.0.1:{p}/info",
    "jar:http://127.0.0.1:{p}/!/",
    "unix:///var/run/docker.sock",
    *(f"http://{name}:{{p}}/" for name in NAMES),
]


async def names(host: str, port: int) -> Sequence[str]:
    if found := NAMES.get(host):
        return found
    assert host in {"localhost", "localhost."}, f"{host} should not have been looked up"
    return [LOOPBACK, "::1"]


@pytest.fixture(autouse=True)
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that are dialled; none outside this machine gets a packet."""
    dialled: list[str] = []
    dial = httpcore.AnyIOBackend.connect_tcp

    async def note(self: httpcore.AnyIOBackend, host: str, *rest: Any, **more: Any) -> Any:
        dialled.append(host)
        if not ipaddress.ip_address(host).is_loopback:
            raise httpcore.ConnectError("this test does not leave the machine")
        return await dial(self, host, *rest, **more)

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", note)
    return dialled


@pytest.fixture
async def inside() -> AsyncIterator[HttpServer]:
    """The listener that nobody may reach."""
    async with HttpServer() as server:
        yield server


@pytest.fixture
async def senders() -> AsyncIterator[Any]:
    made: list[WebhookSender] = []

    def make(resolver: Any = names, **settings: Any) -> WebhookSender:
        values = {"secrets": SECRETS, "allow_http": True, "deadline_s": 10} | settings
        made.append(WebhookSender(WebhookSettings.model_validate(values), resolver=resolver))
        return made[-1]

    yield make
    for sender in made:
        await sender.aclose()


async def deliver(sender: WebhookSender, url: str) -> Any:
    ctx = Context({"webhooks": sender}, job_id="j", queue="webhook", function="webhook", attempts=9)
    return await deliver_webhook(ctx, WebhookDelivery(url=url, type="a.b"))


@pytest.mark.parametrize("url", HOSTILE)
async def test_a_hostile_url_is_refused_for_good(
    inside: HttpServer, senders: Any, dialled: list[str], url: str
) -> None:
    with pytest.raises(UnsafeAddress) as caught:
        await deliver(senders(), url.replace("{p}", str(inside.port)))
    assert isinstance(caught.value, Fail)
    assert len(str(caught.value).split()) > 5
    assert (dialled, inside.connections) == ([], 0)


def test_there_are_enough_hostile_urls() -> None:
    assert len(set(HOSTILE)) == len(HOSTILE) >= 40


async def test_the_system_resolver_is_judged_too(inside: HttpServer, senders: Any) -> None:
    sender = WebhookSender(WebhookSettings.model_validate({"secrets": SECRETS, "allow_http": True}))
    try:
        with pytest.raises(UnsafeAddress, match="loopback"):
            await deliver(sender, f"http://localhost:{inside.port}/")
    finally:
        await sender.aclose()
    assert inside.connections == 0


async def test_dns_rebinding_finds_no_second_look_up(
    inside: HttpServer, senders: Any, dialled: list[str]
) -> None:
    """Public when judged, loopback at every later question: what was judged is what is dialled."""
    answers, asked = [[PUBLIC], [LOOPBACK]], []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return answers.pop(0) if len(answers) > 1 else answers[0]

    sender, url = senders(rebinding), f"http://rebind.example:{inside.port}/"
    with pytest.raises(NoReply):
        await deliver(sender, url)
    assert (asked, dialled) == (["rebind.example"], [PUBLIC])
    with pytest.raises(UnsafeAddress):
        await deliver(sender, url)
    assert dialled == [PUBLIC]
    assert inside.connections == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_to_the_inside_is_not_followed(
    inside: HttpServer, senders: Any, status: int
) -> None:
    async with HttpServer(reply(status, b"", {"location": inside.url})) as outside:
        with pytest.raises(DeliveryFailed, match="redirects are not followed"):
            await deliver(senders(allow_private=True), f"{outside.url}/hook")
    assert inside.connections == 0


async def test_proxies_of_the_environment_are_not_asked(
    inside: HttpServer, senders: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, inside.url)
    async with HttpServer() as outside:
        await deliver(senders(allow_private=True), f"{outside.url}/hook")
    assert inside.connections == 0


async def test_every_dial_is_to_the_pinned_address_under_the_name(senders: Any) -> None:
    async def resolver(host: str, port: int) -> Sequence[str]:
        return [LOOPBACK]

    async with HttpServer() as server:
        sender = senders(resolver, allowed_networks=["127.0.0.0/8"])
        await deliver(sender, f"http://Hooks.Example:{server.port}/in?a=1")
    assert server.requests[0].headers["host"] == f"hooks.example:{server.port}"
    assert server.requests[0].target == "/in?a=1"


async def test_allowed_networks_permit_no_more_than_they_say(
    inside: HttpServer, senders: Any
) -> None:
    sender = senders(allowed_networks=["10.0.0.0/8"])
    with pytest.raises(UnsafeAddress):
        await deliver(sender, inside.url)
    guard = Guard(allowed_networks=[ipaddress.ip_network("10.0.0.0/8")], resolver=names)
    assert await guard.addresses("ten.example", 443) == ["10.0.0.5"]
    assert inside.connections == 0


async def test_the_next_address_is_tried_when_one_does_not_answer(senders: Any) -> None:
    async def resolver(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.2", LOOPBACK]  # nobody listens on the first

    async with HttpServer() as server:
        await deliver(senders(resolver, allow_private=True), f"http://two.example:{server.port}/")
        assert server.connections == 1


@pytest.mark.parametrize(
    "error", [socket.gaierror(-2, "unknown"), UnicodeError("label"), OSError()]
)
async def test_a_name_that_does_not_resolve_is_tried_again(senders: Any, error: Exception) -> None:
    async def resolver(host: str, port: int) -> Sequence[str]:
        raise error

    with pytest.raises(NoReply, match="does not resolve"):
        await deliver(senders(resolver), "https://gone.example/")


async def test_a_name_without_addresses_is_tried_again(senders: Any) -> None:
    async def resolver(host: str, port: int) -> Sequence[str]:
        return []

    with pytest.raises(NoReply, match="no address"):
        await deliver(senders(resolver), "https://gone.example/")


async def test_plain_http_needs_permission(senders: Any) -> None:
    with pytest.raises(UnsafeAddress, match="allow_http"):
        await deliver(senders(allow_http=False, allow_private=True), "http://hooks.example/")


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("https://hooks.example.com", "https://hooks.example.com", "/"),
        ("HTTPS://Hooks.Example.com:443/T/x?y=1#z", "https://hooks.example.com", "/T/x?y=1"),
        ("https://a_b.example:8443/%20", "https://a_b.example:8443", "/%20"),
        ("https://xn--bcher-kva.example?q", "https://xn--bcher-kva.example", "/?q"),
        ("https://[2606:4700::1111]:8443/x", "https://[2606:4700::1111]:8443", "/x"),
        ("https://1.1.1.1/", "https://1.1.1.1", "/"),
        ("https://4chan.example.1x/", "https://4chan.example.1x", "/"),
    ],
)
def test_good_urls_are_taken_apart(url: str, origin: str, path: str) -> None:
    target = parse_target(url)
    assert (target.origin, target.path) == (origin, path)


@pytest.mark.parametrize("text", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "2a00:1450::1"])
def test_public_addresses_are_not_refused(text: str) -> None:
    assert refusal(ipaddress.ip_address(text)) is None


@given(st.ip_addresses())
def test_what_is_not_refused_is_global(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if refusal(address) is None:
        assert address.is_global
        assert not any((address.is_private, address.is_multicast, address.is_loopback))
        assert getattr(address, "ipv4_mapped", None) is None


@given(st.text(max_size=60).map("https://".__add__) | st.text(max_size=60))
def test_any_text_is_a_target_or_refused(url: str) -> None:
    try:
        target = parse_target(url)
    except UnsafeAddress:
        return
    assert target.scheme == "https"
    assert target.host.isascii()
    assert "\r" not in target.path
