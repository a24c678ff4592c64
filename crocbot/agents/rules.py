"""
The rules for every agent: redirects, bytes, secrets, time.

| redirects | never followed: another host would get the conversation        |
| bytes     | of one answer at most `MAX_BODY_BYTES`; of a stream of events   |
|           | `MAX_STREAM_BYTES`, and `MAX_EVENT_BYTES` of each event; more   |
|           | only for files, of one answer at a time; of an error only the   |
|           | first `MAX_ERROR_BYTES` are read                                |
| secrets   | replaced in the text, also one that is split between parts      |
| time      | `connect_seconds`, then the timeouts of AnswerReader            |

`http`, `openai` and transcriptions send their requests through AgentClient, `command`
passes its output through `bounded`; the text of every agent passes AnswerReader, which
bounds its characters, too.
"""

from __future__ import annotations

import asyncio
import io
import re
import ssl
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Iterator,
    Mapping,
)
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass

import aiohttp

from crocbot.agents.responses import without_secrets
from crocbot.errors import AgentError
from crocbot.http_client import (
    BodyError,
    BodyTooLongError,
    HttpClient,
    HttpResponse,
    ProxyFailedError,
)
from crocbot.proxies import NO_PROXIES, Proxies
from crocbot.turn_outcomes import AgentErrorReason

MAX_BODY_BYTES = 1024 * 1024
MAX_STREAM_BYTES = 64 * 1024 * 1024
MAX_EVENT_BYTES = 1024 * 1024
MAX_ERROR_BYTES = 64 * 1024
ERROR_SECONDS = 5.0
EVENT_STREAM = "text/event-stream"
UNREACHABLE = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    ProxyFailedError,
)
# They are of a wrong URL or certificate.
WRONG_ADDRESS = (
    aiohttp.ClientConnectorSSLError,
    aiohttp.ClientConnectorCertificateError,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
)
MAX_BEGINNING_BYTES = 200
# In the beginning of an event: its data is JSON.
OBJECT = re.compile(rb"data:\s*[\[{]")
# Two line ends in a row, whichever they are, contain one of these.
EMPTY_LINES = (b"\n\n", b"\n\r", b"\r\r")


@dataclass(frozen=True, slots=True)
class Server:
    """How errors name a server, and the setting that has its URL."""

    name: str
    setting: str


AGENT = Server("the agent", "OPENAI_BASE_URL or CROCBOT_AGENT_URL")


class AgentResponse:
    """An agent's response to one request; its body is read once."""

    def __init__(
        self, response: HttpResponse, *, retry: bool, server: Server = AGENT
    ) -> None:
        self._response = response
        self._retry = retry
        self._server = server
        self.status = response.status
        self.headers = response.headers
        self.content_type = response.content_type

    async def chunks(self, more_bytes: int = 0) -> AsyncGenerator[bytes, None]:
        """
        Yield the body as it arrives, of an error only the beginning.

        It may have `more_bytes` than a text has, for files.
        """
        if self.status != 200:
            body = _beginning(self._response.chunks(MAX_ERROR_BYTES))
        elif self.content_type == EVENT_STREAM:
            body = _bounded_events(
                self._response.chunks(MAX_STREAM_BYTES + more_bytes), more_bytes
            )
        else:
            body = self._response.chunks(MAX_BODY_BYTES + more_bytes)
        with _translated_errors(self._server, retry=self._retry):
            async with aclosing(body):
                async for chunk in body:
                    yield chunk

    async def read(self) -> bytes:
        """Return the body, of an error only the beginning."""
        async with aclosing(self.chunks()) as chunks:
            return b"".join([chunk async for chunk in chunks])


class AgentClient:
    """
    Requests to the server of one agent.

    `url` is the address of the server, `retry` whether a request whose connection broke
    can be sent again without doing anything twice; `server` is for errors.
    """

    def __init__(
        self,
        url: str,
        connect_seconds: float,
        *,
        retry: bool,
        reuse: bool,
        proxies: Proxies = NO_PROXIES,
        server: Server = AGENT,
    ) -> None:
        self._server = server
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds)
        self._retry = retry
        self._http = HttpClient(url, connections=0, reuse=reuse, proxies=proxies)

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
    ) -> AsyncIterator[AgentResponse]:
        """Send a request.  Raise AgentError, for a redirect as well."""
        # From a file aiohttp sends a large body in pieces.
        body = None if data is None else io.BytesIO(data)
        with _translated_errors(self._server, retry=self._retry):
            async with self._http.request(
                method, url, headers=headers, data=body, timeout=self._timeout
            ) as response:
                if 300 <= response.status < 400:
                    raise _redirect(response, self._server)
                yield AgentResponse(response, retry=self._retry, server=self._server)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()


