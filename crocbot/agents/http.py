"""
An HTTP service of one's own: one POST a message.

    POST CROCBOT_AGENT_URL
    X-Crocbot-Signature: sha256=<HMAC-SHA256 of the body with CROCBOT_AGENT_SECRET>
    {"message": "hello", "chat": "7", "history": [...], "images": [...], ...}

    200 application/json        {"reply": "Hi.", "usage": {"input_tokens": 9, ...}}
    200 text/plain              the answer, as it comes
    200 text/event-stream       data: a piece of it; or data: an object as above

Asked again is only after a failure to connect, 429 and 503: nothing was done then.
`docs/agents.md` has the whole of it.
"""

from __future__ import annotations

import base64
import codecs
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from crocbot.agents.agent import Answer, retry_after, without_password
from crocbot.errors import AgentError
from crocbot.events import AgentErrorReason
from crocbot.model import Prompt, Usage

SIGNATURE = "X-Crocbot-Signature"
ACCEPT = "application/json, text/event-stream, text/plain"
REPLY_KEYS = ("reply", "text", "answer", "message", "response", "content")
MOST_BYTES = 1024 * 1024
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Http:
    """Asks one URL.  A connection is used once: a stale one would look like a fault."""

    name = "http"
    markdown = True
    remembers = True

    def __init__(self, url: str, secret: str | None, connect_seconds: float) -> None:
        self._url = url
        self._secret = None if secret is None else secret.encode()
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds)
        self._session: aiohttp.ClientSession | None = None

    async def answer(self, prompt: Prompt) -> Answer:
        """Post the question and read the answer as it comes."""
        payload = json.dumps(body(prompt)).encode()
        headers = {"Content-Type": "application/json", "Accept": ACCEPT}
        if self._secret is not None:
            digest = hmac.new(self._secret, payload, "sha256").hexdigest()
            headers[SIGNATURE] = f"sha256={digest}"
        try:
            async with self._request("POST", headers, payload) as response:
                _judge(response.status, response.headers)
                async with aclosing(_read(response)) as pieces:
                    async for piece in pieces:
                        yield piece
        except aiohttp.ClientError as error:
            raise _ours(error) from error

    async def check(self) -> str:
        """See whether a server answers at all; HEAD is not supposed to do anything."""
        try:
            async with self._request("HEAD", {}, None) as response:
                shown = without_password(self._url)
                return f"{shown} is there (HEAD: {response.status})"
        except aiohttp.ClientError as error:
            raise _ours(error) from error

    async def close(self) -> None:
        """Close the pool."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _request(
        self, method: str, headers: Mapping[str, str], payload: bytes | None
    ) -> Any:
        if self._session is None:
            # A proxy of the environment is for the world outside, not for this host.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, force_close=True),
                trust_env=urlsplit(self._url).hostname not in LOOPBACK,
            )
        # A redirect would take the conversation elsewhere.
        return self._session.request(
            method,
            self._url,
            headers=headers,
            data=payload,
            timeout=self._timeout,
            allow_redirects=False,
        )


def body(prompt: Prompt) -> dict[str, Any]:
    """What is posted; without `images` the service gets the words only."""
    message = prompt.message
    said = [
        line
        for exchange in prompt.history
        for line in (
            {"role": "user", "content": exchange.prompt},
            {"role": "assistant", "content": exchange.answer},
        )
    ]
    return {
        "message": prompt.text,
        "chat": message.chat.key,
        "history": said,
        "images": [
            {
                "mime_type": image.mime_type,
                "data": base64.b64encode(image.content).decode(),
            }
            for image in prompt.images
        ],
        "media": [
            {"kind": medium.type, "description": medium.description}
            for medium in message.attachments
        ],
        "command": message.command,
        "sender_id": message.sender_id,
        "message_id": message.message_id,
        "update_id": message.update_id,
    }


def _judge(status: int, headers: Mapping[str, str]) -> None:
    """Raise what a status other than 200 means."""
    if status == 200:
        return
    words = f"the agent answered {status}"
    wait = retry_after(headers)
    match status:
        case 401 | 403:
            raise AgentError(words, AgentErrorReason.UNAUTHORIZED)
        case 429:
            raise AgentError(
                words, AgentErrorReason.RATE_LIMITED, retry=True, wait=wait
            )
        case 503:
            raise AgentError(words, AgentErrorReason.FAILED, retry=True, wait=wait)
        case _ if 400 <= status < 500:
            raise AgentError(words, AgentErrorReason.REFUSED)
        case _:
            raise AgentError(words, AgentErrorReason.FAILED)


def _ours(error: aiohttp.ClientError) -> AgentError:
    kind = type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return AgentError(
            f"cannot connect to the agent: {error}",
            AgentErrorReason.UNREACHABLE,
            retry=True,
        )
    return AgentError(f"the agent broke off: {kind}", AgentErrorReason.FAILED)


async def _read(response: aiohttp.ClientResponse) -> Answer:
    match response.content_type:
        case "application/json":
            for piece in _object(await _whole(response)):
                yield piece
        case "text/event-stream":
            async for data in _events(response.content):
                for piece in _event(data):
                    yield piece
        # The last one is what there is without a Content-Type, too.
        case "text/plain" | "text/markdown" | "application/octet-stream":
            async for piece in _texts(response.content):
                yield piece
        case other:
            words = f"the agent answered with {other[:80]}"
            raise AgentError(words, AgentErrorReason.MALFORMED)


async def _whole(response: aiohttp.ClientResponse) -> Any:
    payload = bytearray()
    async for chunk in response.content.iter_any():
        payload += chunk
        if len(payload) > MOST_BYTES:
            raise AgentError("the agent's JSON is too long", AgentErrorReason.TOO_LONG)
    try:
        return json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise AgentError(
            "the agent's JSON is none", AgentErrorReason.MALFORMED
        ) from error


def _object(value: object) -> list[str | Usage]:
    """The text in an object, and the tokens, if there are any."""
    if not isinstance(value, Mapping):
        raise AgentError("the agent's JSON is no object", AgentErrorReason.MALFORMED)
    texts = [value[key] for key in REPLY_KEYS if isinstance(value.get(key), str)]
    usage = value.get("usage")
    if not texts and not isinstance(usage, Mapping):
        raise AgentError("the agent's JSON has no reply", AgentErrorReason.MALFORMED)
    tokens = [_usage(usage)] if isinstance(usage, Mapping) else []
    return [*texts[:1], *tokens]


def _usage(usage: Mapping[str, Any]) -> Usage:
    def count(*names: str) -> int:
        found = (usage.get(name) for name in names)
        return next((n for n in found if type(n) is int and 0 <= n < 2**53), 0)

    return Usage(
        count("input_tokens", "prompt_tokens"),
        count("output_tokens", "completion_tokens"),
    )


async def _texts(stream: aiohttp.StreamReader) -> AsyncIterator[str]:
    """UTF-8 as it comes; a character may be cut between two chunks."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    async for chunk in stream.iter_any():
        yield decoder.decode(chunk)
    yield decoder.decode(b"", final=True)


async def _events(stream: aiohttp.StreamReader) -> AsyncIterator[str]:
    """
    The data of server-sent events.

        data: one        event: x
        data: two        data: three
        <empty line>     <empty line>      -->  "one\\ntwo", "three"
    """
    rest, data = "", list[str]()
    async for text in _texts(stream):
        *lines, rest = (rest + text).replace("\r\n", "\n").split("\n")
        if len(rest) > MOST_BYTES:
            raise AgentError("an event is too long", AgentErrorReason.TOO_LONG)
        for line in lines:
            if line.startswith("data:"):
                data.append(line[5:].removeprefix(" "))
            elif not line and data:
                yield "\n".join(data)
                data.clear()
    # Some leave out the line after the last one.
    if rest.startswith("data:"):
        data.append(rest[5:].removeprefix(" "))
    if data:
        yield "\n".join(data)


def _event(data: str) -> list[str | Usage]:
    """An object, or a text as it is; [DONE] is what some send at the end."""
    if data == "[DONE]":
        return []
    if data.startswith("{"):
        try:
            return _object(json.loads(data))
        except (ValueError, RecursionError, AgentError):
            pass
    return [data]
