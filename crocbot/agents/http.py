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

from crocbot.agents.answer import Answer
from crocbot.agents.responses import (
    chat_messages,
    decoded,
    retry_after,
    status_reason,
    token_usage,
    without_secrets,
)
from crocbot.agents.rules import EVENT_STREAM, AgentClient, AgentResponse
from crocbot.errors import AgentError
from crocbot.events import AgentErrorReason
from crocbot.model import Prompt, Usage

SIGNATURE = "X-Crocbot-Signature"
ACCEPT = "application/json, text/event-stream, text/plain"
REPLY_KEYS = ("reply", "text", "answer", "message", "response", "content")


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
        self._client = AgentClient(url, connect_seconds, retry=False, reuse=False)

    async def answer(self, prompt: Prompt) -> Answer:
        """Post the prompt and yield the answer as it arrives."""
        payload = json.dumps(request_body(prompt)).encode()
        headers = {"Content-Type": "application/json", "Accept": ACCEPT}
        if self._secret is not None:
            digest = hmac.new(self._secret, payload, "sha256").hexdigest()
            headers[SIGNATURE] = f"sha256={digest}"
        async with self._client.request(
            "POST", self._url, headers, payload
        ) as response:
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

    async def check(self) -> str:
        """Send HEAD, which has no effect by definition; any status shows a server."""
        async with self._client.request("HEAD", self._url) as response:
            url = without_secrets(self._url)
            return f"{url} is there (HEAD: {response.status})"

    async def close(self) -> None:
        """Close the session."""
        await self._client.close()


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


async def _read(response: AgentResponse) -> Answer:
    async with aclosing(response.chunks()) as chunks:
        match response.content_type:
            case "application/json":
                for part in _parts(_json(b"".join([chunk async for chunk in chunks]))):
                    yield part
            case str(name) if name == EVENT_STREAM:
                async for data in _events(chunks):
                    for part in _event_parts(data):
                        yield part
            # The last one stands for a missing Content-Type.
            case "text/plain" | "text/markdown" | "application/octet-stream":
                async for text in decoded(chunks):
                    yield text
            case other:
                error = f"the agent answered with Content-Type {other[:80]}"
                raise AgentError(error, AgentErrorReason.MALFORMED)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
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
    rest, data = "", list[str]()
    async for text in decoded(chunks):
        *lines, rest = (rest + text).replace("\r\n", "\n").split("\n")
        for line in lines:
            if line.startswith("data:"):
                data.append(line[5:].removeprefix(" "))
            elif not line:
                if data:
                    yield "\n".join(data)
                data = []
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
