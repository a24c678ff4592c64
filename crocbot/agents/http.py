"""
A self-hosted HTTP service: one POST for each message.

    POST CROCBOT_AGENT_URL
    X-Crocbot-Signature: sha256=<HMAC-SHA256 of the body with CROCBOT_AGENT_SECRET>
    {"message": "hello", "chat": "7", "history": [...], "images": [...], ...}

    200 application/json        {"reply": "Hi.", "usage": {"input_tokens": 9, ...}}
    200 text/plain              the answer, as it is written
    200 text/event-stream       data: a part of the answer, or an object as above

A request is retried only after a failure to connect, 429 and 503: the service has done
nothing then.  `docs/agents.md` describes the whole interface.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from crocbot.agents.answer import Answer
from crocbot.agents.responses import (
    chat_messages,
    decoded,
    json_body,
    retry_after,
    status_reason,
    token_usage,
    without_password,
)
from crocbot.errors import AgentError
from crocbot.events import AgentErrorReason
from crocbot.model import LOOPBACK_HOSTS, Prompt, Usage

SIGNATURE = "X-Crocbot-Signature"
ACCEPT = "application/json, text/event-stream, text/plain"
REPLY_KEYS = ("reply", "text", "answer", "message", "response", "content")
MAX_EVENT_CHARS = 1024 * 1024


class HttpAgent:
    """
    Posts each message to one URL.

    A connection is used once: on a reused one, a server that closed it meanwhile could
    not be distinguished from a failed answer.
    """

    name = "http"
    markdown = True
    remembers = True

    def __init__(self, url: str, secret: str | None, connect_seconds: float) -> None:
        self._url = url
        self._secret = None if secret is None else secret.encode()
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds)
        self._session: aiohttp.ClientSession | None = None

    async def answer(self, prompt: Prompt) -> Answer:
        """Post the prompt and yield the answer as it arrives."""
        payload = json.dumps(request_body(prompt)).encode()
        headers = {"Content-Type": "application/json", "Accept": ACCEPT}
        if self._secret is not None:
            digest = hmac.new(self._secret, payload, "sha256").hexdigest()
            headers[SIGNATURE] = f"sha256={digest}"
        try:
            async with self._request("POST", headers, payload) as response:
                if (status := response.status) != 200:
                    raise AgentError(
                        f"the agent answered {status}",
                        status_reason(status),
                        retry=status in (429, 503),
                        wait=retry_after(response.headers),
                    )
                async with aclosing(_read(response)) as parts:
                    async for part in parts:
                        yield part
        except aiohttp.ClientError as error:
            raise _agent_error(error) from error

    async def check(self) -> str:
        """Send HEAD, which has no effect by definition; any status shows a server."""
        try:
            async with self._request("HEAD", {}, None) as response:
                url = without_password(self._url)
                return f"{url} is there (HEAD: {response.status})"
        except aiohttp.ClientError as error:
            raise _agent_error(error) from error

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _request(
        self, method: str, headers: Mapping[str, str], payload: bytes | None
    ) -> Any:
        if self._session is None:
            # The environment's proxy cannot reach a service on this host.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, force_close=True),
                trust_env=urlsplit(self._url).hostname not in LOOPBACK_HOSTS,
            )
        return self._session.request(
            method,
            self._url,
            headers=headers,
            data=payload,
            timeout=self._timeout,
            # A redirect would send the conversation to another server.
            allow_redirects=False,
        )


def request_body(prompt: Prompt) -> dict[str, Any]:
    """Return the JSON object that is posted."""
    message = prompt.message
    return {
        "message": prompt.text,
        "chat": message.chat.key,
        "history": chat_messages(prompt),
        "images": [
            {
                "mime_type": image.mime_type,
                "data": base64.b64encode(image.content).decode(),
            }
            for image in prompt.images
        ],
        "media": [
            {"kind": each.type, "description": each.description}
            for each in message.attachments
        ],
        "command": message.command,
        "sender_id": message.sender_id,
        "message_id": message.message_id,
        "update_id": message.update_id,
    }


def _agent_error(error: aiohttp.ClientError) -> AgentError:
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        text = f"cannot connect to the agent: {error}"
        return AgentError(text, AgentErrorReason.UNREACHABLE, retry=True)
    text = f"the connection to the agent broke: {type(error).__name__}"
    return AgentError(text, AgentErrorReason.FAILED)


async def _read(response: aiohttp.ClientResponse) -> Answer:
    match response.content_type:
        case "application/json":
            for part in _parts(await _json(response)):
                yield part
        case "text/event-stream":
            async for data in _events(response.content.iter_any()):
                for part in _event_parts(data):
                    yield part
        # aiohttp's name for a missing Content-Type is application/octet-stream.
        case "text/plain" | "text/markdown" | "application/octet-stream":
            async for text in decoded(response.content.iter_any()):
                yield text
        case other:
            error = f"the agent answered with Content-Type {other[:80]}"
            raise AgentError(error, AgentErrorReason.MALFORMED)


async def _json(response: aiohttp.ClientResponse) -> Any:
    try:
        return json.loads(await json_body(response.content.iter_any()))
    except (ValueError, RecursionError) as error:
        text = "the agent's answer is not JSON"
        raise AgentError(text, AgentErrorReason.MALFORMED) from error


def _parts(value: object) -> list[str | Usage]:
    """Return the text and the token usage of an object; either may be missing."""
    if not isinstance(value, Mapping):
        error = "the agent's JSON is not an object"
        raise AgentError(error, AgentErrorReason.MALFORMED)
    texts = [value[key] for key in REPLY_KEYS if isinstance(value.get(key), str)]
    usage = token_usage(value.get("usage"))
    if not texts and not usage:
        raise AgentError("the agent's JSON has no reply", AgentErrorReason.MALFORMED)
    return [*texts[:1], *usage]


async def _events(chunks: AsyncIterable[bytes]) -> AsyncIterator[str]:
    """
    Yield the data of server-sent events.

        data: one        event: x
        data: two        data: three
        <empty line>     <empty line>      -->  "one\\ntwo", "three"
    """
    rest, data, chars = "", list[str](), 0
    async for text in decoded(chunks):
        *lines, rest = (rest + text).replace("\r\n", "\n").split("\n")
        for line in lines:
            chars += len(line)
            if line.startswith("data:"):
                data.append(line[5:].removeprefix(" "))
            elif not line:
                if data:
                    yield "\n".join(data)
                data, chars = [], 0
        if chars + len(rest) > MAX_EVENT_CHARS:
            error = f"an event has more than {MAX_EVENT_CHARS} characters"
            raise AgentError(error, AgentErrorReason.TOO_LONG)
    # Some services omit the empty line after the last event.
    if rest.startswith("data:"):
        data.append(rest[5:].removeprefix(" "))
    if data:
        yield "\n".join(data)


def _event_parts(data: str) -> list[str | Usage]:
    """Return the parts of an event: of an object, else the text; none of `[DONE]`."""
    if data == "[DONE]":
        return []
    if data.startswith("{"):
        try:
            return _parts(json.loads(data))
        except (ValueError, RecursionError, AgentError):
            pass
    return [data]
