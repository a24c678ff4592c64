"""
A self-hosted HTTP service: one POST for each message.

    POST CROCBOT_AGENT_URL
    X-Crocbot-Signature: sha256=<HMAC-SHA256 of the body with CROCBOT_AGENT_SECRET>
    {"message": "hello", "chat": "7", "history": [...], "images": [...],
     "files": [...], ...}

    200 application/json        {"reply": "Hi.", "usage": {"input_tokens": 9, ...}}
    200 text/plain              the answer, as it is written
    200 text/event-stream       data: a part of the answer, or an object as above

    {"reply": "Hi.", "files": [{"data": "<base64>", ...}], "buttons": [[...]]}

    {"error": "the reason"}     an error, for the log: the answer ends here; others are
                                in `server_errors.is_error`

A request is retried only after a failure to connect, 429 and 503: the service has done
nothing then.  It is sent again with less history if it was too long, status 413.
`docs/agents.md` describes the whole interface.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import re
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeGuard

from crocbot.agents import sse
from crocbot.agents.answer import Accepts, Answer
from crocbot.agents.context_fields import context_fields
from crocbot.agents.enclosures import enclosures
from crocbot.agents.responses import (
    chat_messages,
    content_text,
    decoded,
    token_usage,
    without_secrets,
)
from crocbot.agents.rules import (
    EVENT_STREAM,
    MAX_BODY_BYTES,
    AgentClient,
    AgentResponse,
)
from crocbot.agents.server_errors import (
    MAX_READ_BYTES,
    error_words,
    is_error,
    read_error,
    shortened,
)
from crocbot.content import Attachment, File
from crocbot.errors import AgentError
from crocbot.model import Prompt, Usage
from crocbot.outgoing import AgentButtons, AgentFile
from crocbot.proxies import NO_PROXIES, Proxies
from crocbot.turn_outcomes import AgentErrorReason

# Without padding in between: a multiple of 3.
ENCODED_AT_ONCE_BYTES = 3 * 256 * 1024
SIGNATURE = "X-Crocbot-Signature"
ACCEPT = "application/json, text/event-stream, text/plain"
REPLY_KEYS = ("reply", "text", "answer", "message", "response", "content")
Part = str | Usage | AgentFile | AgentButtons
# A file of 50 MB at half a megabyte a second.
LARGE_ANSWER_SECONDS = 120.0
JSON_BEGINNING = re.compile(r'\s*(?:\[\s*)?\{\s*(?:"|$)')


class HttpAgent:
    """
    Posts each message to one URL.

    A connection is used once: on a reused one, a server that closed it meanwhile could
    not be distinguished from a failed answer.
    """

    name = "http"
    markdown = True
    remembers = True
    accepts = Accepts.IMAGES | Accepts.FILES

    def __init__(
        self,
        url: str,
        secret: str | None,
        connect_seconds: float,
        *,
        proxies: Proxies = NO_PROXIES,
        max_file_bytes: int = 0,
    ) -> None:
        self._url = url
        self._more_bytes = max_file_bytes * 4 // 3
        # Answers with large files are read one at a time: all of them in memory at once
        # would be too much.
        self._large_answer = asyncio.Semaphore(1)
        self._secret = None if secret is None else secret.encode()
        self._client = AgentClient(
            url, connect_seconds, retry=False, reuse=False, proxies=proxies
        )

    async def answer(self, prompt: Prompt) -> Answer:
        """Post the prompt and yield the answer as it arrives."""
        payload = await request_payload(prompt)
        headers = {"Content-Type": "application/json", "Accept": ACCEPT}
        if self._secret is not None:
            headers[SIGNATURE] = f"sha256={await _digest(self._secret, payload)}"
        async with self._client.request(
            "POST", self._url, headers, payload
        ) as response:
            if response.status != 200:
                raise _refused(response, await response.read())
            meter = _Meter(self._large_answer)
            try:
                async with aclosing(_read(response, meter, self._more_bytes)) as parts:
                    async for part in parts:
                        yield part
            finally:
                meter.reset()

    async def check(self) -> str:
        """Send HEAD, which has no effect by definition; any status shows a server."""
        async with self._client.request("HEAD", self._url) as response:
            url = without_secrets(self._url)
            return f"{url} is there (HEAD: {response.status})"

    async def close(self) -> None:
        """Close the session."""
        await self._client.close()


async def request_payload(prompt: Prompt) -> bytes:
    """
    Return the JSON object that is posted.

    Contents are put into it one by one, as bytes: other turns go on meanwhile, and no
    content is copied more often than it must be.
    """
    marker = secrets.token_hex(16)
    contents = [image.content for image in prompt.images]
    contents += [file.content for file in prompt.files]
    body = _body(prompt, [f"{marker}{index}." for index in range(len(contents))])
    pieces = re.split(rf"{marker}[0-9]+\.", json.dumps(body))
    payload = bytearray(pieces[0].encode())
    for content, piece in zip(contents, pieces[1:], strict=True):
        for start in range(0, len(content), ENCODED_AT_ONCE_BYTES):
            part = content[start : start + ENCODED_AT_ONCE_BYTES]
            payload += base64.b64encode(part)
            await asyncio.sleep(0)
        payload += piece.encode()
    return bytes(payload)


async def _digest(secret: bytes, payload: bytes) -> str:
    if len(payload) < ENCODED_AT_ONCE_BYTES:
        return hmac.digest(secret, payload, "sha256").hex()
    # Other turns go on meanwhile.
    return (await asyncio.to_thread(hmac.digest, secret, payload, "sha256")).hex()


def _body(prompt: Prompt, data: Sequence[str]) -> dict[str, Any]:
    """Return the object, with `data` for the contents of images and files."""
    message, images = prompt.message, prompt.images
    return {
        "message": prompt.text,
        "chat": message.chat.key,
        "history": chat_messages(prompt),
        "images": [
            {"mime_type": image.mime_type, "data": content}
            for image, content in zip(images, data, strict=False)
        ],
        "media": [_medium(each) for each in message.attachments],
        "files": [
            _file(file, content)
            for file, content in zip(prompt.files, data[len(images) :], strict=True)
        ],
        "spoken": message.spoken,
        "command": message.command,
        "sender_id": message.sender_id,
        "message_id": message.message_id,
        "update_id": message.update_id,
        **context_fields(message),
    }


def _medium(attachment: Attachment) -> dict[str, Any]:
    """Return what is known of an attachment, without what is not known."""
    medium = {
        "kind": attachment.type,
        "description": attachment.description,
        "name": attachment.name,
        "mime_type": attachment.mime_type,
        "size": attachment.size,
        "duration": attachment.duration,
        "note": attachment.note,
    }
    return {name: value for name, value in medium.items() if value is not None}


def _file(file: File, data: str) -> dict[str, Any]:
    return {
        "kind": file.type,
        "name": file.name,
        "mime_type": file.mime_type,
        "size": len(file.content),
        "duration": file.duration,
        "quoted": file.quoted,
        "data": data,
    }


def _refused(response: AgentResponse, body: bytes) -> AgentError:
    error = read_error(response.status, body, response.headers)
    failure = error.agent_error("the agent")
    # The service has done nothing only if it says so.
    failure.retry = response.status in {429, 503} and failure.retry
    return failure


class _Meter:
    """
    Waits for the slot of large answers before more than a text is read.

    The rest must arrive within `LARGE_ANSWER_SECONDS`: others wait for the slot.
    """

    def __init__(self, slot: asyncio.Semaphore) -> None:
        self._slot = slot
        self._bytes = 0
        self._deadline: float | None = None

    async def chunks(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the chunks, each when it may be kept in memory.  Raise AgentError."""
        while True:
            try:
                async with asyncio.timeout_at(self._deadline):
                    chunk = await anext(chunks)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                text = f"files did not arrive within {LARGE_ANSWER_SECONDS:g} s"
                raise AgentError(text, AgentErrorReason.TIMEOUT) from error
            self._bytes += len(chunk)
            if self._bytes > MAX_BODY_BYTES and self._deadline is None:
                await self._slot.acquire()
                now = asyncio.get_running_loop().time()
                self._deadline = now + LARGE_ANSWER_SECONDS
            yield chunk

    def reset(self) -> None:
        """Count from 0: what was read is not in memory any more."""
        self._bytes = 0
        if self._deadline is not None:
            self._deadline = None
            self._slot.release()


