"""
The files of a reply to Telegram, one after the other.

A file that Telegram refuses in every form is replaced by a sentence, so that the person
knows of it.  Each file is a step of the reply.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from crocbot import log
from crocbot.delivery_outcomes import DeliveryIssue
from crocbot.errors import (
    ChatGoneError,
    DeliveryError,
    GaveUpError,
    Refusal,
    StoreError,
)
from crocbot.events import FileEvent
from crocbot.model import MessagePart, Reply
from crocbot.outgoing import Buttons, FileKind, FileUpload, OutgoingFile
from crocbot.reply.files import FileMessage, caption
from crocbot.turn_outcomes import FileDirection, FileOutcome

if TYPE_CHECKING:
    from crocbot.reply.delivery import ReplyProgress
    from crocbot.reply.steps import ReplySteps

NOT_SENT = "(The file {name} could not be sent.)"

logger = log.logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDelivery:
    """Sends the files of one reply, which has been kept."""

    progress: ReplyProgress
    steps: ReplySteps
    reply: Reply

    async def deliver(self) -> None:
        """Send the files that are not sent yet.  Raise DeliveryError."""
        for position in range(self.steps.files, len(self.reply.files)):
            await self.progress.begin_step()
            outcome = await self._deliver(position)
            await self.progress.end_step(file=True)
            event = FileEvent(FileDirection.OUT, outcome)
            self.progress.delivery.events.emit(event)

    async def _deliver(self, position: int) -> FileOutcome:
        file = self.reply.files[position]
        is_first = position == 0 and not self.progress.messages
        intended = FileMessage(
            chat=self.progress.chat,
            quote=self.progress.quote if is_first else None,
            kind=file.kind,
            caption=caption(
                file, self._buttons(position), markdown=self.reply.markdown
            ),
        )
        try:
            sent = await self._send_simplified(position, intended)
        except (ChatGoneError, GaveUpError):
            raise
        except (DeliveryError, StoreError) as error:
            logger.warning("file of an answer not sent", error=str(error))
            await self._send_sentence(file, intended)
            return FileOutcome.FAILED
        for issue in sent.issues(intended):
            self.progress.report(issue)
        self.progress.chat = sent.chat
        if sent.is_document and (file.wanted or file.kind) is not FileKind.DOCUMENT:
            self.progress.report(DeliveryIssue.AS_DOCUMENT)
        return FileOutcome.OK

    def _buttons(self, position: int) -> Buttons:
        """Return the buttons below a file: those of a reply without a text."""
        is_last = position == len(self.reply.files) - 1
        has_text = bool(self.progress.messages)
        return self.reply.buttons if is_last and not has_text else ()

    async def _send_simplified(
        self, position: int, intended: FileMessage
    ) -> FileMessage:
        """Send a file, without what is refused; return what was sent."""
        waiting, tried = deque([intended]), {intended}
        refused: DeliveryError | None = None
        while waiting:
            message = waiting.popleft()
            try:
                await self.progress.with_retries(partial(self._send, position, message))
                return message
            except (ChatGoneError, GaveUpError):
                raise
            except DeliveryError as error:
                if refused is None or error.refusal is not Refusal.OTHER:
                    new = [m for m in message.simpler(error.refusal) if m not in tried]
                    waiting.extendleft(reversed(new))
                    tried.update(new)
                refused = refused or error
        assert refused is not None
        raise refused

    async def _send(self, position: int, message: FileMessage) -> None:
        """Send a file once; a bounded number of them is in memory at a time."""
        file = self.reply.files[position]
        delivery = self.progress.delivery
        async with delivery.uploads:
            upload = FileUpload(
                kind=message.kind,
                name=file.name,
                mime_type=file.mime_type,
                content=await self.steps.content(position),
            )
            await delivery.client.send_file(
                message.chat, upload, message.caption, message.quote
            )

    async def _send_sentence(self, file: OutgoingFile, intended: FileMessage) -> None:
        """Send a sentence, and the caption, in place of a file."""
        text = NOT_SENT.format(name=file.name)
        if intended.caption.text:
            text = f"{intended.caption.text}\n\n{text}"
        part = MessagePart(text, buttons=intended.caption.buttons)
        await self.progress.with_retries(
            lambda: self.progress.send_part(part, quotes=intended.quote is not None)
        )
