"""
What is done with some updates as soon as they are stored, before any turn.

    the press of a button --> access --> Telegram is told that it arrived
    a change of membership --> logged, counted; if the bot can write again, the rows
                               that failed because it could not are opened again

Telegram shows a pressed button as busy until it is told, and forgets the press after
seconds, while the turn may have to wait for others.  A press without access is not
confirmed, because nothing that a stranger sends causes a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crocbot import envelope, log
from crocbot.arrival_outcomes import Membership, PressOutcome
from crocbot.errors import CrocbotError, EnvelopeError, InboxError, StoreError
from crocbot.events import EventListener, MembershipChanged, PressHandled
from crocbot.inbox import Inbox
from crocbot.model import Row
from crocbot.turn.turn import TurnStages

if TYPE_CHECKING:
    from crocbot.botapi import Client

CHAT_GONE_REASON = "the chat accepts no messages: the bot was blocked or removed"

logger = log.logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """Handles updates that cannot wait for their turn; shared by all chats."""

    stages: TurnStages
    inbox: Inbox
    client: Client
    events: EventListener

    async def confirm_press(self, row: Row, *, repeated: bool) -> None:
        """Tell Telegram that a press arrived, if its sender has access; count it."""
        outcome = await self._confirm(row)
        if repeated and outcome is PressOutcome.CONFIRMED:
            outcome = PressOutcome.REPEATED
        self.events.emit(PressHandled(outcome))

    async def _confirm(self, row: Row) -> PressOutcome:
        try:
            message = envelope.read(row, self.stages.bot)
            press = None if message is None else message.context.press
            if message is None or press is None:
                return PressOutcome.UNREADABLE
            if not await self.stages.has_access(message):
                return PressOutcome.DENIED
            await self.client.confirm_press(press.query_id)
        except EnvelopeError:
            # The turn logs it.
            return PressOutcome.UNREADABLE
        except CrocbotError as error:
            logger.warning(
                "the press of a button was not confirmed",
                update=row.update_id,
                error=str(error),
            )
            return PressOutcome.UNCONFIRMED
        return PressOutcome.CONFIRMED

    async def change_membership(self, row: Row) -> list[Row]:
        """Log and count a change; return rows that can be answered now."""
        change = envelope.membership(row.raw)
        chat, private = envelope.chat_key(row.raw), envelope.is_private(row.raw)
        if change is None or not isinstance(chat, int):
            return []
        self.events.emit(MembershipChanged(change))
        if not await self._has_access(chat, private=private):
            if change is Membership.ADDED:
                self.stages.denials.record_group(chat)
            return []
        logger.info(f"the bot was {change}", chat=chat)
        if change not in (Membership.UNBLOCKED, Membership.ADDED):
            return []
        try:
            return await self._open_again(chat)
        except InboxError as error:
            logger.error("rows were not opened again", chat=chat, error=str(error))
            return []

    async def _has_access(self, chat: int, *, private: bool) -> bool:
        policy = self.stages.policy
        if not private:
            return chat in policy.groups
        try:
            paired = policy.pairing and await self.stages.pairings.is_paired(chat)
        except StoreError as error:
            logger.error("a pairing cannot be read", error=str(error))
            return False
        # The id of a private chat is that of the person.
        return policy.everyone or paired or chat in policy.listed

    async def _open_again(self, chat: int) -> list[Row]:
        """Open the rows of a chat that failed because the bot could not write to it."""
        failures = await self.inbox.failures()
        update_ids: Sequence[int] = [
            failure.update_id
            for failure in failures
            if failure.reason.startswith(CHAT_GONE_REASON)
            and envelope.chat_key(failure.raw) == chat
        ]
        if not update_ids:
            return []
        rows = await self.inbox.open_again(update_ids)
        logger.info("rows opened again", chat=chat, rows=len(rows))
        return rows
