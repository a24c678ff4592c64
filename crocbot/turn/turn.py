"""
THE PATH: one turn, composed.

    Rows --> Message --> Decision --> Prompt --> pieces ... --> delivered --> Outcome
    (inbox)  (envelope,  (access,     (sessions)   (commands,     (reply)
              fragments)      pairing)                  agents)

Every update of the turn is in one of the Outcomes that come back, whatever goes wrong
in a stage; only two things pass through and leave the rows open: a cancelled turn, and
what the operator must change.

Who is let in always gets an answer or one sentence that says why there is none.  A row
that brings a reply along has been here before: it is sent, and nobody is asked again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from crocbot import envelope, fragments, log
from crocbot.access import AccessPolicy, DenialLog
from crocbot.commands import Commands
from crocbot.errors import (
    ChatGoneError,
    CrocbotError,
    DeliveryError,
    EnvelopeError,
    OperatorError,
    StoreError,
    TurnError,
)
from crocbot.model import (
    BotIdentity,
    Decision,
    Disposition,
    ErrorEvent,
    Message,
    Outcome,
    Reply,
    Row,
    Verdict,
)
from crocbot.pairing import Pairings
from crocbot.reply import Delivery, SentReply
from crocbot.turn.ask import Asking
from crocbot.turn.messages import PAIR, sentence

# For words that nobody asked for; they must not keep others waiting for long.
BRIEF_PATIENCE = 60.0

logger = log.logger(__name__)


@dataclass(frozen=True, slots=True)
class Turn:
    """
    The stages that a row passes.

    `overtaken` returns whether there is a later message in the chat of a message.
    """

    me: BotIdentity
    policy: AccessPolicy
    pairings: Pairings
    commands: Commands
    asking: Asking
    courier: Delivery
    overtaken: Callable[[Message], bool]
    denials: DenialLog
    clock: Callable[[], float] = time.time

    async def take(self, rows: Sequence[Row]) -> list[Outcome]:
        """Take rows that belong together from door to door."""
        messages: list[Message] = []
        outcomes = list(self._read(rows, messages))
        if messages:
            update_ids = tuple(message.update_id for message in messages)
            kept = next((row.reply for row in rows if row.reply), None)
            outcome = await self._turn(fragments.join(messages), kept)
            outcomes.append(replace(outcome, update_ids=update_ids))
        return outcomes

    def _read(self, rows: Sequence[Row], messages: list[Message]) -> Iterator[Outcome]:
        """Fill in the messages; what is none has its Outcome at once."""
        for row in rows:
            one = (row.update_id,)
            try:
                message = envelope.read(row, self.me)
            except EnvelopeError as error:
                why = str(error)
                logger.error("update set aside", update=row.update_id, error=why)
                yield Outcome(
                    Disposition.SET_ASIDE,
                    error=_trouble(error),
                    update_ids=one,
                    reason=why,
                )
                continue
            if message is None:
                yield Outcome(Disposition.IGNORED, update_ids=one)
            else:
                messages.append(message)

    async def _turn(self, message: Message, kept: Reply | None) -> Outcome:
        """Decide, ask whoever answers, deliver."""
        decision = await self._decide(message)
        if not decision.allowed:
            self.denials.record(message, decision)
            await self._introduce(message, decision)
            return Outcome(Disposition.DENIED, message.type, decision=decision)
        said: list[str] = []
        try:
            await self._answer(message, kept, said)
        except OperatorError:
            raise
        except Exception as error:
            failed = await self._failed(message, error)
            lost = "".join(said) if isinstance(error, DeliveryError) else ""
            markdown = kept.markdown if kept else self.asking.agent.markdown
            return replace(
                failed,
                decision=decision,
                undelivered=Reply(lost, markdown) if lost else None,
            )
        seconds = max(0.0, self.clock() - message.accepted_at)
        return Outcome(Disposition.ANSWERED, message.type, seconds, decision)

    async def _decide(self, message: Message) -> Decision:
        paired = False
        if self.policy.pairing and message.sender_id is not None:
            try:
                paired = await self.pairings.is_paired(message.sender_id)
            except StoreError as error:
                logger.error("pairings cannot be read", error=str(error))
        return self.policy.decide(message, paired=paired)

    async def _introduce(self, message: Message, decision: Decision) -> None:
        """Tell a stranger his code; there is nothing else that a stranger is told."""
        if decision.verdict is not Verdict.NOT_PAIRED or message.sender_id is None:
            return
        try:
            code = await self.pairings.offer(message.sender_id)
            if code is not None:
                shown = SentReply(message.chat, patience=BRIEF_PATIENCE)
                await self.courier.complete(shown, Reply(PAIR.format(code=code)))
        except (StoreError, DeliveryError) as error:
            logger.warning("no code told", user=message.sender_id, error=str(error))

    async def _answer(
        self, message: Message, kept: Reply | None, said: list[str]
    ) -> None:
        """Answer from what was kept, with a command, or through the agent."""
        if kept is None:
            operator = self.policy.is_operator(message)
            reply = await self.commands.answer(message, operator=operator)
        else:
            reply = kept
        quote = message.message_id if self.overtaken(message) else None
        shown = SentReply(message.chat, quote)
        if reply is None:
            await self.asking.ask(message, shown, said)
            return
        said.append(reply.text)
        await self.courier.complete(shown, reply)
        self.asking.seen(message)

    async def _failed(self, message: Message, error: Exception) -> Outcome:
        """Log it, and tell the person unless that is what failed."""
        if isinstance(error, TurnError):
            logger.warning("turn failed", update=message.update_id, error=str(error))
        else:
            logger.error("bug in a turn", update=message.update_id, exc_info=error)
        if not isinstance(error, DeliveryError):
            shown = SentReply(message.chat, patience=BRIEF_PATIENCE)
            try:
                await self.courier.complete(shown, Reply(sentence(error)))
            except OperatorError:
                raise
            except CrocbotError as failure:
                logger.warning("apology not sent", error=str(failure))
        return Outcome(
            Disposition.FAILED,
            message.type,
            error=_trouble(error),
            reason=str(error) if isinstance(error, TurnError) else "a bug, see the log",
            chat_gone=isinstance(error, ChatGoneError),
        )


def _trouble(error: Exception) -> ErrorEvent:
    """The words to count it under; a bug counts as the class of errors unforeseen."""
    kind = error if isinstance(error, TurnError) else TurnError()
    return ErrorEvent(kind.type, kind.severity)
