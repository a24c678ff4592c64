"""
What an update does to the rows that wait, as soon as it is stored.

    an edit              takes the place of the message, or edit, that it changes, if
                         that waits
    a second press       of the same button is not needed while the first one waits
    a lost chat          needs none of its rows any more

Reads raw updates and rows only, and never raises.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from crocbot import envelope
from crocbot.events import UpdateType
from crocbot.model import RawUpdate, Row

# Plain texts: an attribute of an enumeration takes as long as the rest.
MESSAGE = UpdateType.MESSAGE.value
EDIT = UpdateType.EDITED_MESSAGE.value
PRESS = UpdateType.CALLBACK_QUERY.value


def replaced(edit: Row, waiting: Iterable[Row]) -> int | None:
    """
    Return the index of the row whose message an edit changes, or None.

    A row whose turn has begun before, also in an earlier process, is not replaced.
    """
    key = envelope.message_key(edit.raw)
    if key is None or envelope.edited_message(edit.raw) is None:
        return None
    for index, row in enumerate(waiting):
        # First what is quick: in a chat that floods the bot thousands of rows wait.
        message = row.raw.get(MESSAGE) or row.raw.get(EDIT)
        if not isinstance(message, dict) or message.get("message_id") != key[1]:
            continue
        has_begun = row.retried or row.tries or row.reply
        if not has_begun and envelope.message_key(row.raw) == key:
            return index
    return None


def replacement(edit: Row, old: Row) -> Row:
    """Return the row of an edit that takes the place of a message or an edit."""
    is_edit = envelope.edited_message(old.raw) is not None
    raw = edit.raw if is_edit else envelope.as_message(edit.raw)
    return replace(edit, raw=raw, accepted_at=old.accepted_at)


def is_press(raw: RawUpdate) -> bool:
    """Return whether an update is the press of a button."""
    return PRESS in raw


def repeats(press: Row, others: Iterable[Row]) -> bool:
    """Return whether one of these rows is the same press of the same person."""
    key = envelope.press_key(press.raw)
    return key is not None and any(
        is_press(other.raw) and envelope.press_key(other.raw) == key for other in others
    )
