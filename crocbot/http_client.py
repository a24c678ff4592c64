"""
Outgoing HTTP: the rules for every server that the gateway sends requests to.

    HttpClient.request() --> HttpResponse --> chunks(max_bytes)

- A redirect is never followed: it would take a token or a conversation elsewhere.
- Every body is read up to a number of bytes, an error's as well.  Compressed bodies are
  not requested; one that arrives is decoded in pieces, and the decoded bytes count.
- The proxy that the environment names is used: `proxies.py`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import (
    AsyncExitStack,
    aclosing,
    asynccontextmanager,
    contextmanager,
)
from typing import Any
from urllib.parse import quote

import aiohttp

from crocbot.errors import CrocbotError, OperatorError
from crocbot.proxies import NO_PROXIES, Proxies, Proxy

CLOSE_SECONDS = 1.0
KEEPALIVE_SECONDS = 50
MAX_CHUNK_BYTES = 8 * 1024
DECODED_CODINGS = frozenset({"gzip", "x-gzip", "deflate"})
MAX_REASON_CHARS = 200
SOCKS_MODULES = frozenset({"aiohttp_socks", "python_socks"})
# zlib detects the header of gzip and of deflate.
ANY_HEADER = zlib.MAX_WBITS | 32


class BodyError(CrocbotError):
    """The body of a response cannot be decoded."""


class BodyTooLongError(BodyError):
    """The body of a response has more bytes than the caller accepts."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"the answer has more than {max_bytes} bytes")


class ProxyFailedError(aiohttp.ClientConnectionError):
    """The proxy cannot be reached, or refused to connect to the server."""


