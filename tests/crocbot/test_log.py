"""Logs: their schema, and what they never contain."""

from __future__ import annotations

import io
import json
import logging
import re
from datetime import UTC, datetime

import pytest

from crocbot import log

TOKEN = "123:a-very-secret-token"


def configured(level: str = "info", format: str = "console") -> io.StringIO:
    """Return the stream that logs are written to."""
    stream = io.StringIO()
    log.configure(level, format, secrets=[TOKEN], stream=stream)
    return stream


def test_console() -> None:
    """A line for people has time, level, event and the fields."""
    stream = configured()
    log.logger("crocbot.test").warning("poll failed", failures=2, error="no route")

    assert re.fullmatch(
        r"[0-9T:.-]+Z \[warn \] poll failed +error='no route' failures=2\n",
        stream.getvalue(),
    )


@pytest.mark.parametrize(
    ("method", "level"),
    [("debug", "debug"), ("warning", "warn"), ("critical", "error")],
)
@pytest.mark.parametrize("library", [False, True])
def test_json(method: str, level: str, library: bool) -> None:
    """A JSON line begins with ts, level and event, also if a library logs it."""
    stream = configured("debug", "json")
    if library:
        getattr(logging.getLogger("other"), method)("took %s s", 0.5)
    else:
        getattr(log.logger("crocbot.test"), method)("took 0.5 s", turns=2)
    fields = json.loads(stream.getvalue())

    assert list(fields)[:3] == ["ts", "level", "event"]
    assert datetime.fromisoformat(fields.pop("ts")).tzinfo is UTC
    more = {} if library else {"turns": 2}
    assert fields == {"level": level, "event": "took 0.5 s", **more}


@pytest.mark.parametrize(
    ("level", "lines"), [("debug", 3), ("info", 2), ("warn", 1), ("error", 0)]
)
def test_level(level: str, lines: int) -> None:
    """Events below the level are not written, nor are those at info of libraries."""
    stream = configured(level)
    logging.getLogger("telegram.Bot").info("Calling %s", "getMe")
    log.logger("crocbot.test").info("answered")
    logging.getLogger("asyncio").warning("slow")

    assert stream.getvalue().count("\n") == lines


@pytest.mark.parametrize("level", ["info", "warn", "error"])
@pytest.mark.parametrize("library", ["httpx", "httpx2", "openai._base_client", "next"])
def test_quiet_libraries(level: str, library: str) -> None:
    """No library logs its requests, whichever it is; a gateway at debug does."""
    stream = configured(level)
    logging.getLogger(library).info("HTTP Request: POST http://h/v1")
    assert stream.getvalue() == ""

    stream = configured("debug")
    logging.getLogger(library).info("HTTP Request: POST http://h/v1")
    assert "HTTP Request" in stream.getvalue()


@pytest.mark.parametrize("format", log.FORMATS)
@pytest.mark.parametrize(
    "text", ["a\nb", "a\rb", "a\x1b[31mb", "a\x00b", "a\x85b", "a\u2028b", "a\u202eb"]
)
def test_control_characters(format: str, text: str) -> None:
    """Neither an event nor a field can end the line or colour the terminal."""
    stream = configured(format=format)
    log.logger("crocbot.test").info("event " + text, value=text)
    logging.getLogger("other").warning("%s", text)
    output = stream.getvalue()

    assert text not in output
    assert len(output.splitlines()) == 2


@pytest.mark.parametrize("format", log.FORMATS)
def test_secrets(format: str) -> None:
    """A secret is replaced wherever it stands in the line."""
    stream = configured("debug", format)
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
    assert output.count(log.REDACTED) >= 6
    assert "ValueError" in output


@pytest.mark.parametrize("format", log.FORMATS)
@pytest.mark.parametrize("text", ["{}", "'{}", '"{}', "'{}\""])
@pytest.mark.parametrize("secret", ['k"e\\1', "k'e 1", "k\u00e9y", "k\x07e"])
def test_secrets_that_are_escaped(format: str, text: str, secret: str) -> None:
    """A secret is replaced as well where the format spells it in another way."""
    stream = io.StringIO()
    log.configure("info", format, secrets=[secret], stream=stream)
    text = text.format(secret)
    log.logger("crocbot.test").info(text, field=text, nested={"a": text})

    assert stream.getvalue().count(log.REDACTED) == 3


def test_traceback() -> None:
    """A traceback keeps its lines, shows no variables, and cannot colour a terminal."""
    stream = configured()
    hidden = "in a variable"
    try:
        raise ValueError("red \x1b[31m")
    except ValueError:
        log.logger("crocbot.test").exception("failed")
    output = stream.getvalue()

    assert 'raise ValueError("red' in output
    assert hidden not in output.replace('hidden = "in a variable"', "")
    assert "\x1b" not in output
