"""
`POST /send`: a message from a program of the operator, stored before it is confirmed.

    Authorization: Bearer SECRET     {"chat": 77, "text": "**done**"}
                                     or a form with chat, text and file
    --> 202 {"id": 17}               stored, and sent like `crocbot send`
        400, 401, 413, 429, 503 {"error": "one sentence"}

A browser cannot be made to send that header to another site without asking, and is
never allowed to.  A request without the secret is answered before its body is read.
At most MAX_UPLOADS bodies are read at a time.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aiohttp import BodyPartReader, ClientPayloadError, MultipartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from crocbot import log
from crocbot.delivery_outcomes import PushRequestOutcome
from crocbot.errors import CrocbotError, StoreError
from crocbot.events import EventListener, PushRequest
from crocbot.outgoing import MAX_FILE_BYTES
from crocbot.pushed import (
    MAX_TEXT_BYTES,
    NewFile,
    PushedFullError,
    PushedMessage,
    PushedMessages,
    RequestError,
    TooLargeError,
    new_message,
)

# JSON may take six bytes for one: \\u0000.
MAX_JSON_BYTES = 6 * MAX_TEXT_BYTES + 4096
MAX_FORM_BYTES = MAX_FILE_BYTES + MAX_TEXT_BYTES + 64 * 1024
MAX_PARTS = 8
MAX_UPLOADS = 2
BODY_SECONDS = 60.0
FULL_SECONDS = 30
BEARER = "bearer "
FIELDS = frozenset({"chat", "text", "markdown"})
STATUSES = {
    PushRequestOutcome.UNAUTHORIZED: 401,
    PushRequestOutcome.MALFORMED: 400,
    PushRequestOutcome.TOO_LARGE: 413,
    PushRequestOutcome.FULL: 429,
    PushRequestOutcome.UNAVAILABLE: 503,
}

logger = log.logger(__name__)


class _AuthorizationError(CrocbotError):
    """The request does not have the secret."""


@dataclass(slots=True)
class _Bytes:
    """Counts the bytes of a body that are left."""

    left: int

    def take(self, count: int) -> None:
        """Count bytes.  Raise TooLargeError."""
        self.left -= count
        if self.left < 0:
            raise TooLargeError("a text or file is too large")


REFUSALS: Mapping[type[Exception], PushRequestOutcome] = {
    RequestError: PushRequestOutcome.MALFORMED,
    TooLargeError: PushRequestOutcome.TOO_LARGE,
    PushedFullError: PushRequestOutcome.FULL,
}


class SendPage:
    """The page for programs that know `secret`."""

    def __init__(
        self, secret: str, messages: PushedMessages, events: EventListener
    ) -> None:
        self._secret = secret.encode()
        self._messages = messages
        self._events = events
        self._uploads = asyncio.Semaphore(MAX_UPLOADS)
        self._rate_limited = log.RateLimitedLog(time.monotonic)

    async def handle(self, request: web.Request) -> web.Response:
        """Answer a request."""
        try:
            push_id = await self._store(request)
        except _AuthorizationError as error:
            self._rate_limited.error("a message was refused: it has no valid secret")
            return self._refuse(PushRequestOutcome.UNAUTHORIZED, error)
        except StoreError as error:
            logger.error("a message was not stored", error=str(error))
            return self._refuse(PushRequestOutcome.UNAVAILABLE, "it cannot be stored")
        except TimeoutError:
            return self._refuse(PushRequestOutcome.MALFORMED, "the body is too slow")
        except tuple(REFUSALS) as error:
            return self._refuse(REFUSALS[type(error)], error)
        self._events.emit(PushRequest(PushRequestOutcome.STORED))
        return _json({"id": push_id}, 202)

    async def _store(self, request: web.Request) -> int:
        self._require_secret(request)
        if (request.content_length or 0) > MAX_FORM_BYTES:
            raise TooLargeError("a text or file is too large")
        async with self._uploads:
            async with asyncio.timeout(BODY_SECONDS):
                message = await _read(request)
            return await self._messages.add(message)

    def _require_secret(self, request: web.Request) -> None:
        """Raise _AuthorizationError unless the request has the secret."""
        header = request.headers.get("Authorization", "")
        given = header[len(BEARER) :].strip().encode("utf-8", "surrogateescape")
        same = hmac.compare_digest(given, self._secret)
        if not (same and header[: len(BEARER)].lower() == BEARER):
            raise _AuthorizationError("the header Authorization: Bearer is not right")

    def _refuse(self, outcome: PushRequestOutcome, sentence: object) -> web.Response:
        self._events.emit(PushRequest(outcome))
        response = _json({"error": str(sentence)}, STATUSES[outcome])
        if outcome in (PushRequestOutcome.FULL, PushRequestOutcome.UNAVAILABLE):
            response.headers["Retry-After"] = str(FULL_SECONDS)
        if outcome is PushRequestOutcome.UNAUTHORIZED:
            response.headers["WWW-Authenticate"] = "Bearer"
        if outcome is not PushRequestOutcome.MALFORMED:
            # The rest of the body is not read.
            response.force_close()
        return response


async def _read(request: web.Request) -> PushedMessage:
    """Return the message of a body.  Raise RequestError."""
    readers = {"application/json": _read_json, "multipart/form-data": _read_form}
    reader = readers.get(request.content_type)
    if reader is None:
        raise RequestError("the body must be application/json or multipart/form-data")
    try:
        return await reader(request)
    except (ConnectionError, ClientPayloadError, web.RequestPayloadError) as error:
        raise RequestError("the body is not complete") from error


async def _read_json(request: web.Request) -> PushedMessage:
    left, body = _Bytes(MAX_JSON_BYTES), bytearray()
    async for chunk in request.content.iter_any():
        left.take(len(chunk))
        body += chunk
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError("the body is not JSON") from error
    if not isinstance(fields, dict):
        raise RequestError("the body is not a JSON object")
    _require_known(fields.keys())
    markdown = fields.get("markdown", True)
    if not isinstance(markdown, bool):
        raise RequestError("markdown must be true or false")
    return new_message(fields.get("chat"), fields.get("text", ""), markdown=markdown)


async def _read_form(request: web.Request) -> PushedMessage:
    left, fields, file = _Bytes(MAX_FORM_BYTES), {}, None
    try:
        parts = MultipartReader(request.headers, request.content)
        for _ in range(MAX_PARTS):
            part = await parts.next()
            if part is None:
                break
            if not isinstance(part, BodyPartReader):
                raise RequestError("a part of the form has parts itself")
            name = part.name or ""
            if name in fields or (name == "file" and file is not None):
                raise RequestError(f"the form has {name[:40]!r} more than once")
            content = await _content(part, left)
            if name == "file":
                file = NewFile(name=part.filename or "", content=content)
            else:
                fields[name] = content.decode()
        else:
            raise RequestError("the form has too many parts")
    except (ValueError, RuntimeError, AssertionError, HttpProcessingError) as error:
        raise RequestError("the body is not a form in UTF-8") from error
    _require_known(fields.keys())
    markdown = fields.get("markdown", "true").lower()
    if markdown not in ("true", "false"):
        raise RequestError("markdown must be true or false")
    return new_message(
        fields.get("chat"),
        fields.get("text", ""),
        file=file,
        markdown=markdown == "true",
    )


async def _content(part: BodyPartReader, left: _Bytes) -> bytes:
    content = bytearray()
    if part.name != "file":
        left = _Bytes(min(left.left, MAX_TEXT_BYTES + 1))
    while chunk := await part.read_chunk():
        left.take(len(chunk))
        content += chunk
    return bytes(content)


def _require_known(names: Iterable[str]) -> None:
    """Raise RequestError for a name that means nothing, such as a misspelled one."""
    if unknown := set(names) - FIELDS:
        raise RequestError(
            f"{min(unknown)[:40]!r} is not one of chat, text, markdown and file"
        )


def _json(fields: dict[str, object], status: int) -> web.Response:
    return web.json_response(
        fields, status=status, headers={"Cache-Control": "no-store"}
    )
