"""What the demo writes on a terminal, and elsewhere."""

from __future__ import annotations

import io

import pytest

from crocbot.sandbox.terminal import BAD, Terminal, harmless


class Tty(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True


class Ended(io.StringIO):
    """A pipe whose reader has left."""

    def write(self, _: str) -> int:
        """No."""
        raise BrokenPipeError


def shown(stream: io.StringIO, environment: dict[str, str]) -> str:
    """What becomes of a red line."""
    Terminal(stream, environment, lambda: None).line("no", BAD)
    return stream.getvalue()


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
    """Colour only on a terminal whose owner does not refuse it."""
    assert shown(stream, environment) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("hello", "hello"),
        ("two\nlines", "two / lines"),
        ("\x1b[2Jboo\x07\x9b", "?[2Jboo??"),
        ("half \ud83d emoji", "half ? emoji"),
        ("x" * 100, "x" * 100),
        ("x" * 101, "x" * 99 + "…"),
    ],
)
def test_what_people_say_is_harmless(words: str, expected: str) -> None:
    """One line, nothing that steers a terminal, not too long."""
    assert harmless(words) == expected


def test_a_conversation_reads_as_one() -> None:
    """Who, to whom, what; in columns."""
    stream = io.StringIO()
    screen = Terminal(stream, {}, lambda: None)
    screen.overhear("Ada", "bot", "hello")
    screen.overhear("bot", "Ada", "hello")

    assert stream.getvalue().splitlines() == [
        "     Ada -> bot       hello",
        "     bot -> Ada       hello",
    ]


def test_a_stream_without_unicode_gets_escapes() -> None:
    """A terminal that knows only ASCII does not end the demo."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Terminal(stream, {}, lambda: None).line("крок")
    stream.flush()

    assert raw.getvalue() == rb"\u043a\u0440\u043e\u043a" + b"\n"


def test_a_reader_who_left_is_noticed() -> None:
    """A closed pipe raises nothing; whoever wants to know is told."""
    told: list[str] = []
    Terminal(Ended(), {}, lambda: told.append("gone")).line("hello")

    assert told == ["gone"]
