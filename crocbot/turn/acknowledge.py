"""
A reaction on a message while it waits for its answer.

    accepted(rows) --> setMessageReaction: 👀
    ended(rows)    --> setMessageReaction: none

Only messages that may be answered get it.  It is optional: no turn waits for it, an
error is neither logged nor counted besides as a call, and a flood wait skips it.  A
chat that does not accept it is not asked again, nor is a server that has no reactions.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from crocbot import envelope, leases, log
from crocbot.errors import (
    CrocbotError,
    DeliveryError,
    FloodWaitError,
    Refusal,
    TelegramError,
    UnknownMethodError,
)
from crocbot.events import EventListener, Method
from crocbot.model import ErrorEvent, ErrorType, Message, Row, Severity
from crocbot.turn.turn import TurnStages

if TYPE_CHECKING:
    from crocbot.botapi import OptionalCalls

MAX_REACTIONS = 1000
MAX_CALLS = 4
MAX_REFUSING_CHATS = 1000
# A reaction that is left because of a longer flood wait stays.
MAX_REMOVAL_WAIT_SECONDS = 60.0
MAX_REMOVALS = 3
REMOVAL_PAUSE_SECONDS = 2.0
CLOSE_SECONDS = 1.0

logger = log.logger(__name__)


@dataclass(slots=True, kw_only=True)
class Acknowledger:
    """Shows and removes the reaction `emoji` on messages."""

    emoji: str
    calls: OptionalCalls
    stages: TurnStages
    events: EventListener
    _ended: dict[int, asyncio.Event] = field(default_factory=dict, init=False)
    _tasks: dict[asyncio.Task[None], asyncio.Event] = field(
        default_factory=dict, init=False
    )
    _refusing: OrderedDict[int, None] = field(default_factory=OrderedDict, init=False)
    _slots: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(MAX_CALLS)

    def accepted(self, rows: Iterable[Row]) -> None:
        """Show the reaction on the messages of rows that begin to wait."""
        for row in rows:
            full = len(self._tasks) >= MAX_REACTIONS
            if full or "message" not in row.raw or envelope.is_stop(row.raw):
                continue
            ended = self._ended[row.update_id] = asyncio.Event()
            with leases.working_under(row.lease):
                task = asyncio.create_task(self._acknowledge(row, ended))
            self._tasks[task] = ended
            task.add_done_callback(self._tasks.pop)

    def replaced(self, old: int, new: int) -> None:
        """Keep the reaction on a message whose row gives its place to an edit."""
        if ended := self._ended.pop(old, None):
            self._ended[new] = ended

    def ended(self, update_ids: Iterable[int]) -> None:
        """Remove the reaction from messages whose rows were closed."""
        for update_id in update_ids:
            if ended := self._ended.pop(update_id, None):
                ended.set()

    async def close(self) -> None:
        """Wait CLOSE_SECONDS for removals; rows that are open keep their reactions."""
        removing = [task for task, ended in self._tasks.items() if ended.is_set()]
        if removing:
            await asyncio.wait(removing, timeout=CLOSE_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _acknowledge(self, row: Row, ended: asyncio.Event) -> None:
        """Show the reaction, wait for the end of the turn, remove the reaction."""
        try:
            message = await self.stages.answerable(row)
            if message is None or not message.message_id:
                return
            async with self._slots:
                shown = not ended.is_set() and await self._show(message)
            if not shown:
                return
            await ended.wait()
            # The chat is given back after that, or the reaction would stay.
            with leases.using(row.lease):
                await self._remove(message)
        except Exception as error:
            logger.error("bug in a reaction", exc_info=error)
            self.events.emit(ErrorEvent(ErrorType.PROCESSING, Severity.CRITICAL))
        finally:
            # An edit may have changed the update that it is kept for.
            for update_id, kept in list(self._ended.items()):
                if kept is ended:
                    del self._ended[update_id]

    async def _show(self, message: Message) -> bool:
        """Return whether the chat may show the reaction afterwards."""
        chat_id = message.chat.chat_id
        if chat_id in self._refusing or not self.calls.has(Method.SET_MESSAGE_REACTION):
            return False
        try:
            await self.calls.set_reaction(message.chat, message.message_id, self.emoji)
        except TelegramError:
            # The call may have arrived.
            return True
        except DeliveryError as error:
            server = isinstance(error, UnknownMethodError)
            if not server and error.refusal is not Refusal.MESSAGE:
                self._refusing[chat_id] = None
                while len(self._refusing) > MAX_REFUSING_CHATS:
                    self._refusing.popitem(last=False)
            return False
        except CrocbotError:
            return False
        return True

    async def _remove(self, message: Message) -> None:
        """Remove the reaction, after a flood wait if that is not long."""
        for _ in range(MAX_REMOVALS):
            try:
                async with self._slots:
                    await self.calls.set_reaction(
                        message.chat, message.message_id, None
                    )
                return
            except FloodWaitError as error:
                if error.seconds > MAX_REMOVAL_WAIT_SECONDS:
                    return
                await asyncio.sleep(error.seconds)
            except TelegramError:
                await asyncio.sleep(REMOVAL_PAUSE_SECONDS)
            except CrocbotError:
                return
