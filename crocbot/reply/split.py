"""
Blocks to pieces: each fits into one message of Telegram.

    "first block\\n\\nsecond block ..."  -->  "first block"  "second block"  ...
                 ^ cut here: between blocks, else at a paragraph, a line, a space,
                   else where it must be

Telegram takes at most 4,096 UTF-16 units a message, refuses one that shows nothing,
and drops white space at both ends; so do we, and no visible character is lost.  An
entity that is cut goes on in the next piece.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from crocbot.model import Entity, MessagePart, Reply
from crocbot.reply.markdown import Block, blocks, plain
from crocbot.text import units, visible

LIMIT = 4096
# Telegram drops those beyond.
MOST_ENTITIES = 100


def pieces(reply: Reply, limit: int = LIMIT) -> list[MessagePart]:
    """Make messages of a reply; none of them is empty."""
    cut = blocks(reply.text) if reply.markdown else plain(reply.text)
    return [piece for piece in _packed(cut, limit) if visible(piece.text)]


def _packed(cut: Iterable[Block], limit: int) -> Iterator[MessagePart]:
    """As many blocks as fit into each piece; a block is only cut if it must be."""
    packed = MessagePart("")
    for block in cut:
        piece = _slice(MessagePart(block.text, block.entities), 0, len(block.text))
        if not piece.text:
            continue
        both = _joined(packed, piece, block.lines)
        fits = units(both.text) <= limit and len(both.entities) <= MOST_ENTITIES
        if fits:
            packed = both
            continue
        if packed.text:
            yield packed
        *full, packed = _cut(piece, limit)
        yield from full
    if packed.text:
        yield packed


def _joined(first: MessagePart, second: MessagePart, lines: int) -> MessagePart:
    if not first.text:
        return second
    text = first.text + "\n" * lines
    moved = units(text)
    shifted = (replace(one, offset=one.offset + moved) for one in second.entities)
    return MessagePart(text + second.text, (*first.entities, *shifted))


def _cut(piece: MessagePart, limit: int) -> list[MessagePart]:
    """Cut a piece until every part fits."""
    parts = []
    while piece.text:
        end = _fit(piece.text, limit)
        if end < len(piece.text):
            end = _border(piece.text, end)
        parts.append(_slice(piece, 0, end))
        piece = _slice(piece, end, len(piece.text))
    return parts


def _fit(text: str, limit: int) -> int:
    """How many characters fit into `limit` units; an emoji takes two of them."""
    data = text[:limit].encode("utf-16-le")[: limit * 2]
    return len(data.decode("utf-16-le", "ignore"))


def _border(text: str, end: int) -> int:
    """The best place to cut, at or before `end`."""
    window = text[: end + 1]
    for mark in ("\n\n", "\n"):
        place = window.rfind(mark)
        # One near the start would make many small pieces.
        if place >= max(end // 2, 1):
            return place
    word = window.rfind(" ")
    return word if word > 0 else end


def _slice(piece: MessagePart, begin: int, end: int) -> MessagePart:
    """A part of a piece without the white space around it."""
    part = piece.text[begin:end]
    text = part.strip()
    first = units(piece.text[: begin + len(part) - len(part.lstrip())])
    last = first + units(text)
    entities = (_clipped(one, first, last) for one in piece.entities)
    return MessagePart(text, tuple(one for one in entities if one.length > 0))


def _clipped(entity: Entity, first: int, last: int) -> Entity:
    """What of an entity lies between two offsets, counted from the first one."""
    begin = max(entity.offset, first)
    length = min(entity.offset + entity.length, last) - begin
    return replace(entity, offset=begin - first, length=length)
