"""What Telegram hands over, polled or by webhook, to raw updates by their id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from crocbot import log
from crocbot.events import EventListener, UpdateReceived, UpdateType
from crocbot.model import ErrorEvent, ErrorType, RawUpdate, Severity

logger = log.logger(__name__)


def by_id(answer: Sequence[Any], events: EventListener) -> dict[int, RawUpdate]:
    """
    Put them in the order in which people wrote.

    What has no id is sorted out: it can be neither stored nor acknowledged.
    """
    updates = {}
    dropped = 0
    for update in answer:
        update_id = _update_id(update)
        if update_id is None:
            dropped += 1
            events.emit(ErrorEvent(ErrorType.PROCESSING, Severity.CRITICAL))
            continue
        updates[update_id] = update
        events.emit(UpdateReceived(UpdateType.of(update)))
    if dropped:
        logger.error("updates without a usable id were dropped", updates=dropped)
    return dict(sorted(updates.items()))


def _update_id(update: object) -> int | None:
    """The id of an update that the inbox can store."""
    if not isinstance(update, Mapping):
        return None
    update_id = update.get("update_id")
    if type(update_id) is not int or not 0 <= update_id < 2**62:
        return None
    return update_id
