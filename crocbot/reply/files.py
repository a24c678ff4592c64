"""
One file of a reply to Telegram: as what it is, else as a document, else in words.

    photo --> refused (400, 413) --> document --> refused --> "a.png could not be sent."

A topic, a quote or buttons that Telegram refuses are left out, as with a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from crocbot.delivery_outcomes import DeliveryIssue
from crocbot.errors import Refusal
from crocbot.model import ChatThread, MessagePart, Reply
from crocbot.outgoing import MAX_CAPTION_UNITS, Buttons, FileKind, OutgoingFile
from crocbot.reply.split import split


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMessage:
    """A file to send in a chat or topic; `quote` is the message that it quotes."""

    chat: ChatThread
    quote: int | None
    kind: FileKind
    caption: MessagePart

    @property
    def is_document(self) -> bool:
        """Return whether it is sent as a document."""
        return self.kind is FileKind.DOCUMENT

    def simpler(self, refusal: Refusal) -> Sequence[FileMessage]:
        """Return what to send instead, the one with the fewest changes first."""
        no_thread = replace(self, chat=ChatThread(self.chat.chat_id))
        no_quote = replace(self, quote=None)
        plain = replace(self, caption=replace(self.caption, entities=()))
        no_buttons = replace(self, caption=replace(self.caption, buttons=()))
        document = replace(self, kind=FileKind.DOCUMENT)
        messages: tuple[FileMessage, ...]
        match refusal:
            case Refusal.THREAD:
                messages = (no_thread, replace(no_thread, quote=None))
            case Refusal.QUOTE | Refusal.MESSAGE:
                messages = (no_quote,)
            case Refusal.FORMATTING:
                messages = (plain, document)
            case Refusal.BUTTONS:
                messages = (no_buttons,)
            case Refusal.LENGTH | Refusal.FILE:
                messages = (document,)
            case Refusal.OTHER:
                bare = replace(
                    document,
                    chat=no_thread.chat,
                    quote=None,
                    caption=MessagePart(self.caption.text),
                )
                messages = (document, bare)
        return [each for each in messages if each != self]

    def issues(self, intended: FileMessage) -> list[DeliveryIssue]:
        """Return what this one lacks of the intended one, besides its kind."""
        lacks = {
            DeliveryIssue.WITHOUT_THREAD: self.chat != intended.chat,
            DeliveryIssue.WITHOUT_QUOTE: self.quote != intended.quote,
            DeliveryIssue.WITHOUT_BUTTONS: self.caption.buttons
            != intended.caption.buttons,
            DeliveryIssue.PLAIN_TEXT: self.caption.entities
            != intended.caption.entities,
        }
        return [issue for issue, is_lacking in lacks.items() if is_lacking]


def caption(file: OutgoingFile, buttons: Buttons, *, markdown: bool) -> MessagePart:
    """Return the caption of a file, formatted if it fits, and the buttons below it."""
    parts = split(Reply(file.caption, markdown), MAX_CAPTION_UNITS)
    if len(parts) > 1:
        # With its formatting it is longer than in Markdown.
        parts = split(Reply(file.caption), MAX_CAPTION_UNITS)
    part = parts[0] if parts else MessagePart("")
    return replace(part, buttons=buttons)
