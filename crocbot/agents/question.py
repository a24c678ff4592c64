"""
The question that the agent `python` gives to its function: a part of the public API.

    async def answer(question: Question) -> AsyncIterator[str]:
        yield f"You said: {question.message}"

The fields have the names and meanings of the JSON that the agent `http` gets, with
bytes in place of base64.  Fields are only ever added, with a default.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from crocbot.file_names import safe_name, suffix

NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
PRIVATE_FILE = 0o600


@dataclass(frozen=True, slots=True)
class HistoryMessage:
    """An earlier message of the chat, by the person (`user`) or by the bot."""

    role: Literal["user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionImage:
    """An image of the message; `mime_type` is that of its content."""

    mime_type: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionFile:
    """
    A file of the message.

    `kind` is Telegram's word for it, `mime_type` that of its content, `duration` the
    length of a recording in seconds.  The sender chose `name`: never use it as a path,
    `save` makes a safe one.  `quoted` means that it is of the message replied to.
    """

    kind: str
    mime_type: str
    content: bytes = field(repr=False)
    name: str | None = None
    duration: float | None = None
    quoted: bool = False

    @property
    def size(self) -> int:
        """Return the number of its bytes."""
        return len(self.content)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write it to a new file in a folder; return the path.  Raise OSError."""
        number = 1
        while True:
            name = safe_name(number, self.name, suffix(self.mime_type))
            path = Path(folder) / name
            try:
                descriptor = os.open(path, NEW_FILE, PRIVATE_FILE)
            except FileExistsError:
                number += 1
                continue
            with os.fdopen(descriptor, "wb") as file:
                file.write(self.content)
            return path


@dataclass(frozen=True, slots=True, kw_only=True)
class Medium:
    """What is known of an attachment, also of one that is not in the question."""

    kind: str
    description: str
    name: str | None = None
    mime_type: str | None = None
    size: int | None = None
    duration: float | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class TextLink:
    """A part of a text, and the address behind it, which the text does not show."""

    text: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyTo:
    """
    The message that this one replies to; other people may have written its texts.

    `own` means that the bot wrote it, `quote` is the part that the sender chose.
    """

    message_id: int | None = None
    author: str | None = None
    own: bool = False
    text: str = ""
    quote: str = ""
    media: tuple[Medium, ...] = ()
    links: tuple[TextLink, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """The first author of a forwarded message; `date` is Unix time."""

    kind: str
    name: str | None = None
    date: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PressedButton:
    """The button under a message of the bot that was pressed."""

    data: str
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """
    One message to the bot, with what it comes with.

    `message` is the sender's text, with a description of each attachment; of a pressed
    button it is the button's data.  `prompt` is the same with what it replies to, in
    words, for a model.  `chat` is the id of the chat, and of the forum topic after a
    colon.  `command` is the word after the slash.  `history` has the oldest message
    first.  `edited` means that it is the new version of a message that was asked
    before, `spoken` that a recording was turned into its text.
    """

    message: str
    prompt: str
    chat: str
    sender_id: int | None = None
    sender_name: str | None = None
    message_id: int = 0
    update_id: int = 0
    command: str | None = None
    history: tuple[HistoryMessage, ...] = ()
    system_prompt: str | None = None
    images: tuple[QuestionImage, ...] = ()
    files: tuple[QuestionFile, ...] = ()
    media: tuple[Medium, ...] = ()
    reply_to: ReplyTo | None = None
    forward: Forward | None = None
    links: tuple[TextLink, ...] = ()
    button: PressedButton | None = None
    edited: bool = False
    spoken: bool = False

    @property
    def messages(self) -> list[dict[str, str]]:
        """Return system prompt, history and `prompt` as OpenAI's chat messages."""
        system = [] if self.system_prompt is None else [("system", self.system_prompt)]
        history = [(each.role, each.content) for each in self.history]
        return [
            {"role": role, "content": content}
            for role, content in (*system, *history, ("user", self.prompt))
        ]
