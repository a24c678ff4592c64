"""Recordings to words, with the servers that there are."""

from __future__ import annotations

import asyncio
import wave
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import pytest

from crocbot.content import File
from crocbot.errors import AgentError, TranscriptionError
from crocbot.events import Transcription
from crocbot.model import Severity
from crocbot.transcription import MAX_TEXT_CHARS, PATH, Transcriber, silence, with_path
from crocbot.turn_outcomes import AgentErrorReason as Reason
from crocbot.turn_outcomes import TranscriptionOutcome as Outcome
from tests.crocbot.fakes import RecordedEvents
from tests.crocbot.transcription_server import (
    KEY,
    TranscriptionServer,
    body,
    broken,
    endless,
    failure,
    redirect,
    silent,
    words,
)
from tests.ports import free_port

VOICE = File(type="voice", mime_type="audio/ogg", content=b"OggS" + bytes(2_000_000))


@pytest.fixture
async def server() -> AsyncIterator[TranscriptionServer]:
    """Return a running server."""
    async with TranscriptionServer() as server:
        yield server


class Fixture:
    """A transcriber of a server; pauses take no time."""

    def __init__(self, url: str, total_seconds: float = 30.0) -> None:
        self.events = RecordedEvents()
        self.slept: list[float] = []
        self.transcriber = Transcriber(
            url=url,
            model="m",
            api_key=KEY,
            connect_seconds=5.0,
            total_seconds=total_seconds,
            events=self.events,
            sleep=self._sleep,
        )

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def run(self) -> str:
        """Return the words of a recording."""
        try:
            return await self.transcriber.transcribe(VOICE)
        finally:
            await self.transcriber.close()

    async def fail(self) -> TranscriptionError:
        """Return the error of a recording."""
        with pytest.raises(TranscriptionError) as failed:
            await self.run()
        return failed.value

    @property
    def outcomes(self) -> list[Outcome]:
        return [event.outcome for event in self.events.of_type(Transcription)]


@pytest.mark.parametrize(
    ("url", "full"),
    [
        ("https://h/v1", "https://h/v1/audio/transcriptions"),
        ("https://h/v1/", "https://h/v1/audio/transcriptions"),
        ("https://h/v1/audio/transcriptions", "https://h/v1/audio/transcriptions"),
        ("https://h/x?v=1", "https://h/x/audio/transcriptions?v=1"),
    ],
)
def test_urls(url: str, full: str) -> None:
    """The URL may be that of the API, or of its transcriptions."""
    assert with_path(url) == full


async def test_a_request(server: TranscriptionServer) -> None:
    """It has the model, the key, and the file with a name that servers know."""
    fixture = Fixture(server.url)

    assert await fixture.run() == "Turn on the light."
    (upload,) = server.requests
    assert upload.fields == {"model": "m", "response_format": "json"}
    assert (upload.name, upload.content_type) == ("recording.ogg", "audio/ogg")
    assert upload.content == VOICE.content
    assert upload.headers["Authorization"] == f"Bearer {KEY}"
    assert fixture.outcomes == [Outcome.OK]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (words(" Hi. \n"), "Hi."),
        (words(""), ""),
        (words(" "), ""),
        (words(" \u200b "), ""),
        (body('{"text": "Hi.", "segments": [], "duration": 1}'), "Hi."),
        (body('{"text": "Hi.", "error": null}'), "Hi."),
        (body("Hi.\n", 200, "text/plain"), "Hi."),
        (body('{"text": "Hi."}', 200, "text/plain"), "Hi."),
        (body('\ufeff{"text": "Hi."}'), "Hi."),
        (words("x" * 70_000), "x" * MAX_TEXT_CHARS),
        (body('{"text": "a\\ud800b"}'), "a\ufffdb"),
    ],
)
async def test_answers(server: TranscriptionServer, answer: Any, text: str) -> None:
    """The words are those of an object, or of a text."""
    server.answers.append(answer)
    fixture = Fixture(server.url)

    assert await fixture.run() == text
    assert fixture.outcomes == [Outcome.OK if text else Outcome.EMPTY]


