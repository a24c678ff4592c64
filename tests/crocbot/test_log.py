"""Logs: their form, and what never gets into them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from crocbot import log

TOKEN = "123:a-very-secret-token"


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Leave logging as it was found."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def written(level: str = "info", style: str = "console") -> io.StringIO:
    """A stream that logging was configured to write to."""
    stream = io.StringIO()
    log.configure(level, style, secrets=[TOKEN], stream=stream)
    return stream


def test_console() -> None:
    """A line for people has time, level, event and the pairs."""
    stream = written()
    log.logger("crocbot.test").warning("poll failed", failures=2, error="no route")
    line = stream.getvalue()

    assert line.endswith("\n")
    assert line.count("\n") == 1
    words = ["[warn ]", "poll failed", "failures=2", "error='no route'"]
    assert [word for word in words if word not in line] == []
    assert "\x1b" not in line


def test_json() -> None:
    """A JSON line has the same as an object."""
    stream = written(style="json")
    log.logger("crocbot.test").info("answered", seconds=0.5)
    line = json.loads(stream.getvalue())

    assert line.pop("ts").endswith("Z")
    assert list(line.items()) == [
        ("level", "info"),
        ("event", "answered"),
        ("seconds", 0.5),
    ]


def test_level() -> None:
    """What is below the level is not written."""
    stream = written("warning")
    log.logger("crocbot.test").info("hello")

    assert stream.getvalue() == ""


@pytest.mark.parametrize(("level", "lines"), [("info", 1), ("debug", 2)])
def test_libraries(level: str, lines: int) -> None:
    """Libraries write through us, their small talk only at debug."""
    stream = written(level)
    logging.getLogger("telegram.Bot").info("Calling %s", "getMe")
    logging.getLogger("asyncio").warning("slow %d", 3)

    assert stream.getvalue().count("\n") == lines
    assert "slow 3" in stream.getvalue()


@pytest.mark.parametrize("style", ["console", "json"])
@pytest.mark.parametrize(
    "text", ["a\nb", "a\rb", "a\x1b[31mb", "a\x00b", "a\x85b", "a\u2028b", "a\u202eb"]
)
def test_nothing_is_written_as_it_came(style: str, text: str) -> None:
    """Neither an event nor a value can end the line or colour the terminal."""
    stream = written(style=style)
    log.logger("crocbot.test").info("event " + text, value=text)
    logging.getLogger("other").warning("%s", text)
    output = stream.getvalue()

    assert text not in output
    assert len(output.splitlines()) == 2


@pytest.mark.parametrize("style", ["console", "json"])
def test_secrets(style: str) -> None:
    """The token is taken out, whatever way it came."""
    stream = written("debug", style)
    logger = log.logger("crocbot.test")
    logger.info(f"/bot{TOKEN}/getMe", url=f"x{TOKEN}", nested={"a": [TOKEN]})
    logger.info("quoted", url="/bot123%3Aa-very-secret-token/getMe")
    logging.getLogger("telegram").debug("half: %s", TOKEN.partition(":")[2])
    try:
        raise ValueError(TOKEN)
    except ValueError:
        logger.exception("failed")
    output = stream.getvalue()

    assert "very-secret" not in output
    assert output.count(log.HIDDEN) >= 6
    assert "ValueError" in output


def test_traceback_keeps_its_lines() -> None:
    """A traceback is readable, shows no variables, and still cannot forge a colour."""
    stream = written()
    hidden = "in a variable"
    try:
        raise ValueError("red \x1b[31m")
    except ValueError:
        log.logger("crocbot.test").exception("failed")
    output = stream.getvalue()

    assert 'raise ValueError("red' in output
    assert hidden not in output.replace('hidden = "in a variable"', "")
    assert "\x1b" not in output
