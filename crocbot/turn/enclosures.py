"""
The files and buttons of one answer: checked, and kept until they are delivered.

    AgentFile --> bytes (fetched, if it has an address) --> kind, name --> the inbox
                   |
                   '-- too many, too large, not allowed: one sentence, and FileEvent

A file is on disk as soon as it is here, so that a long answer does not fill the memory.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from crocbot import log, sniff
from crocbot.delivery_outcomes import ButtonOutcome
from crocbot.errors import StoreError
from crocbot.events import ButtonsEvent, EventListener, FileEvent
from crocbot.fetch import Fetcher, FetchError, TooLongError
from crocbot.file_kinds import kind_of, shown_name
from crocbot.outgoing import (
    MAX_CAPTION_UNITS,
    MAX_FILES,
    AgentButtons,
    AgentFile,
    Buttons,
    Enclosures,
    OutgoingFile,
)
from crocbot.text import utf16_length
from crocbot.turn.buttons import read_buttons
from crocbot.turn.messages import missing_enclosures
from crocbot.turn_outcomes import FileDirection, FileOutcome

# For all files of an answer, which waits for them.
MAX_FETCH_SECONDS = 60.0

logger = log.logger(__name__)


class FileKeeper(Protocol):
    """Keeps the files of answers on disk; the inbox has one."""

    async def add_file(
        self, update_id: int, position: int, file: OutgoingFile, content: bytes
    ) -> None:
        """Keep a file of an answer, the first of which replaces all earlier ones."""


class _RefusedError(Exception):
    """A file cannot be sent; `outcome` is how that is counted."""

    def __init__(self, reason: str, outcome: FileOutcome) -> None:
        super().__init__(reason)
        self.outcome = outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class EnclosureReaders:
    """
    Makes a reader for each answer.

    The files of one answer have at most `max_bytes` together.
    """

    keeper: FileKeeper
    fetcher: Fetcher
    events: EventListener
    redactor: log.Redactor
    max_bytes: int

    def reader(self, update_id: int) -> EnclosureReader:
        """Return a reader for the answer to an update."""
        return EnclosureReader(rules=self, update_id=update_id)


@dataclass(slots=True, kw_only=True)
class EnclosureReader:
    """Takes the files and buttons of the answer to one update: an EnclosureSink."""

    rules: EnclosureReaders
    update_id: int
    _files: list[OutgoingFile] = field(default_factory=list, init=False)
    _more: list[str] = field(default_factory=list, init=False)
    _bytes: int = field(default=0, init=False)
    _fetched_seconds: float = field(default=0.0, init=False)
    _buttons: Buttons = field(default=(), init=False)
    _refused_files: int = field(default=0, init=False)
    _refused_buttons: int = field(default=0, init=False)

    async def add(self, enclosure: AgentFile | AgentButtons) -> None:
        """Take a file or buttons, or count why it cannot be sent."""
        if isinstance(enclosure, AgentButtons):
            read = read_buttons(enclosure.rows, self.rules.redactor)
            self._buttons, self._refused_buttons = read.rows, read.refused
            return
        try:
            await self._add_file(enclosure)
        except _RefusedError as error:
            self._refused_files += 1
            logger.warning(
                "file of an answer left out", update=self.update_id, reason=str(error)
            )
            self.rules.events.emit(FileEvent(FileDirection.OUT, error.outcome))
            if enclosure.caption:
                # Words of the answer are never lost.
                self._more.append(enclosure.caption)

    def result(self) -> Enclosures:
        """Return what is sent besides the text."""
        if self._refused_buttons:
            refused = ButtonsEvent(ButtonOutcome.REFUSED, self._refused_buttons)
            self.rules.events.emit(refused)
        notice = missing_enclosures(self._refused_files, self._refused_buttons)
        return Enclosures(
            files=tuple(self._files),
            buttons=self._buttons,
            more_text="\n\n".join(filter(None, [*self._more, notice])),
        )

    @property
    def descriptions(self) -> str:
        """Return the files in words, one a line, for the history of the chat."""
        return "\n".join(file.description for file in self._files)

    async def _add_file(self, file: AgentFile) -> None:
        left = self.rules.max_bytes - self._bytes
        if left <= 0:
            raise _RefusedError("the answer has no bytes left", FileOutcome.TOO_LARGE)
        if len(self._files) >= MAX_FILES:
            text = f"an answer has at most {MAX_FILES} files"
            raise _RefusedError(text, FileOutcome.EXCESS)
        content, name = await self._content(file)
        if len(content) > left:
            text = (
                f"the files of the answer have more than {self.rules.max_bytes} bytes"
            )
            raise _RefusedError(text, FileOutcome.TOO_LARGE)
        if not content:
            raise _RefusedError("it is empty", FileOutcome.UNSUPPORTED)
        found = sniff.mime_type(content)
        caption = file.caption.strip()
        if utf16_length(caption) > MAX_CAPTION_UNITS:
            self._more.append(caption)
            caption = ""
        outgoing = OutgoingFile(
            kind=kind_of(content, found, file.kind),
            name=shown_name(name, found),
            mime_type=found,
            size=len(content),
            caption=caption,
            wanted=file.kind,
        )
        try:
            await self.rules.keeper.add_file(
                self.update_id, len(self._files), outgoing, content
            )
        except StoreError as error:
            text = f"it cannot be kept: {error}"
            raise _RefusedError(text, FileOutcome.FAILED) from error
        self._files.append(outgoing)
        self._bytes += len(content)

    async def _content(self, file: AgentFile) -> tuple[bytes, str]:
        """Return the content of a file, fetched if it has an address, and its name."""
        if file.content is not None:
            return file.content, file.name
        if file.url is None:
            outcome = (
                FileOutcome.TOO_LARGE if file.too_large else FileOutcome.UNSUPPORTED
            )
            raise _RefusedError(file.problem or "it has no content", outcome)
        clock = asyncio.get_running_loop().time
        began, left = clock(), self.rules.max_bytes - self._bytes
        try:
            fetched = await self.rules.fetcher.fetch(
                file.url, left, max(0.0, MAX_FETCH_SECONDS - self._fetched_seconds)
            )
        except TooLongError as error:
            raise _RefusedError(str(error), FileOutcome.TOO_LARGE) from error
        except FetchError as error:
            raise _RefusedError(str(error), FileOutcome.UNSUPPORTED) from error
        finally:
            self._fetched_seconds += clock() - began
        return fetched.content, file.name or self.rules.redactor.redact(fetched.name)
