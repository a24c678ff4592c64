"""
The state of an inbox to the lines that an operator reads.

    open: 2, the oldest for 40 s
    accepted 12 = answered 9 + failed 1 + ... + open 2
    failed: 1
      update 700000009 of chat 7, 5 min ago: Telegram said no: Chat not found
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from crocbot.facts import InboxState
from crocbot.inbox.database import Failure
from crocbot.model import Raw

MOST_SHOWN = 100


def describe(
    state: InboxState, failures: Sequence[Failure], now: float
) -> Iterator[str]:
    """Tell depth, age and ledger, then each row that failed, the latest first."""
    age = ""
    if state.oldest is not None:
        age = f", the oldest for {_span(now - state.oldest)}"
    yield f"open: {state.open}{age}"
    ends = [f"{end} {count}" for end, count in state.closed.items()]
    yield f"accepted {state.accepted} = {' + '.join([*ends, f'open {state.open}'])}"
    yield f"failed, kept for a retry: {len(failures)}"
    for failure in list(reversed(failures))[:MOST_SHOWN]:
        chat, ago = _chat(failure.raw), _span(now - failure.closed)
        yield f"  update {failure.update_id}{chat}, {ago} ago: {_line(failure.reason)}"
    if len(failures) > MOST_SHOWN:
        yield f"  and {len(failures) - MOST_SHOWN} older ones"


def _chat(raw: Raw) -> str:
    """Only the id: whatever else there is, people wrote."""
    message = raw.get("message")
    chat = message.get("chat") if isinstance(message, Mapping) else None
    number = chat.get("id") if isinstance(chat, Mapping) else None
    return f" of chat {number}" if isinstance(number, int) else ""


def _line(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _span(seconds: float) -> str:
    """
    Seconds in one unit, rounded down.

        59 -> 59 s    3700 -> 1 h
    """
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"
