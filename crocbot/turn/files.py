"""
The files of a message: loaded, and in the shape that the agent can use.

    Message --> Transcriber --> Message with words           a recording, spoken
            --> Client.download --> File, Image, or words    as the agent accepts them
            --> a note for the agent, a sentence for the person

So are those of the message that it replies to, about which there is no sentence.
Access was decided before: no file of a stranger is loaded.  What a file is follows from
its content, never from what its sender calls it.

Over all turns the files in memory have at most MIN_BUDGET_BYTES, or those of one turn
if these are more: a turn waits until there is space for all of its files, and keeps it
until its answer ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from crocbot import log
from crocbot.agents import Accepts
from crocbot.backoff import Backoff
from crocbot.content import (
    FILE_TYPES,
    IMAGE_TYPES,
    SPOKEN_TYPES,
    Attachment,
    File,
    Image,
)
from crocbot.errors import (
    DeliveryError,
    FileTooLargeError,
    FloodWaitError,
    TelegramError,
    TranscriptionError,
)
from crocbot.events import EventListener, FileEvent
from crocbot.model import Message, Sleep
from crocbot.sniff import mime_type, signature, text_beginning
from crocbot.text import is_visible
from crocbot.transcription import Transcriber
from crocbot.turn.byte_budget import ByteBudget
from crocbot.turn.messages import NOTHING_SPOKEN, file_sentence
from crocbot.turn_outcomes import FileDirection, FileOutcome

if TYPE_CHECKING:
    from crocbot.botapi import Client

MAX_FILES = 10
MAX_DOCUMENT_CHARS = 40_000
MIN_BUDGET_BYTES = 64 * 1024 * 1024
MAX_LOAD_TRIES = 3
# Messages whose files are loaded at a time: fewer than the connections to Telegram,
# which replies, and /stop, need as well.
MAX_LOADING = 16
# For all files of a message; longer would keep the chat's next message waiting.
MAX_LOAD_SECONDS = 120.0
MAX_PAUSE_SECONDS = 30.0
# Telegram makes or checks these; a recording may have a format without a signature.
STANDARD_TYPES = {
    "animation": "video/mp4",
    "audio": "audio/mpeg",
    "photo": "image/jpeg",
    "sticker": "image/webp",
    "video": "video/mp4",
    "video_note": "video/mp4",
    "voice": "audio/ogg",
}
NOTES = {
    FileOutcome.TOO_LARGE: "not loaded, it is too large",
    FileOutcome.EXCESS: "not loaded, there are too many files",
    FileOutcome.UNSUPPORTED: "its content cannot be read",
    FileOutcome.FAILED: "it could not be loaded",
}
SPOKEN_NOTE = "spoken, its words are above"
SILENT_NOTE = "nothing is said in it"
NOT_TRANSCRIBED_NOTE = "it could not be turned into words"
CUT_NOTE = "[only the first {} characters]"

logger = log.logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedMessage:
    """
    A message whose files are loaded.

    `sentence` is what the person is told about files that the agent does not get, None
    if there are none.
    """

    message: Message
    images: tuple[Image, ...] = ()
    files: tuple[File, ...] = ()
    sentence: str | None = None

    @property
    def has_content(self) -> bool:
        """Return whether anything is left that the agent can answer."""
        message = self.message
        return (
            is_visible(message.text)
            or message.command is not None
            or any(each.note is None for each in message.attachments)
        )


class FileLoader:
    """
    Loads the files of messages; shared by all turns.

    No file has more than `max_bytes`; with 0 none is loaded.  Without `transcriber` no
    recording is turned into words.
    """

    def __init__(
        self,
        *,
        client: Client,
        events: EventListener,
        max_bytes: int,
        transcriber: Transcriber | None = None,
        redactor: log.Redactor | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._client = client
        self._events = events
        self._max_bytes = max_bytes
        self._transcriber = transcriber
        self._redactor = redactor or log.Redactor(())
        self._sleep = sleep
        self._loading = asyncio.Semaphore(MAX_LOADING)
        self._budget = ByteBudget(max(MIN_BUDGET_BYTES, MAX_FILES * max_bytes))

    @asynccontextmanager
    async def loaded(
        self, message: Message, accepts: Accepts
    ) -> AsyncIterator[LoadedMessage]:
        """
        Load what the agent accepts.  Raise TranscriptionError.

        The bytes are kept in the budget until the block ends.
        """
        if not self._max_bytes:
            yield LoadedMessage(message=message)
            return
        turn = _Turn(message, accepts, self._max_bytes)
        if self._transcriber is not None:
            await self._transcribe_all(turn, self._transcriber)
        chosen = self._choose(turn)
        size = sum(self._expected(turn.attachments[index]) for index in chosen)
        async with self._budget.reserve(size):
            if chosen:
                await self._load_all(turn, chosen)
            yield turn.result()

    async def _load_all(self, turn: _Turn, chosen: Sequence[int]) -> None:
        async with self._loading:
            deadline = _deadline()
            for index in chosen:
                outcome = await self._load(turn, index, deadline)
                self._count(outcome)
                if outcome is not FileOutcome.OK:
                    turn.refuse(index, outcome)

    async def _transcribe_all(self, turn: _Turn, transcriber: Transcriber) -> None:
        """Turn the recordings of a message into words."""
        recordings = [
            index
            for index, each in enumerate(turn.attachments)
            if turn.is_spoken(index, each)
        ]
        for index in recordings[:MAX_FILES]:
            attachment = turn.attachments[index]
            async with self._budget.reserve(self._expected(attachment)):
                async with self._loading:
                    content = await self._download(attachment, _deadline())
                if isinstance(content, FileOutcome):
                    self._count(content)
                    turn.refuse(index, content)
                    continue
                self._count(FileOutcome.OK)
                try:
                    words = await transcriber.transcribe(_file(attachment, content))
                except TranscriptionError as error:
                    if turn.is_own(index):
                        raise
                    logger.warning("a quoted recording has no words", error=str(error))
                    turn.note(index, NOT_TRANSCRIBED_NOTE)
                    continue
            turn.speak(index, self._redactor.redact(words).strip())

    def _choose(self, turn: _Turn) -> list[int]:
        """Return which attachments to load; refuse those that the agent cannot use."""
        chosen: list[int] = []
        for index, each in enumerate(turn.attachments):
            if not turn.is_wanted(each):
                continue
            outcome = None
            if turn.is_useless(each):
                outcome = FileOutcome.UNSUPPORTED
            elif (each.size or 0) > self._max_bytes:
                outcome = FileOutcome.TOO_LARGE
            elif len(chosen) >= MAX_FILES:
                outcome = FileOutcome.EXCESS
            if outcome is None:
                chosen.append(index)
            else:
                self._count(outcome)
                turn.refuse(index, outcome)
        return chosen

    async def _load(self, turn: _Turn, index: int, deadline: float) -> FileOutcome:
        """Load one attachment and give it to the turn; return what became of it."""
        attachment = turn.attachments[index]
        content = await self._download(attachment, deadline)
        if isinstance(content, FileOutcome):
            return content
        taken = turn.take(index, _file(attachment, content))
        return FileOutcome.OK if taken else FileOutcome.UNSUPPORTED

    async def _download(
        self, attachment: Attachment, deadline: float
    ) -> bytes | FileOutcome:
        """Return the content of a file, or why there is none."""
        if (attachment.size or 0) > self._max_bytes:
            return FileOutcome.TOO_LARGE
        reason = f"it did not arrive within {MAX_LOAD_SECONDS:g} s"
        try:
            async with asyncio.timeout_at(deadline):
                return await self._with_retries(attachment.file_id or "")
        except FileTooLargeError:
            return FileOutcome.TOO_LARGE
        except (DeliveryError, TelegramError, FloodWaitError) as error:
            reason = str(error)
        except TimeoutError:
            pass
        logger.warning("file not loaded", error=reason)
        return FileOutcome.FAILED

    async def _with_retries(self, file_id: str) -> bytes:
        """Download a file; raise what the last try raised."""
        backoff = Backoff(first=0.5, factor=2.0)
        while True:
            try:
                return await self._client.download(file_id, self._max_bytes)
            except (TelegramError, FloodWaitError) as error:
                pause = backoff.next_pause()
                if isinstance(error, FloodWaitError):
                    pause = error.seconds
                if backoff.failures >= MAX_LOAD_TRIES or pause > MAX_PAUSE_SECONDS:
                    raise
            await self._sleep(pause)

    def _count(self, outcome: FileOutcome) -> None:
        self._events.emit(FileEvent(FileDirection.IN, outcome))

    def _expected(self, attachment: Attachment) -> int:
        """Return how many bytes a file has, at most."""
        size = attachment.size or 0
        return size if 0 < size < self._max_bytes else self._max_bytes


class _Turn:
    """
    What has been loaded for one message, for an agent that accepts this.

    `attachments` are its own, and then those of the message that it replies to.
    """

    def __init__(self, message: Message, accepts: Accepts, max_bytes: int) -> None:
        quoted = message.context.quoted
        self._own = len(message.attachments)
        self.attachments = [
            *message.attachments,
            *(quoted.attachments if quoted is not None else ()),
        ]
        self._message = message
        self._accepts = accepts
        self._max_bytes = max_bytes
        self._images: list[Image] = []
        self._files: list[File] = []
        self._sentences: list[str] = []
        self._spoken: list[str] = []
        self._chars_left = MAX_DOCUMENT_CHARS

    def is_own(self, index: int) -> bool:
        """Return whether an attachment is of the message itself."""
        return index < self._own

    def is_spoken(self, index: int, attachment: Attachment) -> bool:
        """Return whether it is a recording whose words are wanted."""
        is_recording = attachment.type in SPOKEN_TYPES and bool(attachment.file_id)
        is_recording &= attachment.note is None and attachment.words is None
        return is_recording and (self.is_own(index) or bool(self._accepts))

    def is_wanted(self, attachment: Attachment) -> bool:
        """Return whether it is a file that the agent may want, and not words yet."""
        is_file = attachment.type in FILE_TYPES or attachment.is_image
        if attachment.type == "animation" and Accepts.FILES not in self._accepts:
            # Like a moving sticker, which a description is enough for.
            return False
        is_open = attachment.note is None and attachment.words is None
        return bool(self._accepts) and is_file and is_open and bool(attachment.file_id)

    def is_useless(self, attachment: Attachment) -> bool:
        """Return whether the agent can use no file of this type, whatever is in it."""
        if Accepts.FILES in self._accepts:
            return False
        return attachment.type != "document" and not attachment.is_image

    def take(self, index: int, file: File) -> bool:
        """Take a file in the shape that the agent accepts; return whether it can."""
        if Accepts.IMAGES in self._accepts and file.mime_type in IMAGE_TYPES:
            self._images.append(Image(file.mime_type, file.content))
            return True
        if Accepts.FILES in self._accepts:
            self._files.append(replace(file, quoted=not self.is_own(index)))
            return True
        return Accepts.WORDS in self._accepts and self._quote(index, file.content)

    def refuse(self, index: int, outcome: FileOutcome) -> None:
        """Note why the agent does not get a file."""
        self.note(index, NOTES[outcome])
        if self.is_own(index):
            self._sentences.append(
                file_sentence(outcome, max_bytes=self._max_bytes, max_files=MAX_FILES)
            )

    def speak(self, index: int, words: str) -> None:
        """Take the words of a recording: the text of the message, if it is its own."""
        if not self.is_own(index):
            self.attachments[index] = replace(self.attachments[index], words=words)
        elif words:
            self._spoken.append(words)
            self.note(index, SPOKEN_NOTE)
        else:
            self._sentences.append(NOTHING_SPOKEN)
            self.note(index, SILENT_NOTE)

    def note(self, index: int, note: str) -> None:
        """Add a note to an attachment."""
        self.attachments[index] = replace(self.attachments[index], note=note)

    def result(self) -> LoadedMessage:
        """Return the message with all that was loaded."""
        message, quoted = self._message, self._message.context.quoted
        if quoted is not None:
            quoted = replace(quoted, attachments=tuple(self.attachments[self._own :]))
        message = replace(
            message,
            text="\n".join(filter(None, [message.text, *self._spoken])),
            attachments=tuple(self.attachments[: self._own]),
            context=replace(message.context, quoted=quoted),
            spoken=message.spoken or bool(self._spoken),
        )
        return LoadedMessage(
            message=message,
            images=tuple(self._images),
            files=tuple(self._files),
            sentence="\n".join(dict.fromkeys(self._sentences)) or None,
        )

    def _quote(self, index: int, content: bytes) -> bool:
        """Take the words of a document, up to a bound for the whole message."""
        beginning = text_beginning(content, self._chars_left)
        if beginning is None:
            return False
        words = beginning.text
        if not beginning.complete:
            words = f"{words}\n{CUT_NOTE.format(len(words))}"
        self._chars_left -= len(beginning.text)
        self.attachments[index] = replace(self.attachments[index], words=words)
        return True


def _deadline() -> float:
    return asyncio.get_running_loop().time() + MAX_LOAD_SECONDS


def _file(attachment: Attachment, content: bytes) -> File:
    declared = attachment.mime_type
    if (standard := STANDARD_TYPES.get(attachment.type)) is not None:
        found = signature(content) or declared or standard
    else:
        found = mime_type(content, declared)
    return File(
        type=attachment.type,
        mime_type=found,
        content=content,
        name=attachment.name,
        duration=attachment.duration,
    )
