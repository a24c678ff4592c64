"""
What becomes of edits, presses of buttons and changes of membership.

These closed sets are label values of metrics, like those in `events.py`.
"""

from __future__ import annotations

from enum import StrEnum


class EditOutcome(StrEnum):
    """
    What became of an edited message.

    REPLACED: the message was waiting.  ANSWERED: the agent was told of the edit, or
    will be.  IGNORED: by CROCBOT_EDITS.  UNCHANGED: only Telegram changed it.  COMMAND:
    an edit runs no command.
    """

    REPLACED = "replaced"
    ANSWERED = "answered"
    IGNORED = "ignored"
    UNCHANGED = "unchanged"
    COMMAND = "command"
    DENIED = "denied"


class PressOutcome(StrEnum):
    """
    What became of the press of a button.

    CONFIRMED: Telegram knows that it arrived.  UNCONFIRMED: Telegram could not be told
    in time.  REPEATED: the same press was waiting or running.  UNREADABLE: a button of
    a game or of another chat.
    """

    CONFIRMED = "confirmed"
    UNCONFIRMED = "unconfirmed"
    REPEATED = "repeated"
    DENIED = "denied"
    UNREADABLE = "unreadable"


class Membership(StrEnum):
    """What happened to the bot in a chat; CHANGED: its rights, for example."""

    BLOCKED = "blocked"
    UNBLOCKED = "unblocked"
    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"

    @property
    def gone(self) -> bool:
        """Return whether the bot can send nothing to the chat any more."""
        return self in (Membership.BLOCKED, Membership.REMOVED)
