"""A message of a reply, and what to send instead if Telegram refuses it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from crocbot.delivery_outcomes import DeliveryIssue
from crocbot.errors import ChatGoneError, DeliveryError, GaveUpError, Refusal
from crocbot.model import ChatThread, MessagePart


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """
    A message to send in a chat or topic; `quote` is the message that it quotes.

        (chat 7, topic 4, quote 3, "x")  -- TOPIC_CLOSED -->
            (chat 7, quote 3, "x"), then (chat 7, "x")

    A description that is not known may mean anything, so each part is left out in turn.
    """

    chat: ChatThread
    quote: int | None
    part: MessagePart

    def simpler(self, refusal: Refusal) -> Sequence[OutgoingMessage]:
        """Return the drafts to send instead, the one with the fewest changes first."""
        plain = replace(self, part=replace(self.part, entities=()))
        no_buttons = replace(self, part=replace(self.part, buttons=()))
        no_quote = replace(self, quote=None)
        # A quote takes a message into the topic of the message that it quotes.
        no_thread = replace(self, chat=ChatThread(self.chat.chat_id))
        bare = replace(no_thread, quote=None)
        drafts: tuple[OutgoingMessage, ...] = ()
        match refusal:
            case Refusal.THREAD:
                drafts = (no_thread, bare)
            case Refusal.QUOTE | Refusal.MESSAGE:
                drafts = (no_quote,)
            case Refusal.FORMATTING:
                drafts = (plain,)
            case Refusal.BUTTONS:
                drafts = (no_buttons,)
            case Refusal.OTHER:
                least = replace(bare, part=MessagePart(self.part.text))
                drafts = (plain, no_buttons, no_quote, bare, least)
        return [each for each in drafts if each != self]

    def issues(self, intended: OutgoingMessage) -> Iterator[DeliveryIssue]:
        """Yield what this draft lacks of the intended one."""
        if self.chat != intended.chat:
            yield DeliveryIssue.WITHOUT_THREAD
        if self.quote != intended.quote:
            yield DeliveryIssue.WITHOUT_QUOTE
        if self.part.entities != intended.part.entities:
            yield DeliveryIssue.PLAIN_TEXT
        if self.part.buttons != intended.part.buttons:
            yield DeliveryIssue.WITHOUT_BUTTONS


def issue_of(error: DeliveryError) -> DeliveryIssue:
    """Return how an error that ends a delivery is counted."""
    if isinstance(error, ChatGoneError):
        return DeliveryIssue.BLOCKED
    if isinstance(error, GaveUpError):
        return DeliveryIssue.GAVE_UP
    return DeliveryIssue.REFUSED
