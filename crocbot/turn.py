"""
THE PATH: one turn, composed.

    Row --> Message --> Decision --> Reply --> delivered --> Outcome
    (inbox) (envelope)  (access)     (commands,  (reply)
                                      agents)

An Outcome always comes back, whatever goes wrong in a stage; only two things pass
through and leave the row open: a cancelled turn, and what the operator must change.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from crocbot import envelope, log
from crocbot.access import Policy
from crocbot.agents import Agent
from crocbot.commands import Commands
from crocbot.errors import (
    AgentError,
    CrocbotError,
    DeliveryError,
    EnvelopeError,
    OperatorError,
    TurnError,
)
from crocbot.model import (
    Decision,
    Disposition,
    Identity,
    Message,
    Outcome,
    Row,
    Trouble,
)
from crocbot.reply import Courier

SORRY = "Sorry, something went wrong here and I have no answer. Please try again."

logger = log.logger(__name__)


@dataclass(frozen=True, slots=True)
class Turn:
    """The stages that a row passes; `denied` is told about who was not let in."""

    me: Identity
    policy: Policy
    commands: Commands
    agent: Agent
    courier: Courier
    denied: Callable[[Message, Decision], None]
    clock: Callable[[], float] = time.time

    async def take(self, row: Row) -> Outcome:
        """Take one row from door to door."""
        try:
            message = envelope.read(row, self.me)
        except EnvelopeError as error:
            logger.error("update set aside", update=row.update_id, why=str(error))
            return Outcome(Disposition.SET_ASIDE, error=_trouble(error))
        if message is None:
            return Outcome(Disposition.IGNORED)
        decision = self.policy.decide(message)
        if not decision.allowed:
            self.denied(message, decision)
            return Outcome(Disposition.DENIED, message.kind, decision=decision)
        try:
            await self._answer(message)
        except OperatorError:
            raise
        except Exception as error:
            trouble = await self._failed(message, error)
            return Outcome(
                Disposition.FAILED, message.kind, decision=decision, error=trouble
            )
        seconds = max(0.0, self.clock() - row.accepted)
        return Outcome(Disposition.ANSWERED, message.kind, seconds, decision)

    async def _answer(self, message: Message) -> None:
        reply = self.commands.answer(message) or await self.agent.answer(message)
        if not reply.text.strip():
            raise AgentError("the agent's answer is empty")
        await self.courier.deliver(reply, message.address)

    async def _failed(self, message: Message, error: Exception) -> Trouble:
        """Log it, and tell the person unless that is what failed."""
        if isinstance(error, TurnError):
            logger.warning("turn failed", update=message.update_id, why=str(error))
        else:
            logger.error("bug in a turn", update=message.update_id, exc_info=error)
        if not isinstance(error, DeliveryError):
            try:
                await self.courier.send(message.address, SORRY)
            except CrocbotError as fault:
                logger.warning("apology not sent", why=str(fault))
        return _trouble(error)


def _trouble(error: Exception) -> Trouble:
    """The words to count it under; a bug counts as the class of errors unforeseen."""
    kind = error if isinstance(error, TurnError) else TurnError()
    return Trouble(kind.type, kind.severity)
