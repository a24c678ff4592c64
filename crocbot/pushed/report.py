"""
The pushed messages as the text that `crocbot send --list` prints.

    open 1, sent 40, failed 1
      message 42 for chat 7: open, 3 s ago, 120 bytes
      message 41 for chat 8: failed, 5 min ago: Telegram refused the call: ...
"""

from __future__ import annotations

from collections.abc import Iterator

from crocbot.delivery_outcomes import PushState
from crocbot.pushed import sql
from crocbot.pushed.sql import Listed
from crocbot.store import Connection
from crocbot.text import printable, time_span

MAX_SHOWN = 100


def describe(connection: Connection, now: float) -> Iterator[str]:
    """Return the lines about the latest messages, at file time `now`."""
    counts = sql.state(connection).rows
    yield ", ".join(f"{state} {counts[state]}" for state in PushState)
    for each in sql.listed(connection, MAX_SHOWN):
        yield f"  message {each.id} for chat {each.chat.key}: {_state(each, now)}"


def _state(each: Listed, now: float) -> str:
    if each.closed_at is None:
        return f"open, {time_span(now - each.accepted_at)} ago, {each.size} bytes"
    ended = f"{each.state}, {time_span(now - each.closed_at)} ago"
    return f"{ended}: {printable(each.reason)}" if each.reason else ended
