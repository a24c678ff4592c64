"""Who was not let in: a line in the log for each, once."""

from __future__ import annotations

from collections.abc import Mapping

from crocbot import log
from crocbot.model import Decision, Message, Verdict

MOST_STRANGERS = 1000
HINTS: Mapping[Verdict, str] = {
    Verdict.NOT_LISTED: "add {user} to CROCBOT_ALLOW_FROM",
    Verdict.NOT_PAIRED: "crocbot pairing list, crocbot pairing approve",
}

logger = log.logger(__name__)


class Strangers:
    """Logs everybody who was not let in, once; after a thousand it starts anew."""

    def __init__(self) -> None:
        self._known: set[int] = set()

    def note(self, message: Message, decision: Decision) -> None:
        """Tell the operator how to let them in, if that is possible."""
        chat, user = message.chat.chat_id, message.sender_id
        key = user if decision.verdict in HINTS and user else chat
        if key in self._known:
            return
        if len(self._known) >= MOST_STRANGERS:
            self._known.clear()
        self._known.add(key)
        if decision.verdict in HINTS:
            hint = HINTS[decision.verdict].format(user=user)
            logger.warning("not let in", user=user, to_let_in=hint)
        elif decision.verdict is Verdict.GROUP:
            hint = f"add {chat} to CROCBOT_GROUPS"
            logger.warning("group not let in", chat=chat, to_let_in=hint)
        else:
            logger.warning("not answered", chat=chat, reason=str(decision.verdict))
