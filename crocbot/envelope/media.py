"""
Media of a message to an Attachment, with a description that an agent can read.

    {"voice": {"duration": 3, "mime_type": "audio/ogg", ...}}
    --> Attachment("voice", "voice message, 3 s, audio/ogg", file_id, ...)

The sender chooses the names and titles in it: they are untrusted, and bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import telegram

from crocbot.model import Attachment

MAX_DESCRIPTION_CHARS = 300


def read(message: telegram.Message) -> Attachment | None:
    """Return the attachment of a message, or None."""
    for type_, describe in DESCRIPTIONS.items():
        value = getattr(message, type_)
        if value:
            file = _file(value)
            description = ", ".join(part for part in describe(value) if part)
            return Attachment(
                type_,
                " ".join(description.split())[:MAX_DESCRIPTION_CHARS],
                file_id=_text(getattr(file, "file_id", None)),
                mime_type=_mime_type(type_, file),
                size=_size(getattr(file, "file_size", None)),
            )
    return None


def _file(value: Any) -> Any:
    """Return the file; a photo comes in several sizes, the largest one last."""
    return value[-1] if isinstance(value, tuple) else value


def _mime_type(type_: str, file: Any) -> str | None:
    if type_ == "photo":
        return "image/jpeg"
    if type_ == "sticker":
        return None if file.is_animated or file.is_video else "image/webp"
    return _text(getattr(file, "mime_type", None))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _size(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _seconds(value: Any) -> str:
    # PTB's property `duration` warns that its type will change.
    return f"{value.to_dict()['duration']:g} s"


def _dimensions(value: Any) -> str:
    return f"{value.width}x{value.height}"


def _position(value: Any) -> str:
    return f"latitude {value.latitude:g}, longitude {value.longitude:g}"


def _contact(value: Any) -> tuple[str, ...]:
    name = f"contact {value.first_name} {value.last_name or ''}".rstrip()
    return name, f"phone {value.phone_number}"


def _poll(value: Any) -> tuple[str, ...]:
    answers = " / ".join(option.text for option in value.options)
    return f"poll: {value.question}", answers


Description = Callable[[Any], tuple[str | None, ...]]

DESCRIPTIONS: Mapping[str, Description] = {
    # Before document, because an animation has both.
    "animation": lambda v: ("animation", v.file_name, _seconds(v), _dimensions(v)),
    "audio": lambda v: (
        *("audio", v.performer, v.title or v.file_name),
        *(_seconds(v), v.mime_type),
    ),
    "contact": _contact,
    "dice": lambda v: (f"dice {v.emoji}", f"showing {v.value}"),
    "document": lambda v: (
        *("document", v.file_name, v.mime_type),
        None if v.file_size is None else f"{v.file_size} bytes",
    ),
    "game": lambda v: (f"game {v.title}", v.description),
    "paid_media": lambda _: ("paid media",),
    "photo": lambda v: ("photo", _dimensions(v[-1])),
    "poll": _poll,
    "sticker": lambda v: (f"sticker {v.emoji or ''}".rstrip(), v.set_name),
    "story": lambda _: ("story",),
    # Before location, because a venue has both.
    "venue": lambda v: (f"venue {v.title}", v.address, _position(v.location)),
    "location": lambda v: ("location", _position(v)),
    "video": lambda v: ("video", v.file_name, _seconds(v), _dimensions(v)),
    "video_note": lambda v: ("video message", _seconds(v)),
    "voice": lambda v: ("voice message", _seconds(v), v.mime_type),
}
