"""
The buttons of an answer: what the agent gave to rows that Telegram takes.

    [[{"text": "Yes", "data": "yes"}, {"text": "More", "url": "https://..."}]]

An object in place of a row is a row of its own.  What exceeds a bound of the Bot API is
left out: data is given back as it is, so it is never cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from crocbot import log
from crocbot.outgoing import (
    MAX_BUTTON_CHARS,
    MAX_BUTTON_URL_CHARS,
    MAX_BUTTONS,
    MAX_BUTTONS_IN_ROW,
    MAX_CALLBACK_BYTES,
    RESERVED_DATA,
    Button,
    Buttons,
)
from crocbot.text import is_visible, replace_lone_surrogates

URL_SCHEMES = ("https://", "http://", "tg://")
ELLIPSIS = "…"
# The others are not even counted.
MAX_READ_BUTTONS = 2 * MAX_BUTTONS
MAX_LOGGED = 10

logger = log.logger(__name__)


@dataclass(frozen=True, slots=True)
class ReadButtons:
    """The buttons that can be sent, and how many cannot."""

    rows: Buttons = ()
    refused: int = 0


class _RefusedError(Exception):
    """A button cannot be sent."""


def read_buttons(value: object, redactor: log.Redactor) -> ReadButtons:
    """Return the buttons of a JSON value, without secrets."""
    rows, count, refused = [], 0, 0
    for given in islice(_rows(value), MAX_READ_BUTTONS):
        row: list[Button] = []
        for entry in given[:MAX_READ_BUTTONS]:
            if count >= MAX_BUTTONS:
                refused += 1
                continue
            try:
                row.append(_button(entry, redactor))
                count += 1
            except _RefusedError as error:
                refused += 1
                if refused <= MAX_LOGGED:
                    logger.warning("button of an answer left out", reason=str(error))
        # A row that is too long becomes several.
        rows += [
            tuple(row[start : start + MAX_BUTTONS_IN_ROW])
            for start in range(0, len(row), MAX_BUTTONS_IN_ROW)
        ]
    return ReadButtons(tuple(rows), refused)


def _rows(value: object) -> Iterator[list[object]]:
    for row in value if isinstance(value, list) else [value]:
        yield row if isinstance(row, list) else [row]


def _button(entry: object, redactor: log.Redactor) -> Button:
    if not isinstance(entry, Mapping):
        raise _RefusedError("it is no object with text, and data or url")
    text, data, url = (entry.get(name) for name in ("text", "data", "url"))
    if not isinstance(text, str) or not is_visible(text):
        raise _RefusedError("it has no text")
    text = replace_lone_surrogates(redactor.redact(" ".join(text.split())))
    if len(text) > MAX_BUTTON_CHARS:
        text = text[: MAX_BUTTON_CHARS - 1] + ELLIPSIS
    if isinstance(data, str) and url is None:
        data = replace_lone_surrogates(redactor.redact(data))
        if data.startswith(RESERVED_DATA):
            raise _RefusedError(f"its data begins with {RESERVED_DATA}")
        if not 1 <= len(data.encode()) <= MAX_CALLBACK_BYTES:
            raise _RefusedError(f"its data has not 1 to {MAX_CALLBACK_BYTES} bytes")
        return Button(text=text, data=data)
    if isinstance(url, str) and data is None:
        url = redactor.redact(url)
        is_short = len(url) <= MAX_BUTTON_URL_CHARS
        if not (is_short and url.startswith(URL_SCHEMES) and url.isprintable()):
            raise _RefusedError("its url is not https://, http:// or tg://")
        return Button(text=text, url=url)
    raise _RefusedError("it has not one of data and url")
