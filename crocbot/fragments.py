"""
Updates that belong together: an album, or a long paste that Telegram's apps cut.

    [photo 1 of album 5][photo 2 of album 5]   -->  one Message, two updates
    [4,096 units of text][the rest of it]      -->  one Message, two updates

Each comes as an update of its own, one right after the other.  Telegram never says how
many there are, so whoever waits for the rest waits for a moment of silence.

`may_continue` and `continues` look at raw JSON only and raise nothing, whatever is
in it; `join` makes one Message of those that were read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from crocbot.model import Message, RawUpdate

# An app cuts a paste at a line or a word if one is near, so a part may be shorter
# than the 4,096 units that a message can have.
LIMIT = 4096
LONG = 3072
# The parts of a paste are sent in one go.
APART_SECONDS = 5


def may_continue(raw: RawUpdate) -> bool:
    """Whether more updates may follow that belong to this one."""
    message = _message(raw)
    return _album(message) is not None or _units(message) >= LONG


def continues(previous: RawUpdate, raw: RawUpdate) -> bool:
    """Whether an update goes on where the previous one of its chat ended."""
    before, after = _message(previous), _message(raw)
    if (album := _album(before)) is not None:
        return album == _album(after)
    return (
        _units(before) >= LONG
        and _units(after) > 0
        and _sender(before) is not None
        and _sender(before) == _sender(after)
        and abs(_date(after) - _date(before)) <= APART_SECONDS
    )


def join(messages: Sequence[Message]) -> Message:
    """One Message of several: the first one, with the words and media of all."""
    text = messages[0].text
    for before, part in pairwise(messages):
        glue = "\n" if text and part.text and not _full(before) else ""
        text += glue + part.text
    return replace(
        messages[0],
        text=text,
        attachments=tuple(
            medium for message in messages for medium in message.attachments
        ),
        addressed=any(message.addressed for message in messages),
    )


def _full(message: Message) -> bool:
    """
    Whether a part has all the units that a message can have.

    It was cut in the middle of a word then.  Elsewhere there was white space, which the
    app dropped.
    """
    command = 0 if message.command is None else len(f"/{message.command} ")
    return command + _length(message.text) == LIMIT


def _length(text: str) -> int:
    """In UTF-16 units, as Telegram counts."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _message(raw: RawUpdate) -> Mapping[str, Any]:
    message = raw.get("message")
    return message if isinstance(message, Mapping) else {}


def _album(message: Mapping[str, Any]) -> str | None:
    album = message.get("media_group_id")
    return album if isinstance(album, str) else None


def _units(message: Mapping[str, Any]) -> int:
    text = message.get("text")
    return _length(text) if isinstance(text, str) else 0


def _sender(message: Mapping[str, Any]) -> int | None:
    sender = message.get("from")
    number = sender.get("id") if isinstance(sender, Mapping) else None
    return number if isinstance(number, int) else None


def _date(message: Mapping[str, Any]) -> int:
    date = message.get("date")
    return date if isinstance(date, int) else 0
