"""
Updates that are fragments of one message: an album, or a paste that an app split.

    [photo 1 of album 5][photo 2 of album 5]   -->  one Message, two updates
    [4,096 units of text][the last 100]        -->  one Message, two updates

Telegram delivers each fragment as an update of its own, one right after the other, and
never says how many there are.  So whether one is the last is known only when no other
follows for a while.

`may_continue` and `continues` read raw JSON only and never raise, whatever it contains;
`join` makes one Message of the messages that were read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from crocbot.content import Context
from crocbot.model import Message, RawUpdate
from crocbot.text import utf16_length

# In UTF-16 units.  An app splits a paste at a line or a word if one is near, so a
# fragment may be shorter than the longest message.
MIN_FRAGMENT_LENGTH = 3072
# The fragments of a paste are sent at once.
MAX_DISTANCE_SECONDS = 5
MAX_FRAGMENTS = 50


def may_continue(raw: RawUpdate) -> bool:
    """Return whether further fragments of the same message may follow an update."""
    message = _message(raw)
    return _album(message) is not None or _text_length(message) >= MIN_FRAGMENT_LENGTH


def continues(previous: RawUpdate, raw: RawUpdate) -> bool:
    """Return whether an update is the next fragment after another one of its chat."""
    before, after = _message(previous), _message(raw)
    if (album := _album(before)) is not None:
        return album == _album(after)
    return (
        _text_length(before) >= MIN_FRAGMENT_LENGTH
        and _text_length(after) > 0
        and _sender(before) is not None
        and _sender(before) == _sender(after)
        and abs(_date(after) - _date(before)) <= MAX_DISTANCE_SECONDS
    )


def of_first(updates: Iterable[RawUpdate]) -> list[int]:
    """Return the indices of the first update and of its further fragments."""
    indices: list[int] = []
    last: RawUpdate = {}
    for index, raw in enumerate(updates):
        if index and not continues(last, raw):
            continue
        indices.append(index)
        last = raw
        if len(indices) >= MAX_FRAGMENTS or not may_continue(raw):
            break
    return indices


def join(messages: Sequence[Message]) -> Message:
    """Return the first message with the texts and attachments of all of them."""
    text = messages[0].text
    for before, after in pairwise(messages):
        # A shorter fragment was split at white space, which the app dropped.
        separator = "\n" if text and after.text and not before.full_length else ""
        text += separator + after.text
    return replace(
        messages[0],
        text=text,
        attachments=tuple(each for message in messages for each in message.attachments),
        addressed=any(message.addressed for message in messages),
        full_length=messages[-1].full_length,
        context=_join_contexts([message.context for message in messages]),
    )


def _join_contexts(contexts: Sequence[Context]) -> Context:
    """Return the first context, with what only a later fragment has."""
    return replace(
        contexts[0],
        quoted=next((each.quoted for each in contexts if each.quoted), None),
        forward=next((each.forward for each in contexts if each.forward), None),
        links=tuple(link for each in contexts for link in each.links),
    )


def _message(raw: RawUpdate) -> Mapping[str, Any]:
    message = raw.get("message")
    return message if isinstance(message, Mapping) else {}


def _album(message: Mapping[str, Any]) -> str | None:
    album = message.get("media_group_id")
    return album if isinstance(album, str) else None


def _text_length(message: Mapping[str, Any]) -> int:
    text = message.get("text")
    return utf16_length(text) if isinstance(text, str) else 0


def _sender(message: Mapping[str, Any]) -> int | None:
    sender = message.get("from")
    number = sender.get("id") if isinstance(sender, Mapping) else None
    return number if isinstance(number, int) else None


def _date(message: Mapping[str, Any]) -> int:
    date = message.get("date")
    return date if isinstance(date, int) else 0
