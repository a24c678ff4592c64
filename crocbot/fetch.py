"""
Files that an answer names by address: fetched from listed hosts only, never internal.

    https://files.example.org/a.pdf
      '-- in CROCBOT_FETCH_HOSTS? --> resolve once --> all addresses public?
                                                         '-- connect to these addresses

- The name is resolved once, and the connection goes to the addresses that were checked:
  a server that changes its answer meanwhile changes nothing.
- A redirect is followed, at most `MAX_REDIRECTS` times, by the same rules.
- Only https on port 443 and http on port 80, unless the entry of the host has a port.
- Bytes and time are bounded.  No proxy is used, because a proxy resolves names itself.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from crocbot.errors import CrocbotError
from crocbot.http_client import BodyError, BodyTooLongError, HttpResponse

MAX_REDIRECTS = 3
FETCH_SECONDS = 30.0
CONNECT_SECONDS = 10.0
DEFAULT_PORTS: Mapping[str, int] = {"http": 80, "https": 443}
# Networks that are not for hosts of the internet, besides those that Python names.
INTERNAL_NETWORKS = tuple(
    ip_network(network)
    for network in (
        *("100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15"),
        *("240.0.0.0/4", "fec0::/10", "2001::/23", "100::/64", "5f00::/16"),
        "64:ff9b:1::/48",
    )
)
# Networks of IPv6 addresses that contain an IPv4 address, and its last bit.
MAPPED_NETWORKS: Sequence[tuple[IPv6Network, int]] = (
    (IPv6Network("::ffff:0:0/96"), 0),
    (IPv6Network("::ffff:0:0:0/96"), 0),
    (IPv6Network("::/96"), 0),
    (IPv6Network("64:ff9b::/96"), 0),
    (IPv6Network("2002::/16"), 80),
)

IpAddress = IPv4Address | IPv6Address


class FetchError(CrocbotError):
    """A file cannot be fetched; the text says why, without the address."""


class TooLongError(FetchError):
    """A file has more bytes than the caller accepts."""


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """The content of a file, and the last part of its address."""

    content: bytes = field(repr=False)
    name: str


def is_public(address: IpAddress) -> bool:
    """Return whether an address is one of the internet, not of this network."""
    if isinstance(address, IPv6Address):
        for network, shift in MAPPED_NETWORKS:
            if address in network:
                return is_public(IPv4Address(int(address) >> shift & 0xFFFF_FFFF))
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not any(address in network for network in INTERNAL_NETWORKS)
    )


@dataclass(frozen=True, slots=True)
class Target:
    """The host and port of a URL, and the addresses that were checked."""

    host: str
    port: int
    addresses: tuple[IpAddress, ...]


class Fetcher:
    """
    Fetches files from `hosts`, each a name or `name:port`; `*.name` is all below it.

    `allowed` returns whether an address may be connected to.
    """

    def __init__(
        self,
        hosts: Sequence[str],
        *,
        seconds: float = FETCH_SECONDS,
        allowed: Callable[[IpAddress], bool] = is_public,
    ) -> None:
        self._hosts = tuple(host.lower() for host in hosts)
        self._seconds = seconds
        self._allowed = allowed

    async def fetch(
        self, url: str, max_bytes: int, max_seconds: float = FETCH_SECONDS
    ) -> FetchedFile:
        """Return a file of at most `max_bytes`, in time.  Raise FetchError."""
        seconds = min(self._seconds, max_seconds)
        try:
            async with asyncio.timeout(seconds):
                return await self._fetch(url, max_bytes)
        except TimeoutError:
            raise FetchError(f"no whole file within {seconds:g} s") from None
        except BodyTooLongError as error:
            raise TooLongError(str(error)) from error
        except BodyError as error:
            raise FetchError(str(error)) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Its text may have the address.
            raise FetchError(f"the request failed: {type(error).__name__}") from error

    async def _fetch(self, text: str, max_bytes: int) -> FetchedFile:
        # Parsed once, by the parser that aiohttp uses: another one may find another
        # host in the same text.
        url = URL(text)
        for _ in range(1 + MAX_REDIRECTS):
            target = await self._check(url)
            connector = aiohttp.TCPConnector(
                resolver=_Pinned(target), use_dns_cache=False, force_close=True
            )
            async with (
                aiohttp.ClientSession(
                    connector=connector,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    headers={"Accept-Encoding": "identity"},
                    auto_decompress=False,
                    trust_env=False,
                ) as session,
                session.get(
                    url,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS),
                ) as response,
            ):
                if response.status == 200:
                    content = await HttpResponse(response).read(max_bytes)
                    return FetchedFile(content, url.name)
                location = response.headers.get("Location")
                if not 300 <= response.status < 400 or location is None:
                    raise FetchError(f"the server answered {response.status}")
                url = url.join(URL(location))
        raise FetchError(f"more than {MAX_REDIRECTS} redirects")

    async def _check(self, url: URL) -> Target:
        """Return where to connect to.  Raise FetchError if that is not allowed."""
        host, port = (url.raw_host or "").rstrip(".").lower(), url.port
        default = DEFAULT_PORTS.get(url.scheme)
        if default is None or port is None or not host or url.user or url.password:
            raise FetchError("the address is not a plain https:// or http:// URL")
        if not any(_matches(entry, host, port, default) for entry in self._hosts):
            raise FetchError(f"CROCBOT_FETCH_HOSTS does not have the host {host[:100]}")
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )
        addresses = tuple(
            dict.fromkeys(
                ip_address(str(entry[4][0]).partition("%")[0]) for entry in found
            )
        )
        if not addresses or not all(map(self._allowed, addresses)):
            # All of them: which one is used would be up to chance otherwise.
            raise FetchError("the host has an internal address")
        return Target(host, port, addresses)


class _Pinned(AbstractResolver):
    """Resolves one host to the addresses that were checked, and nothing else."""

    def __init__(self, target: Target) -> None:
        self._target = target

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002
    ) -> list[ResolveResult]:
        """Return the checked addresses."""
        if host.rstrip(".").lower() != self._target.host:
            raise OSError("another host than the one that was checked")
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._target.addresses
        ]

    async def close(self) -> None:
        """Do nothing: there is nothing to release."""


def _matches(entry: str, host: str, port: int, default: int) -> bool:
    """Return whether an entry of CROCBOT_FETCH_HOSTS allows a host and a port."""
    name, _, wanted = entry.rpartition(":") if _has_port(entry) else (entry, "", "")
    if port != (int(wanted) if wanted else default):
        return False
    name = name.strip("[]")
    if name.startswith("*."):
        return host.endswith(name[1:])
    return host == name


def _has_port(entry: str) -> bool:
    head, colon, tail = entry.rpartition(":")
    return bool(colon) and tail.isdigit() and (":" not in head or head.endswith("]"))
