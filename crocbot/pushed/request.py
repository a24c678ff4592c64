"""
A request to push a message, checked: the same rules for the command and for the door.

    chat "-1001234:5", text "**done**"      --> PushedMessage
    chat "@channel"                         --> RequestError, one sentence

A text that fits below a file is its caption; a longer one comes before it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from crocbot import sniff
from crocbot.chat_ids import parse_chat
from crocbot.errors import CrocbotError
from crocbot.file_kinds import kind_of, shown_name
from crocbot.model import ChatThread, Reply
from crocbot.outgoing import MAX_CAPTION_UNITS, MAX_FILE_BYTES, OutgoingFile
from crocbot.text import is_visible, replace_lone_surrogates, utf16_length

MAX_TEXT_BYTES = 64 * 1024


class RequestError(CrocbotError):
    """A message cannot be pushed as it is; the text is one sentence."""


class TooLargeError(RequestError):
    """A text or file has more bytes than a message may have."""


class PushedFullError(CrocbotError):
    """Too many messages wait to be sent; some have to be sent first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFile:
    """The content of a file to push, and its name."""

    name: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedMessage:
    """A message to push; `content` is that of the one file that `reply` may have."""

    chat: ChatThread
    reply: Reply
    content: bytes | None = field(default=None, repr=False)

    @property
    def size(self) -> int:
        """Return how many bytes it takes until it is sent."""
        texts = [self.reply.text, *(file.caption for file in self.reply.files)]
        return sum(len(text.encode()) for text in texts) + len(self.content or b"")


def new_message(
    chat: object, text: object, *, file: NewFile | None = None, markdown: bool = True
) -> PushedMessage:
    """Return the message of a request.  Raise RequestError."""
    if not isinstance(text, str):
        raise RequestError("the text must be a string")
    text = replace_lone_surrogates(text)
    if len(text.encode()) > MAX_TEXT_BYTES:
        raise TooLargeError(
            f"the text has more than {MAX_TEXT_BYTES} bytes: send it as a file"
        )
    if file is None and not is_visible(text):
        raise RequestError("the text has no visible character")
    place = _chat(chat)
    if file is None:
        return PushedMessage(chat=place, reply=Reply(text, markdown))
    outgoing = _outgoing(file, text if is_visible(text) else "")
    rest = "" if outgoing.caption else text
    reply = Reply(rest if is_visible(rest) else "", markdown, files=(outgoing,))
    return PushedMessage(chat=place, reply=reply, content=file.content)


def _chat(chat: object) -> ChatThread:
    try:
        return parse_chat(chat)
    except ValueError as error:
        raise RequestError(f"the chat {error}") from error


def _outgoing(file: NewFile, text: str) -> OutgoingFile:
    if not file.content:
        raise RequestError("the file is empty")
    if len(file.content) > MAX_FILE_BYTES:
        raise TooLargeError(f"the file has more than {MAX_FILE_BYTES} bytes")
    found = sniff.mime_type(file.content)
    return OutgoingFile(
        kind=kind_of(file.content, found, None),
        name=shown_name(file.name, found),
        mime_type=found,
        size=len(file.content),
        caption=text if utf16_length(text) <= MAX_CAPTION_UNITS else "",
    )