async def _read(response: AgentResponse, meter: _Meter, more_bytes: int) -> Answer:
    has_objects = response.content_type == EVENT_STREAM or _is_json(response)
    body = response.chunks(more_bytes if has_objects else 0)
    async with aclosing(body):
        chunks = meter.chunks(body)
        match response.content_type:
            case str(name) if name == EVENT_STREAM:
                async for event in sse.events(chunks):
                    for part in _event_parts(event):
                        yield part
                    meter.reset()
            # The last one stands for a missing Content-Type.
            case "text/plain" | "text/markdown" | "application/octet-stream":
                async for text in decoded(chunks):
                    yield text
            case _ if _is_json(response):
                whole = bytearray()
                async for chunk in chunks:
                    whole += chunk
                for part in _parts(_json(whole)):
                    yield part
            case "text/html":
                page = error_words("".join([text async for text in decoded(chunks)]))
                error = f"the agent sent a web page, {shortened(page, 80)!r}"
                raise AgentError(error, AgentErrorReason.OPERATOR)
            case other:
                error = f"the agent answered with Content-Type {other[:80]}"
                raise AgentError(error, AgentErrorReason.MALFORMED)


def _is_json(response: AgentResponse) -> bool:
    name = response.content_type
    return name == "application/json" or name.endswith("+json")


