"""Files of answers come from listed hosts only, never from an internal address."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from crocbot.fetch import Fetcher, FetchError, IpAddress, TooLongError, is_public
from tests.crocbot.fakes import Handler, serving

INTERNAL = [
    *("127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1"),
    *("192.168.1.1", "169.254.169.254", "100.64.0.1", "100.127.255.255"),
    *("192.0.0.8", "198.18.0.1", "224.0.0.1", "239.255.255.250", "240.0.0.1"),
    *("255.255.255.255", "192.0.2.1", "198.51.100.1", "203.0.113.1"),
    *("::", "::1", "fe80::1", "fc00::1", "fd12:3456::1", "ff02::1", "fec0::1"),
    *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1", "::127.0.0.1"),
    *("::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe"),
    *("64:ff9b:1::8.8.8.8", "2002:7f00:1::", "2002:a00:1::1", "2001::1"),
    *("2001:db8::1", "100::1", "fd00:ec2::254"),
]
PUBLIC = [
    *("8.8.8.8", "1.1.1.1", "149.154.167.220", "100.128.0.1", "172.32.0.1"),
    *("2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"),
]


@pytest.mark.parametrize("address", INTERNAL)
def test_internal_addresses(address: str) -> None:
    """Addresses of this machine, this network and the cloud's metadata are internal."""
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    """Addresses of hosts in the internet are not."""
    assert is_public(ip_address(address))


@given(number=st.integers(0, 2**32 - 1))
def test_addresses_within_others(number: int) -> None:
    """An IPv6 address that contains an internal IPv4 address is internal, too."""
    inner = IPv4Address(number)
    forms = [
        IPv6Address(0xFFFF << 32 | number),
        IPv6Address(0x64_FF9B << 96 | number),
        IPv6Address(0x2002 << 112 | number << 80),
    ]

    assert [is_public(form) for form in forms] == [is_public(inner)] * 3


def everything(_: IpAddress) -> bool:
    """Allow every address, so that a test can be its own host."""
    return True


async def fetch(url: str, hosts: Sequence[str] = (), **options: Any) -> bytes:
    """Fetch a file from a host of the test."""
    options.setdefault("allowed", everything)
    fetcher = Fetcher(hosts, **options)
    return (await fetcher.fetch(url, 1000)).content


def answering(content: bytes, **headers: str) -> Handler:
    """Return a handler with this body."""

    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=content, headers=headers)

    return handle


async def test_a_listed_host() -> None:
    """A file of a listed host is fetched, with the name in its address."""
    async with serving({"GET /a/{name}": answering(b"content")}) as place:
        fetcher = Fetcher([place], allowed=everything)
        file = await fetcher.fetch(f"http://{place}/a/b%20c.pdf?secret=1", 1000)

    assert (file.content, file.name) == (b"content", "b c.pdf")


@pytest.mark.parametrize(
    ("hosts", "is_listed"),
    [
        (["localhost:{port}"], True),
        (["LOCALHOST:{port}"], True),
        (["localhost"], False),
        (["*.localhost:{port}"], False),
        (["*"], False),
        (["calhost:{port}"], False),
        ([], False),
        (["example.org:{port}", "localhost:1"], False),
    ],
)
async def test_hosts(hosts: list[str], is_listed: bool) -> None:
    """Only the very host and port are listed."""
    async with serving({"GET /": answering(b"x")}) as place:
        port = place.rpartition(":")[2]
        listed = [host.format(port=port).lower() for host in hosts]
        if is_listed:
            assert await fetch(f"http://localhost:{port}/", listed) == b"x"
        else:
            with pytest.raises(FetchError, match="does not have the host localhost"):
                await fetch(f"http://localhost:{port}/", listed)


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "ftp://localhost/x", "gopher://localhost/", "//x/y"),
        *(
            "http://",
            "http:///x",
            "x",
            "",
            "http://user:pass@localhost/",
            "http://[::1",
        ),
        *("http://localhost:99999/", "data:text/plain,hi", "http://local host/"),
    ],
)
async def test_addresses_that_are_none(url: str) -> None:
    """What is no plain URL of the web is refused."""
    with pytest.raises(FetchError):
        await fetch(url, ["localhost", "x"])


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "[::1]", "0"]
)
async def test_internal_hosts(host: str) -> None:
    """A listed host is refused if it is this machine, however that is written."""
    fetched = []

    async def handle(request: web.Request) -> web.Response:
        fetched.append(request.path)
        return web.Response()

    async with serving({"GET /": handle}) as place:
        port = place.rpartition(":")[2]
        with pytest.raises(FetchError):
            await fetch(f"http://{host}:{port}/", [f"{host}:{port}"], allowed=is_public)
    assert fetched == []


