"""
Message to Decision: only senders with access are answered.

This is the only place that decides it, in this order:

- in a group: it must be listed, and the sender must be a person; then messages for the
  bot are answered, or all messages if the group is listed with `:always`;
- in private: the sender must be a person; then everyone if access is `open`, else
  listed users, and with `pairing` approved ones;
- no one else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from crocbot import log
from crocbot.model import BotIdentity, Decision, Message, Verdict

ALWAYS = "always"
MAX_REMEMBERED_DENIALS = 1000
HINTS: Mapping[Verdict, str] = {
    Verdict.NOT_LISTED: "add {user} to CROCBOT_ALLOW_FROM",
    Verdict.NOT_PAIRED: "crocbot pairing list, crocbot pairing approve",
}

logger = log.logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPolicy:
    """
    Who may talk to the bot.

    `everyone` and `pairing` apply to private chats.  `groups` maps ids to `mention` or
    `always`; it may grow.  Without `operators`, listed users are operators.
    """

    listed: frozenset[int] = frozenset()
    everyone: bool = False
    pairing: bool = False
    groups: Mapping[int, str] = field(default_factory=dict)
    operators: frozenset[int] = frozenset()

    @property
    def closed(self) -> bool:
        """Return whether no message can be answered at all."""
        return not (self.everyone or self.pairing or self.listed or self.groups)

    def decide(self, message: Message, *, paired: bool = False) -> Decision:
        """Decide about one message; `paired` means that its sender was approved."""
        if message.private:
            return Decision(self._private(message, paired))
        return Decision(self._group(message))

    def is_operator(self, message: Message) -> bool:
        """Return whether the sender may use operator commands."""
        return message.sender_id in (self.operators or self.listed)

    def _private(self, message: Message, paired: bool) -> Verdict:
        if message.sender_id is None:
            return Verdict.NO_SENDER
        if self.everyone or message.sender_id in self.listed:
            return Verdict.ALLOWED
        if not self.pairing:
            return Verdict.NOT_LISTED
        return Verdict.ALLOWED if paired else Verdict.NOT_PAIRED

    def _group(self, message: Message) -> Verdict:
        mode = self.groups.get(message.chat.chat_id)
        if mode is None:
            return Verdict.GROUP
        if message.sender_id is None:
            return Verdict.NO_SENDER
        if mode == ALWAYS or message.addressed:
            return Verdict.ALLOWED
        return Verdict.NOT_ADDRESSED


def privacy_warning(bot: BotIdentity, groups: Mapping[int, str]) -> str | None:
    """Return what to change if Telegram hides messages of groups, else None."""
    if not bot.privacy_mode or ALWAYS not in groups.values():
        return None
    return (
        "CROCBOT_GROUPS has a group with :always, but in privacy mode Telegram sends"
        " from groups only commands, mentions and replies: turn it off (@BotFather,"
        " /setprivacy) and add the bot to the group again, or make it an administrator"
    )


class DenialLog:
    """Logs each sender or group without access, once while it is remembered."""

    def __init__(self) -> None:
        self._logged: set[int] = set()

    def record(self, message: Message, decision: Decision) -> None:
        """Log how to give access, if that is possible."""
        chat, user = message.chat.chat_id, message.sender_id
        key = user if decision.verdict in HINTS and user else chat
        if key in self._logged:
            return
        self._remember(key)
        if decision.verdict in HINTS:
            hint = HINTS[decision.verdict].format(user=user)
            logger.warning("access denied", user=user, fix=hint)
        elif decision.verdict is Verdict.GROUP:
            hint = f"add {chat} to CROCBOT_GROUPS"
            logger.warning("access denied", chat=chat, fix=hint)
        else:
            logger.warning("not answered", chat=chat, reason=str(decision.verdict))

    def record_group(self, chat: int) -> None:
        """Log that the bot was added to a group without access, and how to give it."""
        if chat in self._logged:
            return
        self._remember(chat)
        hint = f"add {chat} to CROCBOT_GROUPS"
        logger.warning("added to a group without access", chat=chat, fix=hint)

    def _remember(self, key: int) -> None:
        if len(self._logged) >= MAX_REMEMBERED_DENIALS:
            self._logged.clear()
        self._logged.add(key)
