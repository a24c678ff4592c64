"""What the demo prints on a terminal, and elsewhere."""

from __future__ import annotations

import asyncio
import io

import pytest

from crocbot.sandbox.terminal import BAD, Terminal, printable


class Tty(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


class ClosedPipe(io.StringIO):
    """A pipe whose reader has left."""

    def write(self, _: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize(
    ("stream", "environment", "expected"),
    [
        (Tty(), {}, "\x1b[31mno\x1b[0m\n"),
        (Tty(), {"NO_COLOR": ""}, "\x1b[31mno\x1b[0m\n"),
        (Tty(), {"NO_COLOR": "1"}, "no\n"),
        (io.StringIO(), {}, "no\n"),
    ],
)
def test_colour_is_for_terminals(
    stream: io.StringIO, environment: dict[str, str], expected: str
) -> None:
    """Colour is used only on a terminal and without NO_COLOR."""
    Terminal(stream, environment, asyncio.Event()).line("no", BAD)

    assert stream.getvalue() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello", "hello"),
        ("two\nlines", "two / lines"),
        ("\x1b[2Jboo\x07\x9b", "?[2Jboo??"),
        ("half \ud83d emoji", "half ? emoji"),
        ("x" * 100, "x" * 100),
        ("x" * 101, "x" * 99 + "…"),
    ],
)
def test_messages_are_made_printable(text: str, expected: str) -> None:
    """One line, no control characters, not too long."""
    assert printable(text) == expected


def test_a_message_has_sender_recipient_and_text() -> None:
    """They are printed in columns."""
    stream = io.StringIO()
    terminal = Terminal(stream, {}, asyncio.Event())
    terminal.message("Ada", "bot", "hello")
    terminal.message("bot", "Ada", "hello")

    assert stream.getvalue().splitlines() == [
        "     Ada -> bot       hello",
        "     bot -> Ada       hello",
    ]


def test_a_stream_without_unicode_gets_escapes() -> None:
    """A terminal that knows only ASCII does not end the demo."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Terminal(stream, {}, asyncio.Event()).line("крок")
    stream.flush()

    assert raw.getvalue() == rb"\u043a\u0440\u043e\u043a" + b"\n"


def test_a_closed_stream_stops_the_run() -> None:
    """A pipe without a reader raises nothing and sets the event."""
    stop = asyncio.Event()
    Terminal(ClosedPipe(), {}, stop).line("hello")

    assert stop.is_set()
