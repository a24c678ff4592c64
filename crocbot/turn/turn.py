"""
THE PATH: one turn, composed.

    Rows --> Message --> Decision --> Prompt --> texts ... --> delivered --> Outcome
    (inbox)  (envelope,  (access,     (sessions) (commands,    (reply)
              fragments)  pairing)                agents)

Each row of the turn is in one of the Outcomes that it returns, whichever stage fails.
Only three exceptions pass through and leave the rows open: a cancellation,
OperatorError, since nothing works until the operator has changed something, and
LeaseLostError, since another replica works them.

Everyone with access gets an answer, or one sentence that says why there is none.  A row
with a reply was answered in an earlier turn that could not deliver it: the reply is
delivered, and neither a command nor the agent runs again.

A row whose turn has crashed the process MAX_TRIES times is set aside.  Because the
dispatcher ran all but the first of these turns alone, it was no other row.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from crocbot import envelope, fragments, log
from crocbot.access import AccessPolicy, DenialLog
from crocbot.arrival_outcomes import EditOutcome
from crocbot.chat_moves import ChatMoves
from crocbot.commands import Commands
from crocbot.edits import Edits
from crocbot.errors import (
    ChatGoneError,
    CrashError,
    CrocbotError,
    DeliveryError,
    EnvelopeError,
    LeaseLostError,
    OperatorError,
    StoreError,
    TurnError,
)
from crocbot.events import EditHandled, EventListener
from crocbot.limits import Refusal
from crocbot.model import (
    BotIdentity,
    Clock,
    Decision,
    Disposition,
    ErrorEvent,
    Message,
    MessageType,
    Outcome,
    Reply,
    Row,
    Severity,
    Verdict,
)
from crocbot.pairing import Pairings
from crocbot.reply import Delivery, ReplyProgress, RichDelivery
from crocbot.turn.admission import Admission
from crocbot.turn.ask import AgentStep
from crocbot.turn.messages import PAIRING_CODE, UNREADABLE_MESSAGE, error_message

# For pairing codes and errors, which must not keep the chat's next message waiting.
MAX_NOTICE_WAIT_SECONDS = 60.0

MAX_TRIES = 3

logger = log.logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnStages:
    """The stages that rows pass; `clock` is monotonic."""

    bot: BotIdentity
    policy: AccessPolicy
    pairings: Pairings
    denials: DenialLog
    commands: Commands
    moves: ChatMoves
    agent_step: AgentStep
    delivery: Delivery
    edits: Edits
    events: EventListener
    admission: Admission | None = None
    rich: RichDelivery | None = None
    clock: Clock = time.monotonic

    async def run(
        self, rows: Sequence[Row], *, overtaken: bool = False
    ) -> list[Outcome]:
        """
        Run one turn for rows that belong together.

        `overtaken` means that later messages of the chat wait: the reply quotes the
        message, so that it is clear which one is answered.
        """
        crashes = max((row.tries for row in rows), default=0)
        if crashes >= MAX_TRIES:
            return await self._set_aside(rows, crashes)
        for row in rows:
            if move := envelope.chat_move(row.raw):
                await self.moves.record(*move)
        read = [self._read(row) for row in rows]
        outcomes = [each for each in read if isinstance(each, Outcome)]
        messages = [each for each in read if isinstance(each, Message)]
        if messages:
            update_ids = tuple(message.update_id for message in messages)
            kept = next((row for row in rows if row.reply), None)
            message = fragments.join(messages)
            retried = sum(row.retried for row in rows if row.update_id in update_ids)
            quotes = overtaken or message.edited
            progress = self.delivery.start(
                message.chat,
                quote=(message.message_id or None) if quotes else None,
                accepted_at=None if retried else message.accepted_at,
                update_id=message.update_id if kept is None else kept.update_id,
                sent=None if kept is None else kept.sent,
            )
            try:
                outcome = await self._process(message, rows, progress)
            finally:
                if not self.agent_step.will_go_on(message.update_id):
                    progress.place.leave()
            outcomes.append(replace(outcome, update_ids=update_ids, retried=retried))
        return outcomes

    def message_type(self, row: Row) -> MessageType | None:
        """Return the type of a row's message; None if it has none to be answered."""
        try:
            message = envelope.read(row, self.bot)
        except EnvelopeError:
            return envelope.guess_type(row.raw)
        return None if message is None else message.type

    async def _set_aside(self, rows: Sequence[Row], crashes: int) -> list[Outcome]:
        """Give up rows whose turns crashed the process, and send a sentence, once."""
        error = CrashError(f"the process crashed in {crashes} turns of this update")
        logger.error("update set aside", update=rows[0].update_id, error=str(error))
        if crashes == MAX_TRIES:
            # If this crashes as well, the next process does not even read the row.
            await self._send_crash_message(rows[0], error)
        return [
            Outcome(
                Disposition.SET_ASIDE,
                message_type=envelope.guess_type(rows[0].raw),
                retried=sum(row.retried for row in rows),
                error=_error_event(error),
                update_ids=tuple(row.update_id for row in rows),
                reason=str(error),
            )
        ]

    async def _send_crash_message(self, row: Row, error: CrashError) -> None:
        """Send the sentence about a crash, if the sender has access."""
        message = await self.answerable(row)
        if message is None:
            logger.warning("error message not sent", update=row.update_id)
        else:
            quote = message.message_id or None
            await self._send_error_message(message, error, quote)

    async def answerable(self, row: Row) -> Message | None:
        """Return the message of a row if it can be read and may be answered."""
        try:
            message = envelope.read(row, self.bot)
            if message is not None and await self.has_access(message):
                return message
        except (EnvelopeError, StoreError):
            pass
        return None

    def _read(self, row: Row) -> Message | Outcome:
        """Return the message of a row, or the outcome of a row without one."""
        update_ids = (row.update_id,)
        try:
            message = envelope.read(row, self.bot)
        except EnvelopeError as error:
            reason = str(error)
            logger.error("update set aside", update=row.update_id, error=reason)
            return Outcome(
                Disposition.SET_ASIDE,
                message_type=envelope.guess_type(row.raw),
                retried=int(row.retried),
                error=_error_event(error),
                update_ids=update_ids,
                reason=reason,
            )
        return message or Outcome(
            Disposition.IGNORED, retried=int(row.retried), update_ids=update_ids
        )

    async def _process(
        self, message: Message, rows: Sequence[Row], progress: ReplyProgress
    ) -> Outcome:
        undelivered = next((row.reply for row in rows if row.reply), None)
        decision: Decision | None = None
        try:
            decision = await self._decide(message)
            if not decision.allowed:
                return await self._deny(message, decision)
            if undelivered is None and await self._ignores_edit(message, rows):
                return Outcome(Disposition.IGNORED, decision=decision)
            if not await self._answer_itself(message, undelivered, progress):
                if (refusal := await self._refuse(message, rows)) is not None:
                    return await self._limited(message, refusal)
                self._count_edit(message)
                await self.agent_step.ask(message, progress)
        except (OperatorError, LeaseLostError):
            raise
        except Exception as error:
            return await self._failed(message, error, decision)
        return Outcome(
            Disposition.ANSWERED,
            message_type=message.type,
            seconds=self.clock() - message.accepted_at,
            decision=decision,
        )

    async def _deny(self, message: Message, decision: Decision) -> Outcome:
        """Record a denial; a denied edit, which is no new message, gets no reply."""
        self.denials.record(message, decision)
        if message.edited:
            self.events.emit(EditHandled(EditOutcome.DENIED))
            return Outcome(Disposition.DENIED, decision=decision)
        await self._send_pairing_code(message, decision)
        return Outcome(Disposition.DENIED, message_type=message.type, decision=decision)

    async def _refuse(self, message: Message, rows: Sequence[Row]) -> Refusal | None:
        """Return the limit that keeps a message from the agent, None for none."""
        if self.admission is None or any(row.retried for row in rows):
            # What the operator opened again was counted before.
            return None
        update_ids = [row.update_id for row in rows]
        return await self.admission.refuse(message, update_ids)

    async def _limited(self, message: Message, refusal: Refusal) -> Outcome:
        """Send the sentence about a limit, unless there were enough of them."""
        self._count_edit(message, limited=True)
        sentence = None
        if self.admission is not None:
            sentence = self.admission.sentence(message, refusal)
        if sentence is not None:
            try:
                await self._send_notice(message, sentence, message.message_id or None)
            except OperatorError:
                raise
            except CrocbotError as error:
                logger.warning("sentence about a limit not sent", error=str(error))
        return Outcome(
            Disposition.DENIED,
            message_type=message.type,
            decision=Decision(Verdict.LIMITED),
        )

    async def _ignores_edit(self, message: Message, rows: Sequence[Row]) -> bool:
        """Return whether a message is an edit that the agent is not told of."""
        outcome = await self.edits.decide(message, rows)
        if outcome is None or outcome is EditOutcome.ANSWERED:
            # Counted when it is known that no limit keeps it from the agent.
            return False
        self.events.emit(EditHandled(outcome))
        return True

    def _count_edit(self, message: Message, *, limited: bool = False) -> None:
        """Count an edit that the agent is told of, or would be without a limit."""
        if message.edited:
            outcome = EditOutcome.DENIED if limited else EditOutcome.ANSWERED
            self.events.emit(EditHandled(outcome))

    async def has_access(self, message: Message) -> bool:
        """Return whether a message may be answered.  Raise StoreError."""
        return (await self._decide(message)).allowed

    async def _decide(self, message: Message) -> Decision:
        """Return the decision; raise StoreError if it needs unreadable pairings."""
        decision, user = self.policy.decide(message), message.sender_id
        if decision.verdict is Verdict.NOT_PAIRED and user is not None:
            paired = await self.pairings.is_paired(user)
            return self.policy.decide(message, paired=paired)
        return decision

    async def _send_pairing_code(self, message: Message, decision: Decision) -> None:
        """Send a pairing code: the only reply to a user without access."""
        if decision.verdict is not Verdict.NOT_PAIRED or message.sender_id is None:
            return
        try:
            code = await self.pairings.offer(message.sender_id)
            if code is not None:
                await self._send_notice(message, PAIRING_CODE.format(code=code))
        except (StoreError, DeliveryError) as error:
            if isinstance(error, StoreError):
                self.events.emit(_error_event(error))
            user = message.sender_id
            logger.warning("pairing code not sent", user=user, error=str(error))

    async def _answer_itself(
        self, message: Message, reply: Reply | None, progress: ReplyProgress
    ) -> bool:
        """
        Deliver the undelivered reply, else a command's.

        Return False, with nothing delivered, if the message is for the agent.
        """
        if reply is None and self.rich is not None:
            if await self.rich.resume(message, progress):
                return True
            reply = await self.rich.classic(message, progress)
        if reply is None and message.unreadable:
            reply = Reply(UNREADABLE_MESSAGE)
        if reply is None and message.command is not None:
            operator = self.policy.is_operator(message)
            reply = await self.commands.answer(message, operator=operator)
        if reply is None:
            return False
        await progress.deliver(reply)
        return True

    async def _failed(
        self, message: Message, error: Exception, decision: Decision | None
    ) -> Outcome:
        """
        Log the error, and send a sentence about it unless delivery failed.

        Only users with access get one.
        """
        undelivered, reason = None, str(error)
        if not isinstance(error, TurnError):
            reason = "a bug, see the log"
            logger.error("bug in a turn", update=message.update_id, exc_info=error)
        else:
            serious = error.severity is Severity.CRITICAL
            log_it = logger.error if serious else logger.warning
            log_it("turn failed", update=message.update_id, error=reason)
        if isinstance(error, DeliveryError):
            undelivered = error.undelivered
        elif decision is not None and decision.allowed:
            await self._send_error_message(message, error)
        return Outcome(
            Disposition.FAILED,
            message_type=message.type,
            decision=decision,
            error=_error_event(error),
            reason=reason,
            undelivered=undelivered,
            chat_gone=isinstance(error, ChatGoneError),
        )

    async def _send_error_message(
        self, message: Message, error: Exception, quote: int | None = None
    ) -> None:
        try:
            await self._send_notice(message, error_message(error), quote)
        except OperatorError:
            raise
        except CrocbotError as failure:
            logger.warning("error message not sent", error=str(failure))
        except Exception as failure:
            self.events.emit(_error_event(failure))
            logger.error("bug in an error message", exc_info=failure)

    async def _send_notice(
        self, message: Message, text: str, quote: int | None = None
    ) -> None:
        progress = self.delivery.start(
            message.chat, quote=quote, wait_seconds=MAX_NOTICE_WAIT_SECONDS
        )
        try:
            await progress.deliver(Reply(text))
        finally:
            progress.place.leave()


def _error_event(error: Exception) -> ErrorEvent:
    """Return how an error is counted; a bug is counted as a plain TurnError."""
    counted = error if isinstance(error, TurnError) else TurnError()
    return ErrorEvent(counted.type, counted.severity)