def _json(body: bytearray) -> Any:
    """Return the JSON in a body, which is emptied: it may be large."""
    beginning = bytes(body[:MAX_READ_BYTES])
    try:
        text = body.decode(json.detect_encoding(body), "surrogatepass")
        body.clear()
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        quoted = shortened(beginning.decode(errors="replace"), 80)
        text = f"the agent's answer is not JSON: {quoted!r}"
        raise AgentError(text, AgentErrorReason.MALFORMED) from error


def _parts(value: object) -> list[Part]:
    """Return the parts of a whole answer."""
    _raise_first_error(value)
    if not isinstance(value, Mapping):
        error = "the agent's JSON is not an object"
        raise AgentError(error, AgentErrorReason.MALFORMED)
    parts = _object_parts(value)
    if not parts:
        raise AgentError("the agent's JSON has no reply", AgentErrorReason.MALFORMED)
    return parts


def _object_parts(value: Mapping[str, Any]) -> list[Part]:
    """Return the parts of an object.  Raise an error as AgentError."""
    if is_error(value):
        raise _error(value)
    texts = [
        text
        for key in REPLY_KEYS
        if isinstance(found := value.get(key), str | list)
        and ((text := content_text(found)) or found == "")
    ]
    return [*texts[:1], *enclosures(value), *token_usage(value.get("usage"))]


def _error(value: object) -> AgentError:
    """Return the error that a service sends in place of an answer, for the log."""
    failure = read_error(200, value, {}).agent_error("the agent")
    # The service may have done something before it failed.
    failure.retry = False
    return failure


def _event_parts(event: sse.ServerSentEvent) -> list[Part]:
    """Return the parts of an event: of JSON, else the text; none of `[DONE]`."""
    data = event.data
    if event.is_error:
        raise _error({"error": data or "no words"})
    if data.strip() == sse.DONE:
        return []
    if data.lstrip().startswith(("{", "[")):
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            return _broken_parts(event)
        if isinstance(value, Mapping):
            return _object_parts(value)
        if _has_objects(value):
            _raise_first_error(value)
            return [text] if (text := content_text(value)) else []
    return [] if event.is_control else [data]


def _broken_parts(event: sse.ServerSentEvent) -> list[Part]:
    """Return a text that is like JSON, unless it is JSON that the stream cut off."""
    if not event.complete and JSON_BEGINNING.match(event.data):
        raise AgentError(
            "the agent's last event is JSON whose end is missing",
            AgentErrorReason.MALFORMED,
        )
    return [] if event.is_control else [event.data]


def _raise_first_error(value: object) -> None:
    """Raise the error that is the first object of a list, if there is one."""
    if _has_objects(value) and is_error(value[0]):
        raise _error(value)


def _has_objects(value: object) -> TypeGuard[list[Mapping[str, Any]]]:
    """Return whether JSON is a list that begins with an object: `[1]` is a text."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)
