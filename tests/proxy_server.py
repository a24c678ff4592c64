"""Proxies on this machine that speak HTTP and SOCKS, for tests of several modules."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.servers import stream_server


class ProxyServer:
    """
    A proxy on this machine, whatever it is asked to connect to.

    `requests` are the targets, with the user who asked; with `refuse` it connects to
    none of them.
    """

    def __init__(self, target: str, *, refuse: bool = False) -> None:
        host, _, port = target.rpartition(":")
        self._target = host.removeprefix("http://"), int(port)
        self._refuse = refuse
        self.requests: list[tuple[str, str]] = []

    async def serve_socks(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Speak SOCKS 4, 4a or 5."""
        version = (await reader.readexactly(1))[0]
        target, user = await (_socks5 if version == 5 else _socks4)(reader, writer)
        self.requests.append((target, user))
        refused = b"\x05\x05\x00\x01" if version == 5 else b"\x00\x5b"
        granted = b"\x05\x00\x00\x01" if version == 5 else b"\x00\x5a"
        writer.write((refused if self._refuse else granted) + bytes(6))
        if not self._refuse:
            await self._pass_on(reader, writer)
        writer.close()

    async def serve_http(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Pass on one plain request as HTTP proxies do."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, url, version = head.split("\r\n", 1)[0].split(" ")
        user = head.partition("Proxy-Authorization: Basic ")[2].split("\r\n")[0]
        self.requests.append((url.split("/")[2], base64.b64decode(user).decode()))
        if self._refuse:
            writer.write(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            return
        path = "/" + url.split("/", 3)[3]
        rest = head.partition("\r\n")[2]
        await self._pass_on(reader, writer, f"{method} {path} {version}\r\n{rest}")

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        head: str = "",
    ) -> None:
        there, back = await asyncio.open_connection(*self._target)
        try:
            back.write(head.encode())
            await asyncio.gather(_pump(reader, back), _pump(there, writer))
        finally:
            back.close()


async def _socks5(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> tuple[str, str]:
    methods = await reader.readexactly((await reader.readexactly(1))[0])
    user = ""
    writer.write(b"\x05\x02" if 2 in methods else b"\x05\x00")
    if 2 in methods:
        await reader.readexactly(1)
        parts = [
            (await reader.readexactly((await reader.readexactly(1))[0])).decode()
            for _ in range(2)
        ]
        user = ":".join(parts)
        writer.write(b"\x01\x00")
    *_, kind = await reader.readexactly(4)
    if kind == 3:
        name = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
    else:
        family, size = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
        name = socket.inet_ntop(family, await reader.readexactly(size))
    port = int.from_bytes(await reader.readexactly(2), "big")
    return f"{name}:{port}", user


async def _socks4(
    reader: asyncio.StreamReader, _: asyncio.StreamWriter
) -> tuple[str, str]:
    await reader.readexactly(1)
    port = int.from_bytes(await reader.readexactly(2), "big")
    address = await reader.readexactly(4)
    user = (await reader.readuntil(b"\0"))[:-1].decode()
    name = socket.inet_ntop(socket.AF_INET, address)
    if name.startswith("0.0.0."):
        name = (await reader.readuntil(b"\0"))[:-1].decode()
    return f"{name}:{port}", user


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
    writer.close()


@asynccontextmanager
async def proxy_at(
    scheme: str, target: str, *, refuse: bool = False, user: str = ""
) -> AsyncIterator[tuple[ProxyServer, str]]:
    """Run a proxy that connects to `target`; yield it and its URL."""
    proxy = ProxyServer(target, refuse=refuse)
    is_socks = scheme.startswith("socks")
    serve = proxy.serve_socks if is_socks else proxy.serve_http
    async with stream_server(serve) as port:
        yield proxy, f"{scheme}://{user}{'@' if user else ''}127.0.0.1:{port}"
