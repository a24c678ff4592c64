"""
Edited messages: what a person changed, and what is only Telegram's.

Telegram sends `edited_message` also when it has added a preview of a link, for each
position of a live location, and for changes that a bot cannot see.  So an edit counts
only if the digest of its content differs.

These read raw JSON and never raise, whatever it contains.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from crocbot.envelope.media import PROPERTIES
from crocbot.events import UpdateType
from crocbot.model import RawUpdate

MAX_DEPTH = 20
OWN_WORDS = ("text", "caption")
ENTITIES = ("entities", "caption_entities")
# Of a file that stays the same, these may change.
VOLATILE = frozenset({"file_id", "file_path", "thumbnail", "thumb", "cover"})


def edited_message(raw: RawUpdate) -> Mapping[str, Any] | None:
    """Return the new version of a message, None if the update has none."""
    message = raw.get(UpdateType.EDITED_MESSAGE)
    return message if isinstance(message, Mapping) else None


def as_message(raw: RawUpdate) -> RawUpdate:
    """Return an update with the new version of a message in place of the edit."""
    return {
        UpdateType.MESSAGE if name == UpdateType.EDITED_MESSAGE else name: value
        for name, value in raw.items()
    }


def message_key(raw: RawUpdate) -> tuple[int, int] | None:
    """Return the ids of the chat and of the message, which an edit keeps."""
    message = _message(raw)
    chat = message.get("chat")
    chat_id = chat.get("id") if isinstance(chat, Mapping) else None
    message_id = message.get("message_id")
    if type(chat_id) is not int or type(message_id) is not int:
        return None
    return chat_id, message_id


def is_position(raw: RawUpdate) -> bool:
    """Return whether a message is a location, of which Telegram sends each move."""
    return "location" in _message(raw)


def content_digest(raw: RawUpdate) -> bytes:
    """Return a digest of what a person wrote or attached."""
    message = _message(raw)
    content = {
        name: _stable(value, MAX_DEPTH)
        for name, value in message.items()
        if name in OWN_WORDS or name not in PROPERTIES
    }
    urls = [_urls(message.get(name)) for name in ENTITIES]
    encoded = json.dumps([content, urls], sort_keys=True, default=str)
    return hashlib.sha256(encoded.encode("utf-8", "replace")).digest()


def _message(raw: RawUpdate) -> Mapping[str, Any]:
    message = raw.get(UpdateType.MESSAGE)
    if not isinstance(message, Mapping):
        message = edited_message(raw)
    return message or {}


def _stable(value: Any, depth: int) -> Any:
    if depth and isinstance(value, Mapping):
        return {
            name: _stable(each, depth - 1)
            for name, each in value.items()
            if name not in VOLATILE
        }
    if depth and isinstance(value, list):
        return [_stable(each, depth - 1) for each in value]
    return value if not isinstance(value, Mapping | list) else None


def _urls(entities: object) -> list[Any]:
    known = entities if isinstance(entities, list) else []
    return [each.get("url") for each in known if isinstance(each, Mapping)]
