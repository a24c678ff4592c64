"""
The messages of users, as the Bot API's Message objects.

    text("/start now")
    --> {"text": "/start now", "entities": [{"type": "bot_command",
                                             "offset": 0, "length": 6}]}

Commands are the only entities; offsets and lengths are UTF-16 units.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from crocbot.sandbox.sample_files import sample_size

Content = Mapping[str, Any]
"""The part of a Message that has its text or media."""

Sent = Mapping[str, Any]
"""A whole Message of the Bot API."""

Listener = Callable[[Sent], None]
"""Is called with each Message that the bot sends or edits."""

COMMAND = re.compile(
    r"(?<![\w/<>])/[A-Za-z0-9_]{1,64}(?:@[A-Za-z0-9_]{3,32})?(?![\w/<>])"
)


@dataclass(frozen=True, slots=True)
class Person:
    """The account of a Telegram user."""

    user_id: int
    first_name: str
    username: str | None = None

    def as_user(self) -> dict[str, Any]:
        """Return the User object."""
        user = {"id": self.user_id, "is_bot": False, "first_name": self.first_name}
        return user | ({"username": self.username} if self.username else {})


@dataclass(frozen=True, slots=True)
class Chat:
    """A group, or the private chat with the person of this id."""

    chat_id: int
    title: str
    type: str = "group"
    username: str | None = field(default=None, kw_only=True)

    def as_chat(self) -> dict[str, Any]:
        """Return the Chat object."""
        name = "first_name" if self.type == "private" else "title"
        chat = {"id": self.chat_id, "type": self.type, name: self.title}
        return chat | ({"username": self.username} if self.username else {})


def private(person: Person) -> Chat:
    """Return the chat between the bot and one person."""
    name = person.first_name
    return Chat(person.user_id, name, "private", username=person.username)


def units(text: str) -> int:
    """Return the length of a text as Telegram counts it."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def text(text: str) -> Content:
    """Return a text with its commands as entities."""
    entities = [
        {
            "type": "bot_command",
            "offset": units(text[: match.start()]),
            "length": units(match.group()),
        }
        for match in COMMAND.finditer(text)
    ]
    return {"text": text} | ({"entities": entities} if entities else {})


def photo(caption: str = "") -> Content:
    """Return a photo in two sizes."""
    sizes = [_file("photo-small", 90, 60), _file("photo-large", 1280, 853)]
    return {"photo": sizes} | ({"caption": caption} if caption else {})


def reply(content: Content, to: Sent, quote: str = "") -> Content:
    """Return a content as a reply to a message, of which a part may be quoted."""
    part = {"quote": {"text": quote, "position": 0, "is_manual": True}}
    # Telegram shows only one level of replies.
    original = {name: to[name] for name in to if name != "reply_to_message"}
    return {**content, "reply_to_message": original} | (part if quote else {})


def forwarded(content: Content, person: Person, *, hidden: bool = False) -> Content:
    """Return a content that this person wrote first; a hidden one has only a name."""
    author = {"type": "user", "sender_user": person.as_user()}
    if hidden:
        author = {"type": "hidden_user", "sender_user_name": person.first_name}
    return {**content, "forward_origin": author | {"date": 1_700_000_000}}


def sticker(emoji: str = "🐊") -> Content:
    """Return a sticker."""
    kind = {"type": "regular", "is_animated": False, "is_video": False}
    return {"sticker": _file("sticker", 512, 512) | kind | {"emoji": emoji}}


def voice(
    seconds: int = 3, *, file_id: str = "voice", size: int | None = None
) -> Content:
    """Return a voice message; without `size` it has that of the sample."""
    size = sample_size("voice") if size is None else size
    sound = {"duration": seconds, "mime_type": "audio/ogg", "file_size": size}
    return {"voice": _named(file_id) | sound}


def audio(
    seconds: int = 60, *, name: str = "song.mp3", file_id: str = "audio"
) -> Content:
    """Return a piece of audio."""
    sound = {"duration": seconds, "mime_type": "audio/mpeg", "file_name": name}
    return {"audio": _named(file_id) | sound}


def video_note(seconds: int = 3, *, file_id: str = "video_note") -> Content:
    """Return a video message, which is round."""
    return {"video_note": _named(file_id) | {"duration": seconds, "length": 240}}


def video(seconds: int = 3, *, file_id: str = "video") -> Content:
    """Return a video."""
    picture = {"width": 640, "height": 480, "mime_type": "video/mp4"}
    return {"video": _named(file_id) | picture | {"duration": seconds}}


def document(
    name: str = "report.pdf",
    mime_type: str = "application/pdf",
    *,
    file_id: str = "document",
    size: int | None = None,
    caption: str = "",
    album: str | None = None,
) -> Content:
    """Return a document, as one of an album if that has an id."""
    file: dict[str, Any] = _named(file_id)
    file |= {"file_name": name, "mime_type": mime_type}
    file |= {} if size is None else {"file_size": size}
    content = {"document": file} | ({"caption": caption} if caption else {})
    return content | ({"media_group_id": album} if album else {})


def _named(file_id: str) -> dict[str, Any]:
    return {"file_id": file_id, "file_unique_id": file_id}


def _file(name: str, width: int, height: int) -> dict[str, Any]:
    size = {"width": width, "height": height, "file_size": sample_size(name)}
    return _named(name) | size
