"""
A Message to a Decision: nobody is answered unless let in.

This is the only place that decides it.  In the order asked:

- groups are never answered;
- a message without a person behind it is not answered;
- everybody in a private chat, if the operator said `open`;
- the listed people.
"""

from __future__ import annotations

from dataclasses import dataclass

from crocbot.model import Decision, Message, Verdict


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may talk to the bot.  `everyone` means in private chats."""

    listed: frozenset[int] = frozenset()
    everyone: bool = False

    @property
    def closed(self) -> bool:
        """Nobody at all can be answered; worth a word to the operator."""
        return not self.everyone and not self.listed

    def decide(self, message: Message) -> Decision:
        """Judge one message; the same message gives the same decision."""
        return Decision(self._verdict(message))

    def _verdict(self, message: Message) -> Verdict:
        if not message.private:
            return Verdict.GROUP
        if message.sender_id is None:
            return Verdict.NO_SENDER
        if self.everyone or message.sender_id in self.listed:
            return Verdict.ALLOWED
        return Verdict.NOT_LISTED
