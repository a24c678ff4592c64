"""
Whether a message may reach the agent: the limits, and the sentence about one.

    Message --> Limits.take --> None                     the agent is asked
                            --> a sentence, or silence   the row closes as denied

The sentence must not become a flood itself.  Within SENTENCE_SECONDS a person gets it
once in a chat, a chat MAX_SENTENCES_PER_CHAT times, and all chats together
MAX_SENTENCES times; every refused message is counted.

If the counts cannot be read or written, the message is answered: without the file no
further message is accepted.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from crocbot import log
from crocbot.agent_events import MessageLimited
from crocbot.errors import StoreError
from crocbot.events import (
    EventListener,
)
from crocbot.limits import DAY, MINUTE, SLOT_SECONDS, Limits, Refusal
from crocbot.model import Clock, ErrorEvent, Message
from crocbot.turn_outcomes import Limit

SENTENCE_SECONDS = 60.0
# Telegram accepts 20 messages a minute in a group.
MAX_SENTENCES_PER_CHAT = 5
# Telegram accepts 30 messages a second from a bot.
MAX_SENTENCES = 600
PERSON_MESSAGES = (
    "Sorry, you have sent me as many messages as I may answer for now."
    " Please try again in {}."
)
PERSON_TOKENS = "Sorry, your share of today is used up. Please try again in {}."
ALL_MESSAGES = (
    "Sorry, I have answered as many messages as I may for now. Please try again in {}."
)
SENTENCES: Mapping[Limit, str] = {
    Limit.PERSON_MINUTE: PERSON_MESSAGES,
    Limit.PERSON_DAY: PERSON_MESSAGES,
    Limit.PERSON_DAY_TOKENS: PERSON_TOKENS,
    Limit.ALL_MINUTE: ALL_MESSAGES,
    Limit.ALL_DAY: ALL_MESSAGES,
    Limit.ALL_DAY_TOKENS: ALL_MESSAGES,
}

logger = log.logger(__name__)


@dataclass(slots=True, kw_only=True)
class Admission:
    """Admits messages to the agent; shared by all turns.  `clock` is monotonic."""

    limits: Limits
    events: EventListener
    clock: Clock = time.monotonic
    # The sentences of the last SENTENCE_SECONDS: time, chat and person.
    _sent: deque[tuple[float, int, int]] = field(default_factory=deque, init=False)

    async def refuse(
        self, message: Message, update_ids: Sequence[int]
    ) -> Refusal | None:
        """Count a message; return why it may not reach the agent, None if it may."""
        try:
            refusal = await self.limits.take(message.person_id, update_ids)
        except StoreError as error:
            self._report(error)
            return None
        if refusal is not None:
            self.events.emit(MessageLimited(refusal.limit))
        return refusal

    def sentence(self, message: Message, refusal: Refusal) -> str | None:
        """Return the sentence about a limit, None if there were enough of them."""
        now, person = self.clock(), message.person_id
        chat = message.chat.chat_id
        while self._sent and now - self._sent[0][0] >= SENTENCE_SECONDS:
            self._sent.popleft()
        persons = [who for _, where, who in self._sent if where == chat]
        if (
            person in persons
            or len(persons) >= MAX_SENTENCES_PER_CHAT
            or len(self._sent) >= MAX_SENTENCES
        ):
            return None
        self._sent.append((now, chat, person))
        return SENTENCES[refusal.limit].format(in_words(refusal.wait_seconds))

    def _report(self, error: StoreError) -> None:
        logger.error("a limit cannot be counted", error=str(error))
        self.events.emit(ErrorEvent(error.type, error.severity))


def in_words(seconds: float) -> str:
    """
    Return a pause in words, rounded up.

        432.0 --> "8 minutes"

    A window is counted in slots, of a second or of five minutes: what these add is left
    out, so that no sentence has 2 minutes for a limit of a minute, or 25 hours.
    """
    minutes = max(1, math.ceil((seconds - SLOT_SECONDS[MINUTE]) / 60))
    if minutes == 1:
        return "a minute"
    if minutes < 120:
        return f"{minutes} minutes"
    return f"{math.ceil((seconds - SLOT_SECONDS[DAY]) / 3600)} hours"
