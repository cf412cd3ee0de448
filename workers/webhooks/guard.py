"""Keeps webhooks away from our own network: a portal chooses the URL, and our sender must not be its way in (SSRF).

A name is resolved at each connection, and every address it resolves to is judged. The connection is opened to an
address that was judged, and not to the name, so that a second answer of the DNS cannot lead elsewhere (DNS rebinding).
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final, NamedTuple
from uuid import UUID

import httpcore2
import httpx2

from models.webhook_url import WEBHOOK_PORTS, WrongUrl
from workers.portals.webhook_urls import read_webhook_url
from workers.settings import get_settings
from workers.webhooks.streams import AsyncioStream

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[list[Address]]]
Network = IPv4Network | IPv6Network

CONNECT_SECONDS: Final = 5.0
"""Seconds to connect to one of several addresses, before the next is tried."""

MOST_ADDRESSES: Final = 3
LOOK_UPS: Final = 64
"""Threads that resolve names."""

LOOK_UPS_OF_PORTAL: Final = 2
"""The most of these that one portal has at a time: where its DNS server hangs, its own endpoints alone wait."""


def _networks(*listed: str) -> tuple[Network, ...]:
    return tuple(ip_network(one) for one in listed)


NEVER: Final = _networks(
    "169.254.0.0/16",  # link-local: the metadata of most clouds
    "fe80::/10",
    "100.100.100.200/32",  # metadata of Alibaba Cloud
    "168.63.129.16/32",  # the host agent of Azure
    "192.0.0.192/32",  # metadata of Oracle Cloud
    "fd00:ec2::/32",  # metadata of AWS
    "fd20:ce::254/128",  # metadata of Google Cloud
)
"""Networks that no setting opens, because a metadata service hands out the keys of the machine that asks it."""

NOT_PUBLIC: Final = _networks(
    "192.0.0.0/24",  # IETF protocol assignments
    "192.88.99.0/24",  # 6to4 relays
    "224.0.0.0/4",  # multicast
    "::/96",  # an IPv4 address inside, of old
    "64:ff9b::/96",  # NAT64: any IPv4 address inside
    "64:ff9b:1::/48",
    "100::/64",  # discarded
    "2001::/23",  # Teredo and other assignments
    "2002::/16",  # 6to4: any IPv4 address inside
    "3fff::/20",  # documentation
    "5f00::/16",  # segment routing
    "fec0::/10",  # site-local
    "ff00::/8",  # multicast
)
"""Networks that are not public, though `ipaddress.is_global` of Python 3.11 takes addresses in them for public."""


UNICAST: Final = _networks("0.0.0.0/0", "2000::/3")
"""Networks outside which no address is public: of IPv6 nothing else is given out."""

EMBEDDING: Final = _networks("::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48")
"""Networks of IPv6 in which the last 32 bits are an IPv4 address, which a gateway may connect to."""


ISATAP: Final = (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe")
"""The bytes before an IPv4 address in the last half of an IPv6 address, which a tunnel would connect to."""


class RefusedTarget(Exception):
    """A URL or an address that webhooks are not sent to.

    Parameters:
      reason: a word for it: `bad_url`, `https_required`, `port_refused` or `address_refused`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def parse_networks(listed: str) -> tuple[Network, ...]:
    """Reads networks with commas between, as ``WEBHOOK_PRIVATE_NETWORKS`` lists them.

    Raises: ValueError when one is no network.
    """
    return tuple(ip_network(one.strip()) for one in listed.split(",") if one.strip())


@lru_cache(maxsize=1)
def private_networks() -> tuple[Network, ...]:
    """Returns the networks that may be reached although they are not public."""
    return parse_networks(get_settings().webhook_private_networks)


class AddressRules(NamedTuple):
    """The rules of one connection.

    Parameters:
      private: networks that may be reached although they are not public.
      private_only: the URL is one that only these may have: it has no TLS, or an unusual port.
    """

    private: Sequence[Network]
    private_only: bool = False

    def allow(self, address: Address) -> bool:
        """Tells whether a webhook may be sent to this address."""
        if any(_within(inner, NEVER) for inner in _with_embedded(address)):
            return False
        plain = _plain(address)
        if _within(plain, self.private):
            return True
        return not self.private_only and all(map(_is_public, _with_embedded(address)))

    def choose(self, found: Iterable[Address]) -> list[Address]:
        """Returns the addresses to connect to, which are all that were found.

        Raises: RefusedTarget when one of them is not allowed, or there is none.
        """
        addresses = list(dict.fromkeys(found))
        if not addresses or not all(self.allow(address) for address in addresses):
            raise RefusedTarget("address_refused")
        return addresses


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _is_public(address: Address) -> bool:
    return address.is_global and _within(address, UNICAST) and not _within(address, NOT_PUBLIC)


