"""
The state of the inbox as the text that `crocbot inbox` prints.

    open: 2, the oldest for 40 s
      update 700000011 of chat 7, 40 s ago
      update 700000012 of chat 8, 3 s ago
    accepted 13 = answered 9 + failed 1 + ... + open 2
    failed, kept for a retry: 1
      update 700000009 of chat 7, 5 min ago: Telegram refused the call: chat not found
    set aside, for a report: 1
      update 700000010, 4 min ago: ...
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from crocbot.events import InboxState
from crocbot.inbox import sql
from crocbot.inbox.selection import chat_id
from crocbot.inbox.sql import Failure
from crocbot.model import Disposition, RawUpdate, Row
from crocbot.store import Connection
from crocbot.text import printable, time_span

MAX_SHOWN = 100


def describe(connection: Connection, now: float) -> Iterator[str]:
    """Return the lines about open rows, the ledger and failures, at file time `now`."""
    yield from describe_open(connection, now)
    yield describe_ledger(sql.state(connection))
    yield from describe_failures(sql.failures(connection), now)


def describe_ledger(state: InboxState) -> str:
    """Return the line of the ledger: accepted updates, by what became of them."""
    ends = [f"{end} {count}" for end, count in state.closed.items()]
    return f"accepted {state.accepted} = {' + '.join([*ends, f'open {state.open}'])}"


def describe_open(connection: Connection, now: float) -> Iterator[str]:
    """Return the lines about open rows, the oldest of them each with a line."""
    state = sql.state(connection)
    waiting = sql.oldest_open(connection, MAX_SHOWN)
    age = ""
    if state.oldest_accepted_at is not None:
        age = f", the oldest for {time_span(now - state.oldest_accepted_at)}"
    yield f"open: {state.open}{age}"
    for row in waiting:
        chat, ago = _chat(row.raw), time_span(now - row.accepted_at)
        crashes = f", crashes during its turns: {row.tries}" if row.tries else ""
        yield f"  update {row.update_id}{chat}, {ago} ago{crashes}{_kept(row)}"
    if state.open > len(waiting):
        yield f"  and {state.open - len(waiting)} newer ones"


def describe_failures(failures: Sequence[Failure], now: float) -> Iterator[str]:
    """Return the lines about failed rows and rows that were set aside."""
    failed = [each for each in failures if each.disposition is Disposition.FAILED]
    yield f"failed, kept for a retry: {len(failed)}"
    yield from _latest(failed, now)
    aside = [each for each in failures if each.disposition is Disposition.SET_ASIDE]
    if aside:
        yield f"set aside, for a report: {len(aside)}"
        yield from _latest(aside, now)


def _kept(row: Row) -> str:
    """Return how far an answer with files or buttons has been sent, if there is one."""
    if row.reply is None or row.sent is None:
        return ""
    count = len(row.reply.files)
    return f", its answer is kept: {row.sent.files} of {count} files sent"


def _latest(failures: Sequence[Failure], now: float) -> Iterator[str]:
    for failure in list(reversed(failures))[:MAX_SHOWN]:
        chat, ago = _chat(failure.raw), time_span(now - failure.closed_at)
        reason = printable(failure.reason)
        yield f"  update {failure.update_id}{chat}, {ago} ago: {reason}"
    if len(failures) > MAX_SHOWN:
        yield f"  and {len(failures) - MAX_SHOWN} older ones"


def _chat(raw: RawUpdate) -> str:
    """Return only the id of a chat; everything else was written by people."""
    number = chat_id(raw)
    return "" if number is None else f" of chat {number}"
