"""
What was sent besides words to a Medium: a description that an agent can read.

    {"voice": {"duration": 3, "mime_type": "audio/ogg", ...}}
    --> Medium("voice", "voice message, 3 s, audio/ogg", file_id, ...)

Names and titles in it were chosen by the sender; they are cut, and nobody trusts them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import telegram

from crocbot.model import Attachment

LONGEST = 300


def read(message: telegram.Message) -> Attachment | None:
    """Find the first medium that the message has."""
    for kind, describe in DESCRIPTIONS.items():
        value = getattr(message, kind)
        if value:
            file = _file(value)
            words = ", ".join(part for part in describe(value) if part)
            return Attachment(
                kind,
                " ".join(words.split())[:LONGEST],
                _text(getattr(file, "file_id", None)),
                _mime_type(kind, file),
                _size(getattr(file, "file_size", None)),
            )
    return None


def _file(value: Any) -> Any:
    """A photo comes in several sizes, the largest one last."""
    return value[-1] if isinstance(value, tuple) else value


def _mime_type(kind: str, file: Any) -> str | None:
    if kind == "photo":
        return "image/jpeg"
    if kind == "sticker":
        return None if file.is_animated or file.is_video else "image/webp"
    return _text(getattr(file, "mime_type", None))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _size(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _seconds(value: Any) -> str:
    # The property warns that it will be of another type some day.
    return f"{value.to_dict()['duration']:g} s"


def _extent(value: Any) -> str:
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
    # Before document: an animation comes with both.
    "animation": lambda v: ("animation", v.file_name, _seconds(v), _extent(v)),
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
    "photo": lambda v: ("photo", _extent(v[-1])),
    "poll": _poll,
    "sticker": lambda v: (f"sticker {v.emoji or ''}".rstrip(), v.set_name),
    "story": lambda _: ("story",),
    # Before location, for the same reason.
    "venue": lambda v: (f"venue {v.title}", v.address, _position(v.location)),
    "location": lambda v: ("location", _position(v)),
    "video": lambda v: ("video", v.file_name, _seconds(v), _extent(v)),
    "video_note": lambda v: ("video message", _seconds(v)),
    "voice": lambda v: ("voice message", _seconds(v), v.mime_type),
}