class HttpResponse:
    """A response whose body has not been read."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        # aiohttp's name for a missing Content-Type is application/octet-stream.
        self.content_type = response.content_type

    async def chunks(self, max_bytes: int) -> AsyncGenerator[bytes, None]:
        """
        Yield the body as it arrives, in small chunks.  Raise BodyError if it is longer.

        Other tasks run between two chunks, also if the server sends faster than the
        caller reads.
        """
        count = 0
        async with aclosing(self._decoded()) as pieces:
            async for piece in pieces:
                count += len(piece)
                if count > max_bytes:
                    raise BodyTooLongError(max_bytes)
                for start in range(0, len(piece), MAX_CHUNK_BYTES):
                    yield piece[start : start + MAX_CHUNK_BYTES]
                    await asyncio.sleep(0)

    async def read(self, max_bytes: int) -> bytes:
        """Return the whole body.  Raise BodyError above `max_bytes`."""
        async with aclosing(self.chunks(max_bytes)) as chunks:
            return b"".join([chunk async for chunk in chunks])

    async def _decoded(self) -> AsyncGenerator[bytes, None]:
        coding = self.headers.get("Content-Encoding", "").strip().lower()
        if coding in {"", "identity"}:
            async for chunk in self._response.content.iter_any():
                yield chunk
            return
        if coding not in DECODED_CODINGS:
            raise BodyError(f"the answer has Content-Encoding {coding[:80]!r}")
        decoder = zlib.decompressobj(ANY_HEADER)
        try:
            async for chunk in self._response.content.iter_any():
                for piece in _pieces(decoder, chunk):
                    yield piece
        except zlib.error as error:
            raise BodyError(f"the answer is not {coding}") from error


class HttpClient:
    """
    Requests to one server; at most `connections` at a time, 0 for any number.

    With `reuse` a connection serves further requests.  Raise OperatorError if the
    proxy among `proxies` cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        connections: int,
        reuse: bool,
        headers: Mapping[str, str] | None = None,
        proxies: Proxies = NO_PROXIES,
    ) -> None:
        self.proxy = proxies.for_url(url)
        if self.proxy is not None and self.proxy.is_socks:
            _import_socks(self.proxy)
        self._connections = connections
        self._reuse = reuse
        self._headers = {"Accept-Encoding": "identity", **(headers or {})}
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        *,
        timeout: aiohttp.ClientTimeout,
        headers: Mapping[str, str] | None = None,
        data: Any = None,
    ) -> AsyncIterator[HttpResponse]:
        """Send a request; the first one opens the pool.  Raise aiohttp's errors."""
        if self._session is None:
            self._session = self._open()
        async with AsyncExitStack() as stack:
            request = self._session.request(
                method,
                url,
                headers=headers,
                data=data,
                timeout=timeout,
                allow_redirects=False,
                proxy=_proxy_url(self.proxy),
            )
            with _proxy_errors(self.proxy):
                response = await stack.enter_async_context(request)
            yield HttpResponse(response)

    async def reset(self) -> None:
        """Close all connections and forget resolved names."""
        if self._session is not None:
            old, self._session = self._session, None
            closing = asyncio.create_task(old.close())
            await asyncio.wait([closing], timeout=CLOSE_SECONDS)

    async def close(self) -> None:
        """Close the pool."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        keep: dict[str, Any] = {"keepalive_timeout": KEEPALIVE_SECONDS}
        options = keep if self._reuse else {"force_close": True}
        return aiohttp.ClientSession(
            connector=_connector(self.proxy, limit=self._connections, **options),
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )


def _connector(proxy: Proxy | None, **options: Any) -> aiohttp.TCPConnector:
    if proxy is None or not proxy.is_socks:
        # aiohttp tries IPv4 a quarter of a second after IPv6, so a host whose IPv6
        # address does not answer works at once.
        return aiohttp.TCPConnector(**options)
    socks = _import_socks(proxy)
    is_version_4 = proxy.scheme in {"socks4", "socks4a"}
    connector: aiohttp.TCPConnector = socks.ProxyConnector(
        proxy_type=socks.ProxyType.SOCKS4 if is_version_4 else socks.ProxyType.SOCKS5,
        host=proxy.host,
        port=proxy.port,
        username=proxy.user,
        password=proxy.password,
        rdns=proxy.remote_names,
        **options,
    )
    return connector


def _import_socks(proxy: Proxy) -> Any:
    try:
        import aiohttp_socks
    except ImportError as error:
        raise OperatorError(
            f"{proxy.variable} names a SOCKS proxy: it needs the extra"
            " \"socks\", pip install 'crocbot[socks]'"
        ) from error
    return aiohttp_socks


def _proxy_url(proxy: Proxy | None) -> str | None:
    """Return the URL of an HTTP proxy; a SOCKS proxy is part of the connector."""
    if proxy is None or proxy.is_socks:
        return None
    if proxy.user is None:
        return proxy.url
    login = f"{quote(proxy.user, safe='')}:{quote(proxy.password or '', safe='')}"
    return proxy.url.replace("://", f"://{login}@", 1)


@contextmanager
def _proxy_errors(proxy: Proxy | None) -> Iterator[None]:
    """Name the proxy in errors about it, also in those of the SOCKS library."""
    try:
        yield
    except aiohttp.ClientHttpProxyError as error:
        raise _failed(proxy, f"answered {error.status} {error.message}") from error
    except aiohttp.ClientProxyConnectionError as error:
        raise _failed(proxy, f"cannot be reached: {error.os_error}") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in SOCKS_MODULES:
            raise
        raise _failed(proxy, f"failed: {error}") from error


def _failed(proxy: Proxy | None, reason: str) -> ProxyFailedError:
    return ProxyFailedError(f"the proxy {proxy} {reason}"[:MAX_REASON_CHARS])


def _pieces(decoder: Any, chunk: bytes) -> Iterator[bytes]:
    """Decode a chunk in pieces of at most `MAX_CHUNK_BYTES`."""
    piece = b"-"
    # A full piece may leave decoded bytes in zlib although all input was read.
    while chunk or len(piece) == MAX_CHUNK_BYTES:
        piece = decoder.decompress(chunk, MAX_CHUNK_BYTES)
        chunk = decoder.unconsumed_tail
        if piece:
            yield piece
        if decoder.eof:
            return


def load_json(payload: bytes) -> Any:
    """
    Decode JSON; raise ValueError or RecursionError.

    Without garbage collection a million lists, which may be 4 MiB, take 0.3 s, not 1.8.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return json.loads(payload)
    finally:
        if was_enabled:
            gc.enable()
