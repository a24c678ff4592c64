"""
Server-sent events, as the HTML standard says.

    data: one        event: x
    data: two        data: three
    <empty line>     <empty line>      -->  ("", "one\\ntwo"), ("x", "three")

Lines end with LF, CR or CRLF; a byte order mark at the start is no text; comments and
unknown fields are skipped.  Two things that servers really send are understood besides:
the last event may lack its empty line, and a field `error`, as old llama.cpp servers
write it, is an event of that name.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass, field

from crocbot.agents.responses import decoded
from crocbot.agents.server_errors import is_error_name, name_words

ERROR = "error"
DONE = "[DONE]"
"""The data of the last event, with which many servers end an answer."""

# An event with one of these words in its name has no part of an answer as its text.
CONTROL_WORDS = frozenset(
    (
        *("ping", "pong", "heartbeat", "keepalive", "alive", "comment", "retry"),
        *("start", "started", "open", "opened", "init", "ready", "connected"),
        *("end", "ended", "stop", "stopped", "close", "closed", "done", "finished"),
        *("status", "state", "progress", "metadata", "meta", "usage", "session"),
        *("thinking", "reasoning", "thought", "tool", "log", "debug", "info"),
        *("trace", "warning", "id", "title"),
    )
)


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """
    One event: its name, empty if it has none, and its data lines joined by LF.

    `complete` is false if the stream ended before the event's empty line.
    """

    name: str
    data: str
    complete: bool = True

    @property
    def is_error(self) -> bool:
        """Return whether the name is that of an error."""
        return is_error_name(self.name)

    @property
    def is_control(self) -> bool:
        """Return whether the name is that of an event about the stream."""
        return not CONTROL_WORDS.isdisjoint(map(str.lower, name_words(self.name)))


async def events(chunks: AsyncIterable[bytes]) -> AsyncIterator[ServerSentEvent]:
    """Yield the events of a response as they arrive."""
    parser = _Parser()
    async for text in decoded(chunks):
        for event in parser.feed(text):
            yield event
    for event in parser.finish():
        yield event


@dataclass(slots=True, kw_only=True)
class _Parser:
    """Text in pieces of any length to events."""

    _rest: list[str] = field(default_factory=list)
    _after_cr: bool = False
    _name: str = ""
    _data: list[str] = field(default_factory=list)

    def feed(self, text: str) -> list[ServerSentEvent]:
        """Return the events that end in this piece of the stream."""
        if self._after_cr and text:
            # This LF belongs to the CR that ended the piece before.
            text = text.removeprefix("\n")
            self._after_cr = False
        self._after_cr = text.endswith("\r") or (self._after_cr and not text)
        *lines, rest = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if lines:
            lines[0] = "".join([*self._rest, lines[0]])
            self._rest.clear()
        self._rest.append(rest)
        return [event for line in lines for event in self._line(line)]

    def finish(self) -> list[ServerSentEvent]:
        """Return the event that the end of the stream ends, if there is one."""
        if line := "".join(self._rest):
            self._line(line)
        return self._dispatch(complete=False)

    def _line(self, line: str) -> list[ServerSentEvent]:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._data.append(value)
            case "event":
                self._name = value
            case "error":
                self._name = ERROR
                self._data.append(value)
        return []

    def _dispatch(self, *, complete: bool = True) -> list[ServerSentEvent]:
        event = ServerSentEvent(self._name, "\n".join(self._data), complete)
        self._name, self._data = "", []
        return [event] if event.data or event.is_error else []
