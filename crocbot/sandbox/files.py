"""
Files that the bot sends, and the buttons below its messages, as Telegram accepts them.

    sendPhoto(photo=<bytes>, caption="Sales") --> {"photo": [...], "caption": "Sales"}

What is refused is refused with Telegram's words.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from crocbot.sandbox import messages
from crocbot.sandbox.parameters import BotApiError, Parameters, UploadedFile

MAX_UPLOAD_BYTES = 52_428_800
MAX_PHOTO_BYTES = 10_485_760
MAX_CAPTION_UNITS = 1024
MAX_PHOTO_SIDES = 10_000
MAX_CALLBACK_BYTES = 64
MAX_BUTTONS = 100
PNG = b"\x89PNG\r\n\x1a\n"
IMAGES = (b"\xff\xd8\xff", PNG, b"GIF8", b"RIFF")
SCHEMES = ("https://", "http://", "tg://")
KINDS = ("photo", "voice", "audio", "document")


def content(kind: str, file_id: str, parameters: Parameters) -> dict[str, Any]:
    """Return the content of a message with a file; raise BotApiError if refused."""
    file = uploaded(kind, parameters)
    described: Any = {
        "file_id": file_id,
        "file_unique_id": file_id,
        "file_size": len(file.content),
    }
    if kind == "photo":
        _check_photo(file.content)
        described = [described | {"width": 90, "height": 60}]
    else:
        described |= {"file_name": file.name, "mime_type": file.mime_type}
    return {kind: described} | _caption(parameters) | keyboard(parameters)


def uploaded(kind: str, parameters: Parameters) -> UploadedFile:
    """Return the file of a call; raise BotApiError if it has none."""
    file = parameters.file(kind)
    if file is None:
        raise BotApiError(400, f"Bad Request: there is no {kind} in the request")
    if not file.content:
        raise BotApiError(400, "Bad Request: file must be non-empty")
    return file


def keyboard(parameters: Parameters) -> dict[str, Any]:
    """Return the buttons below a message; raise BotApiError if they are refused."""
    markup = parameters.json("reply_markup")
    if not markup:
        return {}
    rows = markup.get("inline_keyboard") if isinstance(markup, Mapping) else None
    if not isinstance(rows, list):
        raise BotApiError(400, "Bad Request: object expected as reply markup")
    buttons = [button for row in rows for button in row]
    if len(buttons) > MAX_BUTTONS:
        raise BotApiError(400, "Bad Request: REPLY_MARKUP_TOO_LONG")
    for button in buttons:
        _check_button(button)
    return {"reply_markup": {"inline_keyboard": rows}}


def _check_button(button: Any) -> None:
    if not isinstance(button, Mapping) or not str(button.get("text", "")).strip():
        raise BotApiError(
            400, "Bad Request: can't parse inline keyboard button: text is empty"
        )
    data, url = button.get("callback_data"), button.get("url")
    if (data is None) == (url is None):
        raise BotApiError(400, "Bad Request: BUTTON_TYPE_INVALID")
    if data is not None and not 1 <= len(data.encode()) <= MAX_CALLBACK_BYTES:
        raise BotApiError(400, "Bad Request: BUTTON_DATA_INVALID")
    if url is not None and not url.startswith(SCHEMES):
        raise BotApiError(
            400,
            f"Bad Request: inline keyboard button URL '{url}' is invalid:"
            " Wrong HTTP URL",
        )


def _check_photo(content: bytes) -> None:
    if len(content) > MAX_PHOTO_BYTES:
        raise BotApiError(400, "Bad Request: file is too big")
    if not content.startswith(IMAGES):
        raise BotApiError(400, "Bad Request: IMAGE_PROCESS_FAILED")
    if content.startswith(PNG) and len(content) >= 24:
        width, height = struct.unpack(">II", content[16:24])
        if width + height > MAX_PHOTO_SIDES or 20 * min(width, height) < max(
            width, height
        ):
            raise BotApiError(400, "Bad Request: PHOTO_INVALID_DIMENSIONS")


def _caption(parameters: Parameters) -> dict[str, Any]:
    caption = parameters.text("caption").strip()
    if messages.units(caption) > MAX_CAPTION_UNITS:
        raise BotApiError(400, "Bad Request: message caption is too long")
    entities = parameters.json("caption_entities")
    return ({"caption": caption} if caption else {}) | (
        {"caption_entities": entities} if entities else {}
    )
