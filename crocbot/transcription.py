"""
Speech to text, by any server with OpenAI's audio transcriptions.

    POST {CROCBOT_TRANSCRIBE_URL}/audio/transcriptions     multipart: model, file
    200 {"text": "Turn on the light."}                     or text/plain

The rules are those of agents' servers (`agents/rules.py`): no redirect is followed, the
answer is bounded, proxies are those of the environment.  A transcription does nothing
twice, so it is tried again after a broken connection, 429 and 5xx, up to MAX_TRIES
times within `total_seconds`.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import struct
import time
from collections.abc import Mapping

from crocbot.agents.answer import MAX_TRIES, MAX_WAIT_SECONDS
from crocbot.agents.responses import without_secrets
from crocbot.agents.rules import EVENT_STREAM, AgentClient, Server
from crocbot.agents.server_errors import (
    error_words,
    is_error,
    read_error,
    shortened,
)
from crocbot.backoff import Backoff
from crocbot.content import File
from crocbot.errors import AgentError, TranscriptionError
from crocbot.events import NO_EVENTS, EventListener, Transcription
from crocbot.file_names import suffix
from crocbot.model import Clock, Sleep
from crocbot.proxies import NO_PROXIES, Proxies
from crocbot.settings import Settings
from crocbot.text import is_visible, replace_lone_surrogates
from crocbot.turn_outcomes import AgentErrorReason, TranscriptionOutcome

PATH = "/audio/transcriptions"
SERVER = Server("the transcription server", "CROCBOT_TRANSCRIBE_URL")
MAX_TEXT_CHARS = 65_536
MAX_QUOTED_CHARS = 80
OUTCOMES = {
    AgentErrorReason.CONTEXT_LENGTH: TranscriptionOutcome.TOO_LONG,
    AgentErrorReason.OTHER: TranscriptionOutcome.FAILED,
}
# For a check: one second.
SILENCE_RATE = 8000


class Transcriber:
    """
    Turns recordings into words.

    `url` is that of the API, with or without PATH.  `total_seconds` is the longest time
    for one recording, with all tries.
    """

    def __init__(
        self,
        *,
        url: str,
        model: str,
        api_key: str | None,
        connect_seconds: float,
        total_seconds: float,
        proxies: Proxies = NO_PROXIES,
        events: EventListener = NO_EVENTS,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._url = with_path(url)
        self._model = model
        self._key = api_key
        self._total_seconds = total_seconds
        self._events = events
        self._clock = clock
        self._sleep = sleep
        self._client = AgentClient(
            url,
            connect_seconds,
            retry=True,
            reuse=True,
            proxies=proxies,
            server=SERVER,
        )

    async def transcribe(self, recording: File) -> str:
        """Return what is said, "" if nothing is.  Raise TranscriptionError."""
        began = self._clock()
        outcome = TranscriptionOutcome.CANCELLED
        try:
            text = await self._with_retries(recording)
            outcome = TranscriptionOutcome.OK if text else TranscriptionOutcome.EMPTY
            return text
        except AgentError as error:
            outcome = _outcome(error.reason)
            raise TranscriptionError(error) from error
        finally:
            self._events.emit(Transcription(outcome, self._clock() - began))

    async def check(self) -> str:
        """Transcribe a second of silence; return one line.  Raise AgentError."""
        recording = File(type="audio", mime_type="audio/wav", content=silence())
        await self._with_retries(recording)
        return f"{without_secrets(self._url)} transcribes with {self._model}"

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def _with_retries(self, recording: File) -> str:
        backoff = Backoff(first=0.5, factor=2.0)
        waited, tries = 0.0, 1
        try:
            async with asyncio.timeout(self._total_seconds):
                while True:
                    try:
                        return await self._request(recording)
                    except AgentError as error:
                        pause = backoff.next_pause()
                        pause = pause if error.wait is None else error.wait
                        waited += pause
                        is_last = tries >= MAX_TRIES or waited > MAX_WAIT_SECONDS
                        if is_last or not error.retry:
                            raise
                    tries += 1
                    await self._sleep(pause)
        except TimeoutError as error:
            text = f"{SERVER.name} did not answer within {self._total_seconds:g} s"
            raise AgentError(text, AgentErrorReason.TIMEOUT) from error

    async def _request(self, recording: File) -> str:
        content_type, body = multipart(self._model, recording)
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        async with self._client.request("POST", self._url, headers, body) as response:
            if response.status == 200 and response.content_type == EVENT_STREAM:
                raise _malformed("a stream of events")
            answer = await response.read()
            if response.status != 200:
                error = read_error(response.status, answer, response.headers)
                raise error.agent_error(SERVER.name)
            return read_text(response.content_type, answer)


def create_transcriber(
    settings: Settings, events: EventListener = NO_EVENTS
) -> Transcriber | None:
    """Return the transcriber of the settings, None without CROCBOT_TRANSCRIBE_URL."""
    url, key = settings.transcribe_url, settings.transcribe_api_key
    if url is None:
        return None
    return Transcriber(
        url=url,
        model=settings.transcribe_model,
        api_key=key.get_secret_value() if key else None,
        connect_seconds=settings.agent_connect_seconds,
        total_seconds=settings.agent_total_seconds,
        proxies=settings.proxies,
        events=events,
    )


def with_path(url: str) -> str:
    """Return the URL of the transcriptions; a query stays at its end."""
    address, mark, query = url.partition("?")
    address = address.rstrip("/")
    address = address if address.endswith(PATH) else f"{address}{PATH}"
    return f"{address}{mark}{query}"


def multipart(model: str, recording: File) -> tuple[str, bytes]:
    """Return Content-Type and body of a request."""
    boundary = secrets.token_hex(16)
    # Servers know a format by the ending, and not all of them know `.oga`.
    ending = suffix(recording.mime_type) or ".ogg"
    fields = b"".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
        f"{value}\r\n".encode()
        for name, value in (("model", model), ("response_format", "json"))
    )
    file = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file";'
        f' filename="recording{ending}"\r\n'
        f"Content-Type: {recording.mime_type}\r\n\r\n"
    ).encode()
    end = f"\r\n--{boundary}--\r\n".encode()
    body = b"".join([fields, file, recording.content, end])
    return f"multipart/form-data; boundary={boundary}", body


def read_text(content_type: str, body: bytes) -> str:
    """Return the text of an answer with status 200.  Raise AgentError."""
    text = body.decode("utf-8-sig", "replace").strip()
    if content_type == "text/html" or text[:5].lower() in {"<!doc", "<html"}:
        page = shortened(error_words(text), MAX_QUOTED_CHARS)
        raise AgentError(
            f"{SERVER.name} sent a web page, {page!r}: CROCBOT_TRANSCRIBE_URL must be"
            " the address of the API",
            AgentErrorReason.OPERATOR,
        )
    is_json = content_type.endswith("json") or text.startswith("{")
    if is_json:
        text = _json_text(text)
    elif content_type not in {"text/plain", "application/octet-stream"}:
        raise _malformed(f"Content-Type {content_type[:MAX_QUOTED_CHARS]}")
    text = replace_lone_surrogates(text.strip()[:MAX_TEXT_CHARS])
    # Some servers answer silence with characters that show nothing.
    return text if is_visible(text) else ""


def _json_text(body: str) -> str:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        quoted = shortened(body, MAX_QUOTED_CHARS)
        raise _malformed(f"no JSON: {quoted!r}") from None
    if not isinstance(value, Mapping):
        raise _malformed("no JSON object")
    text = value.get("text")
    if isinstance(text, str):
        return text
    if is_error(value):
        raise read_error(200, value, {}).agent_error(SERVER.name)
    raise _malformed("JSON without a text")


def _malformed(what: str) -> AgentError:
    return AgentError(f"{SERVER.name} answered with {what}", AgentErrorReason.MALFORMED)


def _outcome(reason: AgentErrorReason) -> TranscriptionOutcome:
    if reason in OUTCOMES:
        return OUTCOMES[reason]
    known = {outcome.value for outcome in TranscriptionOutcome}
    failed = TranscriptionOutcome.FAILED
    return TranscriptionOutcome(reason.value) if reason.value in known else failed


def silence() -> bytes:
    """Return a second of silence: WAV, 16 bits, one channel."""
    data = bytes(2 * SILENCE_RATE)
    size, rate = len(data), SILENCE_RATE
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    return (
        struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE")
        + form
        + struct.pack("<4sI", b"data", size)
        + data
    )
