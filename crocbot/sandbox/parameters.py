"""
The parameters of a Bot API call, however they were sent.

    ?chat_id=7&text=hi     chat_id=7&text=hi     {"chat_id": 7, "text": "hi"}
    query                  form or multipart     JSON
    --> integer("chat_id") == 7, text("text") == "hi"
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import BodyPartReader, web


class BotApiError(Exception):
    """The Bot API answers with an error."""

    def __init__(self, status: int, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.description = description


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file in a multipart body."""

    name: str
    mime_type: str
    content: bytes


class Parameters:
    """The parameters of one call; `files` are those of a multipart body."""

    def __init__(
        self,
        values: Mapping[str, Any],
        files: Mapping[str, UploadedFile] | None = None,
    ) -> None:
        self._values = values
        self._files = files or {}

    def file(self, name: str) -> UploadedFile | None:
        """Return a file of the body, also one that the parameter names; else None."""
        attached = self.text(name).removeprefix("attach://")
        return self._files.get(attached or name)

    def text(self, name: str) -> str:
        """Return a text; empty if there is none."""
        value = self._values.get(name, "")
        return value if isinstance(value, str) else json.dumps(value)

    def integer(self, name: str, default: int | None = None) -> int:
        """Return an integer; BotApiError if it is missing or none."""
        value = self._values.get(name)
        if value in (None, "") and default is not None:
            return default
        try:
            return int(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            problem = "is not specified" if value in (None, "") else "is invalid"
            raise BotApiError(400, f"Bad Request: {name} {problem}") from None

    def flag(self, name: str) -> bool:
        """Return a boolean; false if there is none."""
        return self.text(name).strip().lower() in {"true", "yes", "1"}

    def json(self, name: str) -> Any:
        """Return a list or object, which forms carry as JSON; None if there is none."""
        value = self._values.get(name)
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value) if value else None
        except ValueError:
            raise BotApiError(
                400, f"Bad Request: can't parse {name} JSON object"
            ) from None


async def read(request: web.Request) -> Parameters:
    """Return the parameters of a request, from its query and its body."""
    values: dict[str, Any] = dict(request.query)
    files = {}
    if request.content_type == "application/json":
        values |= await _json(request)
    elif request.content_type.startswith("multipart/"):
        async for name, value in _parts(request):
            if isinstance(value, UploadedFile):
                files[name] = value
            else:
                values[name] = value
    elif request.can_read_body:
        values |= await request.post()
    return Parameters(values, files)


async def _parts(request: web.Request) -> AsyncIterator[tuple[str, UploadedFile | str]]:
    """
    Yield the parts of a multipart body.

    They are in memory: aiohttp keeps files on disk, and leaves one open if its client
    hangs up while it is sent.
    """
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader) or part.name is None:
            continue
        content = bytes(await part.read(decode=True))
        if part.filename is None:
            yield part.name, content.decode(part.get_charset("utf-8"))
        else:
            type_ = part.headers.get("Content-Type", "application/octet-stream")
            yield part.name, UploadedFile(part.filename, type_, content)


async def _json(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise BotApiError(400, "Bad Request: can't parse JSON object")
    return body
