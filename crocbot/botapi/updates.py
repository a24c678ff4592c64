"""The updates of an answer or of a webhook request that the inbox can store."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from crocbot import log
from crocbot.events import EventListener, UpdateReceived, UpdateType
from crocbot.model import ErrorEvent, ErrorType, RawUpdate, Severity

MAX_UPDATE_ID = 2**62
PROCESSING_ERROR = ErrorEvent(ErrorType.PROCESSING, Severity.CRITICAL)

logger = log.logger(__name__)


def usable_updates(entries: Iterable[Any], events: EventListener) -> list[RawUpdate]:
    """
    Return the updates among the entries of an answer, in the order of their ids.

    An entry without a usable id is dropped, logged and counted: it can be neither
    stored nor acknowledged.  Of two with one id the second is returned.
    """
    updates: dict[int, RawUpdate] = {}
    dropped = 0
    for entry in entries:
        if _is_usable(entry):
            updates[entry["update_id"]] = entry
            if (type_ := UpdateType.of(entry)) is not None:
                events.emit(UpdateReceived(type_))
        else:
            dropped += 1
            events.emit(PROCESSING_ERROR)
    if dropped:
        logger.error("updates without a usable id were dropped", updates=dropped)
    return [updates[update_id] for update_id in sorted(updates)]


def _is_usable(entry: Any) -> bool:
    """Return whether the inbox can store an entry: it has a whole, positive id."""
    update_id = entry.get("update_id") if isinstance(entry, dict) else None
    return type(update_id) is int and 0 <= update_id < MAX_UPDATE_ID
