"""The guard of webhooks: which URLs and addresses are refused, and that nothing private is reached."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import ip_address
from uuid import UUID

import httpcore2
import pytest

from workers.settings import get_settings
from workers.webhooks import guard
from workers.webhooks.guard import AddressRules, GuardedBackend, RefusedTarget, Resolver, parse_networks, read_url

PRIVATE = parse_networks("127.0.0.0/8, 10.1.0.0/16, fd12::/16, 64:ff9b::/96")

PUBLIC = ("93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:93.184.216.34")
NEVER = (
    *("169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    *("fd00:ec2::254", "fd20:ce::254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "::a9fe:a9fe"),
    *("::ffff:0:a9fe:a9fe", "2606:2800::5efe:a9fe:a9fe", "2606:2800::200:5efe:a9fe:a9fe", "fe80::1%lo"),
)
NOT_PUBLIC = (
    *("127.0.0.1", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "192.0.2.1", "198.18.0.1"),
    *("224.0.0.1", "240.0.0.1", "255.255.255.255", "192.88.99.1", "192.0.0.9", "::", "::1", "::7f00:1", "fc00::1"),
    *("::ffff:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::1", "2001:0:1::1", "fec0::1", "ff02::1"),
    *("3fff::1", "5f00::1", "2001:db8::1", "100::1"),
    *("::ffff:0:7f00:1", "::ffff:0:5db8:d822", "2606:2800::5efe:7f00:1", "2606:2800::5efe:a00:1", "4000::1", "::1%lo"),
)


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nowhere/none")
    monkeypatch.setenv("REDIS_URL", "redis://nowhere")
    forget()


def forget() -> None:
    get_settings.cache_clear()
    guard.private_networks.cache_clear()


def test_public_addresses_are_reached_and_no_others() -> None:
    rules = AddressRules(())
    assert [one for one in PUBLIC if not rules.allow(ip_address(one))] == []
    assert [one for one in (*NOT_PUBLIC, *NEVER) if rules.allow(ip_address(one))] == []


def test_no_setting_opens_metadata_and_link_local_addresses() -> None:
    rules = AddressRules(parse_networks("0.0.0.0/0,::/0"))
    assert [one for one in NEVER if rules.allow(ip_address(one))] == []
    assert [one for one in (*PUBLIC, *NOT_PUBLIC) if not rules.allow(ip_address(one))] == []


def test_a_private_network_is_reached_once_it_is_named() -> None:
    rules = AddressRules(PRIVATE)
    reached = ("127.0.0.1", "10.1.2.3", "fd12::1", "::ffff:10.1.2.3", "64:ff9b::5db8:d822")
    assert [one for one in reached if not rules.allow(ip_address(one))] == []
    assert not rules.allow(ip_address("10.2.0.1"))
    assert not AddressRules(PRIVATE, private_only=True).allow(ip_address(PUBLIC[0]))


def test_one_private_address_among_public_ones_refuses_them_all() -> None:
    found = [ip_address(PUBLIC[0]), ip_address("127.0.0.1")]
    for addresses in (found, found[::-1], []):
        with pytest.raises(RefusedTarget, match="address_refused"):
            AddressRules(()).choose(addresses)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://portail.example/hook", "https_required"),
        ("ftp://portail.example/hook", "https_required"),
        ("https://portail.example:8080/hook", "port_refused"),
        ("https://user:secret@portail.example/", "bad_url"),
        ("https:///hook", "bad_url"),
        ("portail.example", "bad_url"),
        ("https://portail.example/\r\nX: 1", "bad_url"),
        ("https://portail.example/#part", "bad_url"),
        ("https://portail.example/" + "a" * 2_000, "bad_url"),
        ("https://[::1", "bad_url"),
        ("https://portail.example:99999/", "bad_url"),
        ("https://①②⑦.⓪.⓪.①/hook", "bad_url"),
    ],
)
def test_a_url_that_no_endpoint_may_have_is_refused(url: str, reason: str) -> None:
    with pytest.raises(RefusedTarget, match=reason):
        read_url(url)


def test_http_and_other_ports_lead_into_named_networks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_PRIVATE_NETWORKS", "127.0.0.0/8")
    forget()
    assert guard.is_private_only(read_url("http://127.0.0.1:9/hook"))
    assert guard.is_private_only(read_url("https://127.0.0.1:9443/hook"))
    assert not guard.is_private_only(read_url("https://portail.example:8443/hook"))


class Listener:
    """A server on 127.0.0.1 that counts the connections it gets."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Listener"]:
        server = await asyncio.start_server(self._count, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    async def _count(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.close()


async def tried(host: str, rules: AddressRules) -> tuple[str, int]:
    """Connects to a host; returns how that ended, and how many connections came to this machine."""
    async with Listener().listening() as listener:
        try:
            resolve = partial(Resolver().addresses, UUID(int=1))
            stream = await GuardedBackend(rules, resolve).connect_tcp(host, listener.port, timeout=5)
        except (RefusedTarget, httpcore2.ConnectError) as refused:
            return type(refused).__name__, listener.connections
        await stream.read(1)
        await stream.aclose()
        return "connected", listener.connections


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "::ffff:127.0.0.1", "0", "::1"),
        *("①②⑦.⓪.⓪.①", "LOCALHOST", "127.1"),
    ],
)
def test_no_way_to_write_this_machine_reaches_it(host: str) -> None:
    assert asyncio.run(tried(host, AddressRules(()))) == ("RefusedTarget", 0)


def answers(*addresses: list[str]) -> Callable[[str, int], list[guard.Address]]:
    """Returns a resolver that gives each of these answers in turn."""
    waiting = list(addresses)
    return lambda host, port: [ip_address(one) for one in waiting.pop(0)]


def test_a_name_that_changes_to_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "look_up", answers(["127.0.0.2"], ["127.0.0.1"], ["127.0.0.2", "127.0.0.1"]))
    rules = AddressRules(parse_networks("127.0.0.2/32"))  # the others stand for what is private
    ended = [asyncio.run(tried("portail.example", rules)) for _ in range(3)]
    assert ended == [("ConnectError", 0), ("RefusedTarget", 0), ("RefusedTarget", 0)]


def test_a_named_network_is_connected_to_by_its_checked_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "look_up", answers(["127.0.0.2", "127.0.0.1"]))  # only the second one listens
    rules = AddressRules(parse_networks("127.0.0.0/8"), private_only=True)
    assert asyncio.run(tried("portail.example", rules)) == ("connected", 1)


def test_a_name_without_an_address_is_a_failed_connection() -> None:
    assert asyncio.run(tried("nothing.invalid", AddressRules(()))) == ("ConnectError", 0)
