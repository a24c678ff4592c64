"""
A Reply to pieces that Telegram can carry, delivered in order.

    "first line\\nsecond line ..."  -->  "first line"  "second line"  ...
                  ^ cut here: at a line, else at a space, else where it must be

Telegram takes at most 4,096 UTF-16 units a message, refuses one that shows nothing,
and drops white space at both ends; so do we, and no visible character is lost.

A flood wait or a fault of the network is waited out, within `PATIENCE` seconds of
waiting per reply.  A time-out may have delivered the piece: replies are sent at least
once, never at most once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from crocbot.errors import DeliveryError, FloodWaitError, TelegramError
from crocbot.facts import Report
from crocbot.model import Address, ErrorType, Reply, Severity, Trouble

LIMIT = 4096
PATIENCE = 300.0
FIRST_WAIT = 1.0
LONGEST_WAIT = 30.0

Send = Callable[[Address, str], Awaitable[None]]
"""Send one piece.  Raises only TelegramError, FloodWaitError, DeliveryError."""


def pieces(text: str, limit: int = LIMIT) -> Iterator[str]:
    """Cut a text into messages that Telegram takes; none of them is empty."""
    # Half a surrogate pair, as a careless program may cut it, cannot be sent.
    clean = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    rest = clean.strip()
    while rest:
        end = _fit(rest, limit)
        if end < len(rest):
            end = _border(rest, end)
        yield rest[:end].rstrip()
        rest = rest[end:].lstrip()


def _fit(text: str, limit: int) -> int:
    """How many characters fit into `limit` units; an emoji takes two of them."""
    units = text[:limit].encode("utf-16-le")[: limit * 2]
    return len(units.decode("utf-16-le", "ignore"))


def _border(text: str, end: int) -> int:
    """The best place to cut at or before `end`: a line's end, or a word's."""
    window = text[: end + 1]
    line = window.rfind("\n")
    # A line break near the start would make many small pieces.
    if line >= end // 2:
        return line
    word = window.rfind(" ")
    return word if word > 0 else end


@dataclass(frozen=True, slots=True)
class Courier:
    """Delivers replies; shared by all turns, remembers nothing between them."""

    send: Send
    report: Report
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random

    async def deliver(self, reply: Reply, address: Address) -> None:
        """Deliver every piece, or raise DeliveryError."""
        patience = PATIENCE
        for piece in pieces(reply.text):
            patience = await self._deliver(piece, address, patience)

    async def _deliver(self, piece: str, address: Address, patience: float) -> float:
        """Deliver one piece; returns what is left of the patience."""
        pause = FIRST_WAIT
        fault: FloodWaitError | TelegramError
        while True:
            try:
                await self.send(address, piece)
                return patience
            except FloodWaitError as error:
                wait, fault = error.seconds, error
            except TelegramError as error:
                self.report(Trouble(ErrorType(error.reason), Severity.WARNING))
                wait, fault = pause * (0.8 + 0.4 * self.random()), error
                pause = min(pause * 2, LONGEST_WAIT)
            patience -= wait
            if patience < 0:
                raise DeliveryError(f"gave up: {fault}") from fault
            await self.sleep(wait)
