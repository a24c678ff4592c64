"""
A Message to a Decision: nobody is answered unless let in.

This is the only place that decides it.  In the order asked:

- in a group: it must be listed, and a person must have written; then everybody there
  is answered who addresses the bot, or whatever is said if the group is so listed;
- in private: a person must have written; then everybody if the operator said `open`,
  else the listed, else whom he approved by a pairing code;
- nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from crocbot.model import Decision, Message, Verdict

ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """
    Who may talk to the bot.

    `everyone` and `pairing` are about private chats.  `groups` has ids and, for each,
    `mention` or `always`.  `operators` are the listed if there are none.
    """

    listed: frozenset[int] = frozenset()
    everyone: bool = False
    pairing: bool = False
    groups: Mapping[int, str] = field(default_factory=dict)
    operators: frozenset[int] = frozenset()

    @property
    def closed(self) -> bool:
        """Nobody at all can be answered; worth a word to the operator."""
        return not (self.everyone or self.pairing or self.listed or self.groups)

    def decide(self, message: Message, *, paired: bool = False) -> Decision:
        """Judge one message; `paired` tells whether its sender was approved."""
        judge = self._private if message.private else self._group
        return Decision(judge(message, paired))

    def is_operator(self, message: Message) -> bool:
        """Whether its sender may use operator commands."""
        return message.sender_id in (self.operators or self.listed)

    def _private(self, message: Message, paired: bool) -> Verdict:
        if message.sender_id is None:
            return Verdict.NO_SENDER
        if self.everyone or message.sender_id in self.listed:
            return Verdict.ALLOWED
        if not self.pairing:
            return Verdict.NOT_LISTED
        return Verdict.ALLOWED if paired else Verdict.NOT_PAIRED

    def _group(self, message: Message, _: bool) -> Verdict:
        mode = self.groups.get(message.chat.chat_id)
        if mode is None:
            return Verdict.GROUP
        if message.sender_id is None:
            return Verdict.NO_SENDER
        if mode == ALWAYS or message.addressed:
            return Verdict.ALLOWED
        return Verdict.NOT_ADDRESSED