async def test_one_internal_address_of_several(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All addresses of a host must be public."""
    loop = asyncio.get_running_loop()

    async def resolve(host: str, port: int, **_: Any) -> list[Any]:
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, ("8.8.8.8", port)), (*kind, ("10.0.0.1", port))]

    monkeypatch.setattr(loop, "getaddrinfo", resolve)
    with pytest.raises(FetchError, match="internal address"):
        await fetch(
            "http://files.example.org/x", ["files.example.org"], allowed=is_public
        )


async def test_a_name_is_resolved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection goes to the checked address, whatever the name means then."""
    loop = asyncio.get_running_loop()
    resolved = []

    async def resolve(host: str, port: int, **_: Any) -> list[Any]:
        resolved.append(host)
        address = "127.0.0.1" if len(resolved) == 1 else "127.0.0.2"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    async with serving({"GET /x": answering(b"checked")}) as place:
        port = place.rpartition(":")[2]
        monkeypatch.setattr(loop, "getaddrinfo", resolve)
        url = f"http://files.example.org:{port}/x"
        assert await fetch(url, [f"files.example.org:{port}"]) == b"checked"
    assert resolved == ["files.example.org"]


async def test_redirects() -> None:
    """A redirect is followed to listed hosts only, and not for ever."""
    async with serving({"GET /there": answering(b"there")}) as other:
        targets = {"far": f"http://{other}/there", "near": "/there", "loop": "/loop"}

        async def redirect(request: web.Request) -> web.Response:
            location = targets[request.path[1:]]
            return web.Response(status=302, headers={"Location": location})

        routes: dict[str, Handler] = {f"GET /{name}": redirect for name in targets}
        async with serving(routes | {"GET /there": answering(b"here")}) as place:
            assert await fetch(f"http://{place}/near", [place]) == b"here"
            assert await fetch(f"http://{place}/far", [place, other]) == b"there"
            for path in ("far", "loop"):
                with pytest.raises(FetchError):
                    await fetch(f"http://{place}/{path}", [place])


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b"x" * 1001, {}),
        # 1,000,000 bytes, compressed.
        (gzip.compress(bytes(10**6)), {"Content-Encoding": "gzip"}),
    ],
)
async def test_a_file_that_is_too_long(content: bytes, headers: dict[str, str]) -> None:
    """No more than the bound is read, also of a compressed body."""
    async with serving({"GET /": answering(content, **headers)}) as place:
        with pytest.raises(TooLongError):
            await fetch(f"http://{place}/", [place])


@pytest.mark.parametrize("status", [204, 206, 304, 401, 404, 500])
async def test_a_refusal(status: int) -> None:
    """Only a whole file with status 200 counts; the reason has no address."""

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=status)

    async with serving({"GET /secret": refuse}) as place:
        with pytest.raises(FetchError) as caught:
            await fetch(f"http://{place}/secret", [place])
    assert str(caught.value) == f"the server answered {status}"


async def test_a_slow_server() -> None:
    """A file that does not arrive in time is given up."""

    async def hang(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    async with serving({"GET /": hang}) as place:
        with pytest.raises(FetchError, match=r"within 0\.2 s"):
            await fetch(f"http://{place}/", [place], seconds=0.2)


async def test_no_server() -> None:
    """A host that cannot be reached is one reason, without its address."""
    with pytest.raises(FetchError, match="the request failed: ClientConnectorError"):
        await fetch("http://127.0.0.1:1/secret", ["127.0.0.1:1"])


async def test_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies of the environment are not used: they would resolve the name again."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with serving({"GET /": answering(b"direct")}) as place:
        assert await fetch(f"http://{place}/", [place]) == b"direct"
