"""
Failed rows that an operator chooses: by id, reason, age and chat; and dropping them.

    FailureFilter(reason="blocked", chat_id=7) --> the failures that match all of it

A dropped row keeps its id, so that its update is still recognised, and loses its
content, its answer and its files.  Its disposition becomes cancelled, and the ledger
moves with it in the same transaction.  Open rows are never dropped: they belong to the
gateway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crocbot.inbox import replies, sql
from crocbot.inbox.sql import CONTENT_KEPT, Failure
from crocbot.model import Disposition, RawUpdate
from crocbot.store import Connection

DROPPED = "dropped by the operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureFilter:
    """
    Conditions on a failure; None accepts every one.

    `reason` is a part of the reason in any case, `closed_after` a file time, and
    `update_ids` the only ids that match.
    """

    reason: str | None = None
    closed_after: float | None = None
    chat_id: int | None = None
    update_ids: frozenset[int] | None = None

    def accepts(self, failure: Failure) -> bool:
        """Return whether a failure meets all conditions."""
        reason, chat = self.reason, self.chat_id
        return (
            (reason is None or reason.casefold() in failure.reason.casefold())
            and (chat is None or chat_id(failure.raw) == chat)
            and (self.closed_after is None or failure.closed_at >= self.closed_after)
            and (self.update_ids is None or failure.update_id in self.update_ids)
        )


def select(
    connection: Connection,
    wanted: FailureFilter,
    dispositions: frozenset[Disposition] = CONTENT_KEPT,
) -> list[Failure]:
    """Return the failures that a filter accepts, by time."""
    return [
        failure
        for failure in sql.failures(connection)
        if failure.disposition in dispositions and wanted.accepts(failure)
    ]


def drop(connection: Connection, update_ids: Sequence[int]) -> int:
    """Drop rows that failed or were set aside; return how many there were."""
    dropped = 0
    for update_id in update_ids:
        for disposition in CONTENT_KEPT:
            changed = connection.execute(
                "UPDATE rows SET disposition = ?, reason = ?, raw = '', reply = NULL"
                " WHERE update_id = ? AND disposition = ?",
                (str(Disposition.CANCELLED), DROPPED, update_id, str(disposition)),
            ).rowcount
            if changed:
                replies.remove(connection, update_id)
                sql.count(connection, str(disposition), -changed)
                sql.count(connection, str(Disposition.CANCELLED), changed)
                dropped += changed
    return dropped


def chat_id(raw: RawUpdate) -> int | None:
    """Return the id of the chat of an update, None if it has none."""
    for value in raw.values():
        if not isinstance(value, Mapping):
            continue
        # A press of a button has the message with the button.
        inner = value.get("message")
        chat = (inner if isinstance(inner, Mapping) else value).get("chat")
        number = chat.get("id") if isinstance(chat, Mapping) else None
        if isinstance(number, int):
            return number
    return None
