"""Files and buttons of an answer: what is kept, what is left out, and what is said."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from crocbot import log
from crocbot.errors import StoreError
from crocbot.events import ButtonsEvent, FileEvent
from crocbot.fetch import FetchedFile, FetchError, TooLongError
from crocbot.outgoing import (
    MAX_CAPTION_UNITS,
    MAX_FILES,
    AgentButtons,
    AgentFile,
    FileKind,
    OutgoingFile,
)
from crocbot.turn import EnclosureReaders, enclosures
from crocbot.turn.enclosures import EnclosureReader
from crocbot.turn_outcomes import FileOutcome as Outcome
from tests.crocbot.answer_files import PDF, png
from tests.crocbot.fakes import RecordedEvents

SECRET = "a-secret-of-the-operator"


class FakeHost:
    """A Fetcher with these results, and a FileKeeper that keeps what it gets."""

    def __init__(self, *results: FetchedFile | Exception) -> None:
        self.results = list(results)
        self.asked: list[tuple[str, int, float]] = []
        self.kept: list[tuple[int, int, OutgoingFile, bytes]] = []
        self.full = False
        self.events = RecordedEvents()

    async def fetch(self, url: str, max_bytes: int, max_seconds: float) -> FetchedFile:
        self.asked.append((url, max_bytes, max_seconds))
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    async def add_file(
        self, update_id: int, position: int, file: OutgoingFile, content: bytes
    ) -> None:
        if self.full:
            raise StoreError("the disk is full")
        self.kept.append((update_id, position, file, content))

    def reader(self, max_bytes: int = 1000) -> EnclosureReader:
        """Return a reader for the answer to update 7."""
        return EnclosureReaders(
            keeper=self,
            fetcher=self,  # type: ignore[arg-type]
            events=self.events,
            redactor=log.Redactor([SECRET]),
            max_bytes=max_bytes,
        ).reader(7)

    @property
    def outcomes(self) -> list[Outcome]:
        """Return how files that are left out were counted."""
        return [event.outcome for event in self.events.of_type(FileEvent)]


async def test_files_and_buttons() -> None:
    """What can be sent is kept in its order; the history has it in words."""
    host = FakeHost(FetchedFile(PDF, "b.pdf"))
    reader = host.reader()
    await reader.add(AgentFile(content=png(), name="a.png", caption=" A "))
    await reader.add(AgentFile(url="https://a.example/b.pdf", kind=FileKind.PHOTO))
    await reader.add(AgentButtons(rows=[[{"text": "old", "data": "old"}]]))
    await reader.add(AgentButtons(rows=[[{"text": SECRET, "data": SECRET}]]))
    result = reader.result()

    assert [(u, n, c) for u, n, _, c in host.kept] == [(7, 0, png()), (7, 1, PDF)]
    assert tuple(file for _, _, file, _ in host.kept) == result.files
    assert [(f.kind, f.name, f.caption) for f in result.files] == [
        (FileKind.PHOTO, "a.png", "A"),
        (FileKind.DOCUMENT, "b.pdf", ""),
    ]
    ((button,),) = result.buttons
    assert (button.text, button.data) == ("[redacted]", "[redacted]")
    assert result.more_text == ""
    assert reader.descriptions == "[photo a.png, A]\n[document b.pdf]"
    assert host.events == []


@pytest.mark.parametrize(
    ("file", "outcome"),
    [
        (AgentFile(problem="it is a link"), Outcome.UNSUPPORTED),
        (AgentFile(problem="large", too_large=True), Outcome.TOO_LARGE),
        (AgentFile(content=bytes(1001)), Outcome.TOO_LARGE),
        (AgentFile(content=b""), Outcome.UNSUPPORTED),
        (AgentFile(url="https://a.example/no"), Outcome.UNSUPPORTED),
        (AgentFile(url="https://a.example/large"), Outcome.TOO_LARGE),
    ],
)
async def test_a_file_that_is_left_out(file: AgentFile, outcome: Outcome) -> None:
    """It is counted and one sentence says so; its caption is not lost."""
    is_large = (file.url or "").endswith("large")
    host = FakeHost(TooLongError("large") if is_large else FetchError("no"))
    reader = host.reader()
    await reader.add(AgentFile(**_fields(file), caption="The caption."))
    result = reader.result()

    assert (result.files, host.kept, host.outcomes) == ((), [], [outcome])
    assert result.more_text == (
        "The caption.\n\n(1 file of this answer could not be sent.)"
    )


def _fields(file: AgentFile) -> dict[str, Any]:
    names = ("content", "url", "problem", "too_large")
    return {name: getattr(file, name) for name in names}


async def test_bounds() -> None:
    """Number and bytes of all files of an answer are bounded."""
    host = FakeHost()
    reader = host.reader(max_bytes=MAX_FILES)
    for _ in range(MAX_FILES + 1):
        await reader.add(AgentFile(content=b"x"))
    few = host.reader(max_bytes=10**6)
    for _ in range(MAX_FILES + 1):
        await few.add(AgentFile(content=b"x"))

    assert len(reader.result().files) == len(few.result().files) == MAX_FILES
    assert host.outcomes == [Outcome.TOO_LARGE, Outcome.EXCESS]


async def test_nothing_is_fetched_beyond_the_bytes() -> None:
    """Without bytes left, or with 0 of them, no request is made."""
    host = FakeHost()
    reader = host.reader(max_bytes=0)
    await reader.add(AgentFile(url="https://a.example/a"))

    assert (host.asked, host.outcomes) == ([], [Outcome.TOO_LARGE])


async def test_slow_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """All files of an answer share the time to fetch them."""
    monkeypatch.setattr(enclosures, "MAX_FETCH_SECONDS", 0.05)
    host = FakeHost(*[FetchedFile(PDF, "a.pdf")] * 2)
    fetch = host.fetch

    async def slowly(url: str, max_bytes: int, max_seconds: float) -> FetchedFile:
        await asyncio.sleep(0.1)
        return await fetch(url, max_bytes, max_seconds)

    monkeypatch.setattr(host, "fetch", slowly)
    reader = host.reader()
    for _ in range(2):
        await reader.add(AgentFile(url="https://a.example/a"))

    assert [seconds for _, _, seconds in host.asked] == [0.05, 0.0]


async def test_a_full_disk() -> None:
    """A file that cannot be kept is left out; the text is sent."""
    host = FakeHost()
    host.full = True
    reader = host.reader()
    await reader.add(AgentFile(content=PDF))

    assert (reader.result().files, host.outcomes) == ((), [Outcome.FAILED])


async def test_a_long_caption() -> None:
    """It becomes a part of the text, whole."""
    caption = "🐊" * (MAX_CAPTION_UNITS // 2) + "!"
    host = FakeHost()
    reader = host.reader()
    await reader.add(AgentFile(content=PDF, caption=caption))
    result = reader.result()

    assert (result.files[0].caption, result.more_text) == ("", caption)


async def test_a_secret_in_an_address() -> None:
    """The name that a file has by its address shows no secret."""
    host = FakeHost(FetchedFile(PDF, f"{SECRET}.pdf"))
    reader = host.reader()
    await reader.add(AgentFile(url=f"https://a.example/{SECRET}.pdf"))

    assert [file.name for file in reader.result().files] == ["[redacted].pdf"]


async def test_refused_buttons() -> None:
    """Their number is in the sentence, and counted."""
    host = FakeHost()
    reader = host.reader()
    rows = [[{"text": "x", "data": "y" * 65}, {"text": "ok", "data": "ok"}], ["no"]]
    await reader.add(AgentButtons(rows=rows))
    result = reader.result()

    assert result.more_text == "(2 buttons of this answer could not be sent.)"
    assert [len(row) for row in result.buttons] == [1]
    assert [event.count for event in host.events.of_type(ButtonsEvent)] == [2]