def _plain(address: Address) -> Address:
    """Returns the IPv4 address of a mapped one (``::ffff:127.0.0.1``), to which the system would connect."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _with_embedded(address: Address) -> Iterator[Address]:
    """Yields the address, and each IPv4 address that a gateway might take out of it: mapped, NAT64, 6to4, Teredo."""
    plain = _plain(address)
    yield plain
    if isinstance(plain, IPv6Address):
        if _within(plain, EMBEDDING) or plain.packed[8:12] in ISATAP:
            yield IPv4Address(address.packed[-4:])
        yield from [inner for inner in (plain.sixtofour, *(plain.teredo or ())) if inner]


def read_url(url: str) -> httpx2.URL:
    """Reads the URL of an endpoint, and refuses what no endpoint may have; it resolves nothing.

    Raises: RefusedTarget with the reason.
    """
    parsed = read_webhook_url(url, private=bool(private_networks()))
    if isinstance(parsed, WrongUrl):
        raise RefusedTarget(parsed)
    return parsed


def is_private_only(url: httpx2.URL) -> bool:
    """Tells whether this URL may lead into ``WEBHOOK_PRIVATE_NETWORKS`` alone."""
    return url.scheme != "https" or (url.port or 443) not in WEBHOOK_PORTS


def look_up(host: str, port: int) -> list[Address]:
    """Resolves a name as the system does, or reads an address in any of the forms that the system reads.

    Raises: OSError when the name has no address.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [ip_address(str(place[4][0])) for place in found]


class Resolver:
    """Resolves the names of a process in threads, of which each portal has a few.

    A system call that resolves cannot be ended, so a look-up goes on when its caller has given up, and keeps its
    thread. A caller that asks for the same name meanwhile waits for the same look-up and takes no further thread.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOK_UPS, thread_name_prefix="resolver")
        self._places: dict[UUID, asyncio.Semaphore] = {}
        self._under_way: dict[tuple[UUID, str, int], asyncio.Task[list[Address]]] = {}

    async def addresses(self, portal_id: UUID, host: str, port: int) -> list[Address]:
        """Resolves a name for a portal.

        Raises: OSError or UnicodeError when the name has no address.
        """
        asked = portal_id, host, port
        under_way = self._under_way.get(asked)
        if under_way is None:
            under_way = self._under_way[asked] = asyncio.create_task(self._look_up(portal_id, host, port))
            under_way.add_done_callback(lambda ended: self._forget(asked, ended))
        return await asyncio.shield(under_way)

    async def _look_up(self, portal_id: UUID, host: str, port: int) -> list[Address]:
        async with self._places.setdefault(portal_id, asyncio.Semaphore(LOOK_UPS_OF_PORTAL)):
            return await asyncio.get_running_loop().run_in_executor(self._threads, look_up, host, port)

    def _forget(self, asked: tuple[UUID, str, int], ended: "asyncio.Task[list[Address]]") -> None:
        del self._under_way[asked]
        if not ended.cancelled():
            ended.exception()  # all who asked may have given up

    def close(self) -> None:
        """Waits for no look-up that is under way."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Opens the connections of an endpoint, to addresses that were judged and to no others.

    Parameters:
      rules: tells which addresses are allowed.
      resolve: finds the addresses of a name.
    """

    def __init__(self, rules: AddressRules, resolve: Resolve) -> None:
        self._rules = rules
        self._resolving = resolve

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface of httpcore2
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> httpcore2.AsyncNetworkStream:
        """Resolves the host, judges each of its addresses, and connects to the first that answers.

        Raises: RefusedTarget; httpcore2.ConnectError or ConnectTimeout when none can be reached.
        """
        addresses = self._rules.choose(await self._resolve(host, port))[:MOST_ADDRESSES]
        longest = CONNECT_SECONDS if timeout is None else min(timeout, CONNECT_SECONDS)
        for address in addresses[:-1]:
            try:
                return await AsyncioStream.connect(str(address), port, longest)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await AsyncioStream.connect(str(addresses[-1]), port, longest)

    async def _resolve(self, host: str, port: int) -> list[Address]:
        try:
            return await self._resolving(host, port)
        except (OSError, UnicodeError) as unknown:
            raise httpcore2.ConnectError(f"the name has no address ({type(unknown).__name__})") from unknown

    async def sleep(self, seconds: float) -> None:
        """Waits between two tries to connect."""
        await asyncio.sleep(seconds)