async def bounded(chunks: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield an answer's chunks.  Raise AgentError above `MAX_BODY_BYTES`."""
    count = 0
    async for chunk in chunks:
        count += len(chunk)
        if count > MAX_BODY_BYTES:
            error = f"the answer has more than {MAX_BODY_BYTES} bytes"
            raise AgentError(error, AgentErrorReason.TOO_LONG)
        yield chunk


@contextmanager
def _translated_errors(server: Server, *, retry: bool) -> Iterator[None]:
    try:
        yield
    except BodyTooLongError as error:
        raise AgentError(str(error), AgentErrorReason.TOO_LONG) from error
    except BodyError as error:
        raise AgentError(str(error), AgentErrorReason.MALFORMED) from error
    except WRONG_ADDRESS as error:
        raise _connection_error(error, server) from error
    except UNREACHABLE as error:
        text = f"cannot connect to {server.name}: {error}"
        raise AgentError(text, AgentErrorReason.UNREACHABLE, retry=True) from error
    except aiohttp.ClientError as error:
        text = f"the connection to {server.name} broke: {type(error).__name__}"
        raise AgentError(text, AgentErrorReason.FAILED, retry=retry) from error


async def _beginning(
    chunks: AsyncGenerator[bytes, None],
) -> AsyncGenerator[bytes, None]:
    """Yield the beginning of an error's body, within `ERROR_SECONDS`."""
    deadline = asyncio.get_running_loop().time() + ERROR_SECONDS
    async with aclosing(chunks):
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    chunk = await anext(chunks)
            except (StopAsyncIteration, TimeoutError, BodyTooLongError):
                return
            yield chunk


async def _bounded_events(
    chunks: AsyncGenerator[bytes, None], more_bytes: int
) -> AsyncGenerator[bytes, None]:
    """
    Yield server-sent events; an event ends with an empty line.  Raise AgentError.

    Only an event whose data is an object may have `more_bytes`.
    """
    last, beginning, event_bytes = b"", b"", 0
    async with aclosing(chunks):
        async for chunk in chunks:
            text = last + chunk
            found = max(map(text.rfind, EMPTY_LINES))
            event_bytes = (
                event_bytes + len(chunk) if found < 0 else len(text) - found - 2
            )
            begun = beginning + chunk if found < 0 else text[found + 2 :]
            beginning = begun[:MAX_BEGINNING_BYTES]
            has_object = OBJECT.search(beginning) is not None
            max_bytes = MAX_EVENT_BYTES + (more_bytes if has_object else 0)
            if event_bytes > max_bytes:
                error = f"an event has more than {max_bytes} bytes"
                raise AgentError(error, AgentErrorReason.TOO_LONG)
            last = chunk[-1:]
            yield chunk


def _connection_error(error: aiohttp.ClientError, server: Server) -> AgentError:
    """Return the error of a TLS connection that fails, or of an invalid URL."""
    reason = getattr(error, "os_error", None)
    if isinstance(reason, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        # The server closed the connection, for example because it restarts.
        text = f"cannot connect to {server.name}: {error}"
        return AgentError(text, AgentErrorReason.UNREACHABLE, retry=True)
    is_tls = isinstance(error, ssl.SSLError | ssl.CertificateError)
    # The text of an invalid URL is the URL, which may have a password.
    words = f"the TLS connection fails, {error}" if is_tls else "its URL is not valid"
    return AgentError(
        f"cannot connect to {server.name}: {words}: set {server.setting} to the URL of"
        " the server, or install its certificate",
        AgentErrorReason.OPERATOR,
    )


def _redirect(response: HttpResponse, server: Server) -> AgentError:
    location = response.headers.get("Location", "")[:200]
    try:
        target = without_secrets(location)
    except ValueError:
        target = "an invalid URL"
    return AgentError(
        f"{server.name} answered {response.status}, a redirect to"
        f" {target or 'no URL'}: redirects are not followed, set {server.setting} to"
        " the final URL",
        AgentErrorReason.OPERATOR,
    )
