"""
Reply to parts: each fits into one Telegram message.

    "first block\\n\\nsecond block ..."  -->  "first block"  "second block"  ...
                 ^ split here: between blocks, else at a paragraph, a line, a space,
                   else in the middle of a word

Telegram accepts at most 4,096 UTF-16 units a message, refuses one without a visible
character, and strips white space at both ends.  So do the parts; no visible character
is lost.  An entity that is split continues in the next part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from crocbot.content import Entity
from crocbot.model import MessagePart, Reply
from crocbot.reply.markdown import Block, blocks
from crocbot.text import (
    MAX_MESSAGE_UNITS,
    is_visible,
    replace_lone_surrogates,
    utf16_length,
)

# Telegram ignores further ones.
MAX_ENTITIES = 100


def split(reply: Reply, max_units: int = MAX_MESSAGE_UNITS) -> list[MessagePart]:
    """Return the messages of a reply; each has a visible character."""
    if reply.markdown:
        parts = list(_packed(blocks(reply.text), max_units))
    else:
        text = replace_lone_surrogates(reply.text)
        parts = _split_part(_slice(MessagePart(text), 0, len(text)), max_units)
    return [part for part in parts if is_visible(part.text)]


def _packed(source: Iterable[Block], max_units: int) -> Iterator[MessagePart]:
    """Put as many blocks as fit into each part; split only a block that is too long."""
    packed = MessagePart("")
    for block in source:
        part = _slice(MessagePart(block.text, block.entities), 0, len(block.text))
        if not part.text:
            continue
        joined = _join(packed, part, block.newlines)
        fits = utf16_length(joined.text) <= max_units
        if fits and len(joined.entities) <= MAX_ENTITIES:
            packed = joined
            continue
        if packed.text:
            yield packed
        *full, packed = _split_part(part, max_units)
        yield from full
    if packed.text:
        yield packed


def _join(first: MessagePart, second: MessagePart, newlines: int) -> MessagePart:
    if not first.text:
        return second
    text = first.text + "\n" * newlines
    shift = utf16_length(text)
    shifted = (replace(each, offset=each.offset + shift) for each in second.entities)
    return MessagePart(text + second.text, (*first.entities, *shifted))


def _split_part(part: MessagePart, max_units: int) -> list[MessagePart]:
    # In order, so that each message looks only at the entities that are left.
    entities = tuple(sorted(part.entities, key=lambda entity: entity.offset))
    parts, text, start = [], part.text, 0
    while text:
        entities = tuple(e for e in entities if e.offset + e.length > start)
        # The first entity beyond the limit; nested ones may begin at the same place.
        surplus = [e.offset - start for e in entities[MAX_ENTITIES:][:1]]
        limits = [max_units, *(units for units in surplus if units > 0)]
        end = _fitting_chars(text, min(limits))
        if end < len(text):
            end = _boundary(text, end)
        parts.append(_slice(MessagePart(text, entities), 0, end, start))
        rest = text[end:].lstrip()
        start += utf16_length(text[: len(text) - len(rest)])
        text = rest
    return parts


def _fitting_chars(text: str, max_units: int) -> int:
    """Return how many characters fit into `max_units`; an emoji takes two units."""
    data = text[:max_units].encode("utf-16-le")[: max_units * 2]
    return len(data.decode("utf-16-le", "ignore"))


def _boundary(text: str, end: int) -> int:
    """Return the best index to split at, at most `end`."""
    window = text[: end + 1]
    for mark in ("\n\n", "\n"):
        index = window.rfind(mark)
        # A boundary near the start would make many small parts.
        if index >= max(end // 2, 1):
            return index
    space = window.rfind(" ")
    return space if space > 0 else end


def _slice(part: MessagePart, begin: int, end: int, start: int = 0) -> MessagePart:
    """
    Return a slice of a part, stripped of white space, with its entities.

    The offsets of the entities count from `start` units before the text.
    """
    sliced = part.text[begin:end]
    text = sliced.strip()
    start += utf16_length(part.text[: begin + len(sliced) - len(sliced.lstrip())])
    stop = start + utf16_length(text)
    return MessagePart(
        text,
        tuple(
            _clip(each, start, stop)
            for each in part.entities
            if each.offset < stop and each.offset + each.length > start
        ),
    )


def _clip(entity: Entity, start: int, stop: int) -> Entity:
    """Return the part of an entity between two offsets, relative to the first one."""
    begin = max(entity.offset, start)
    length = min(entity.offset + entity.length, stop) - begin
    return replace(entity, offset=begin - start, length=length)
