"""
What happened to the bot in a chat.

    {"my_chat_member": {"chat": {"id": 7, "type": "private"},
                        "old_chat_member": {"status": "member"},
                        "new_chat_member": {"status": "kicked"}}}
    --> Membership.BLOCKED

Reads raw JSON and never raises: what it does not understand is no change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crocbot.arrival_outcomes import Membership
from crocbot.envelope.raw import object_at
from crocbot.events import UpdateType
from crocbot.model import RawUpdate

PRESENT = frozenset({"creator", "administrator", "member"})


def membership(raw: RawUpdate) -> Membership | None:
    """Return what happened to the bot, None if the update says nothing about that."""
    change = object_at(raw, UpdateType.MY_CHAT_MEMBER)
    old = object_at(change, "old_chat_member")
    new = object_at(change, "new_chat_member")
    if not (old and new):
        return None
    private = object_at(change, "chat").get("type") == "private"
    was, is_now = _is_member(old), _is_member(new)
    if was == is_now:
        return Membership.CHANGED
    if is_now:
        return Membership.UNBLOCKED if private else Membership.ADDED
    return Membership.BLOCKED if private else Membership.REMOVED


def is_private(raw: RawUpdate) -> bool:
    """Return whether a change of membership is one in a private chat."""
    chat = object_at(object_at(raw, UpdateType.MY_CHAT_MEMBER), "chat")
    return chat.get("type") == "private"


def _is_member(member: Mapping[str, Any]) -> bool:
    if member.get("status") == "restricted":
        return member.get("is_member") is True
    return member.get("status") in PRESENT
