"""
What to send after a refusal: the same message without what Telegram refused.

    Draft(chat 7, topic 4, quote 3, "x") -- TOPIC_CLOSED --> Draft(chat 7, quote 3, "x")
                                                         --> Draft(chat 7, "x")

A description that is not known may mean anything, so each part is left out in turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from crocbot.errors import Refusal
from crocbot.events import DeliveryIssue
from crocbot.model import ChatThread, MessagePart


@dataclass(frozen=True, slots=True)
class Draft:
    """A message to send in a chat or topic; `quote` is the message that it quotes."""

    chat: ChatThread
    quote: int | None
    part: MessagePart

    def simpler(self, refusal: Refusal) -> Sequence[Draft]:
        """Return the drafts to send instead, the one with the fewest changes first."""
        plain = replace(self, part=replace(self.part, entities=()))
        no_quote = replace(self, quote=None)
        # A quote takes a message into the topic of the message that it quotes.
        no_thread = replace(self, chat=ChatThread(self.chat.chat_id))
        bare = replace(no_thread, quote=None)
        drafts: tuple[Draft, ...] = ()
        match refusal:
            case Refusal.THREAD:
                drafts = (no_thread, bare)
            case Refusal.QUOTE | Refusal.MESSAGE:
                drafts = (no_quote,)
            case Refusal.FORMATTING:
                drafts = (plain,)
            case Refusal.OTHER:
                drafts = (plain, no_quote, bare, replace(bare, part=plain.part))
        return [each for each in drafts if each != self]

    def issues(self, intended: Draft) -> Iterator[DeliveryIssue]:
        """Yield what this draft lacks of the intended one."""
        if self.chat != intended.chat:
            yield DeliveryIssue.WITHOUT_THREAD
        if self.quote != intended.quote:
            yield DeliveryIssue.WITHOUT_QUOTE
        if self.part != intended.part:
            yield DeliveryIssue.PLAIN_TEXT