@pytest.mark.parametrize(
    ("answer", "reason", "outcome", "requests"),
    [
        (failure(401, "no key"), Reason.UNAUTHORIZED, Outcome.UNAUTHORIZED, 1),
        (failure(404, "no such model"), Reason.OPERATOR, Outcome.OPERATOR, 1),
        (failure(400, "bad file"), Reason.REFUSED, Outcome.REFUSED, 1),
        (failure(413, "too large"), Reason.CONTEXT_LENGTH, Outcome.TOO_LONG, 1),
        (failure(429, "slow down"), Reason.RATE_LIMITED, Outcome.RATE_LIMITED, 3),
        (failure(500, "flux too low"), Reason.FAILED, Outcome.FAILED, 3),
        (redirect("http://127.0.0.1:1/"), Reason.OPERATOR, Outcome.OPERATOR, 1),
        (endless(), Reason.TOO_LONG, Outcome.TOO_LONG, 1),
        (endless("text/event-stream"), Reason.MALFORMED, Outcome.MALFORMED, 1),
        (body("[1]"), Reason.MALFORMED, Outcome.MALFORMED, 1),
        (body('{"text": 7}'), Reason.MALFORMED, Outcome.MALFORMED, 1),
        (body('{"text": "Hi'), Reason.MALFORMED, Outcome.MALFORMED, 1),
        (body("[" * 100_000), Reason.MALFORMED, Outcome.MALFORMED, 1),
        (body("x", 200, "image/png"), Reason.MALFORMED, Outcome.MALFORMED, 1),
        (body('{"error": "no model loaded"}'), Reason.OPERATOR, Outcome.OPERATOR, 1),
        (
            body("<html><title>Hi</title>", 200, "text/html"),
            *(Reason.OPERATOR, Outcome.OPERATOR, 1),
        ),
        (broken, Reason.FAILED, Outcome.FAILED, 3),
    ],
)
async def test_failures(
    server: TranscriptionServer,
    answer: Any,
    reason: Reason,
    outcome: Outcome,
    requests: int,
) -> None:
    """Each failure is one error, tried again where that may help."""
    server.default = answer
    fixture = Fixture(server.url)
    error = await fixture.fail()

    assert (error.reason, fixture.outcomes) == (reason, [outcome])
    assert len(server.requests) == requests
    for_operator = reason in AgentError.for_operator
    assert error.severity is (Severity.CRITICAL if for_operator else Severity.WARNING)
    assert KEY not in str(error)


async def test_a_busy_server(server: TranscriptionServer) -> None:
    """A pause that the server asks for is kept; a long one is told at once."""
    server.answers += [failure(429, "slow down", Retry_After="7"), words("Hi.")]
    fixture = Fixture(server.url)

    assert await fixture.run() == "Hi."
    assert fixture.slept == [7.0]

    server.answers.append(failure(429, "slow down", Retry_After="300"))
    error = await Fixture(server.url).fail()
    assert (error.reason, error.wait) == (Reason.RATE_LIMITED, 300.0)


async def test_no_server() -> None:
    """A connection that is refused is tried again, and names the server."""
    fixture = Fixture(f"http://127.0.0.1:{free_port()}/v1")
    error = await fixture.fail()

    assert str(error).startswith("cannot connect to the transcription server: ")
    assert (fixture.outcomes, len(fixture.slept)) == ([Outcome.UNREACHABLE], 2)


async def test_no_answer_in_time(server: TranscriptionServer) -> None:
    """A server that says nothing is given up."""
    server.default = silent
    fixture = Fixture(server.url, total_seconds=0.3)
    error = await fixture.fail()

    assert str(error) == "the transcription server did not answer within 0.3 s"
    assert fixture.outcomes == [Outcome.TIMEOUT]


async def test_a_cancelled_transcription(server: TranscriptionServer) -> None:
    """A transcription that is stopped is counted as that."""
    server.default = silent
    fixture = Fixture(server.url)
    task = asyncio.create_task(fixture.run())
    async with asyncio.timeout(30):
        while not server.requests:
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])

    assert fixture.outcomes == [Outcome.CANCELLED]


async def test_the_text_of_a_redirect(server: TranscriptionServer) -> None:
    """It names the setting, and no secret."""
    server.default = redirect("http://user:pass@other.example/x?key=1")
    error = await Fixture(server.url).fail()

    assert "set CROCBOT_TRANSCRIBE_URL to the final URL" in str(error)
    assert "pass" not in str(error)


async def test_a_check(server: TranscriptionServer) -> None:
    """A check sends a second of silence, and fails as a transcription does."""
    fixture = Fixture(server.url)
    server.default = words("")
    assert await fixture.transcriber.check() == f"{server.url}{PATH} transcribes with m"
    with wave.open(BytesIO(server.requests[0].content)) as sound:
        assert sound.getnframes() == sound.getframerate()
    assert server.requests[0].content == silence()
    server.default = failure(401, "no")
    with pytest.raises(AgentError):
        await fixture.transcriber.check()
    await fixture.transcriber.close()
    assert fixture.outcomes == []
