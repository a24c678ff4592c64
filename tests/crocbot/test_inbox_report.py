"""What an operator reads about an inbox."""

from __future__ import annotations

from crocbot.events import InboxState
from crocbot.inbox import Failure, describe
from crocbot.inbox.report import MOST_SHOWN
from crocbot.model import Disposition, Row

CLOSED = dict.fromkeys(Disposition, 0) | {Disposition.ANSWERED: 9}
LEDGER = (
    "accepted 12 = answered 9 + failed 0 + denied 0 + cancelled 0 + ignored 0"
    " + set_aside 0 + open 3"
)


def test_an_inbox() -> None:
    """Depth, age, the oldest open rows, the equation, and what failed, with why."""
    waiting = [Row(7, {"message": {"chat": {"id": 9}}}, 100.0), Row(8, {}, 990.0)]
    failures = [
        Failure(1, 0.0, "no\nforged line", {"message": {"chat": {"id": -5}}}),
        Failure(2, 880.0, "blocked", {"message": "?"}),
        Failure(3, 940.0, "no date", {"message": "?"}, Disposition.SET_ASIDE),
    ]
    state = InboxState(
        accepted=12, open=3, closed=CLOSED, duplicates=0, oldest_accepted_at=100.0
    )
    lines = list(describe(state, waiting, failures, 1000.0))

    assert lines == [
        "open: 3, the oldest for 15 min",
        "  update 7 of chat 9, 15 min ago",
        "  update 8, 10 s ago",
        "  and 1 newer ones",
        LEDGER,
        "failed, kept for a retry: 2",
        "  update 2, 2 min ago: blocked",
        "  update 1 of chat -5, 16 min ago: no?forged line",
        "set aside, for a report: 1",
        "  update 3, 1 min ago: no date",
    ]


def test_an_empty_inbox() -> None:
    """Nothing open has no age."""
    empty = InboxState(
        accepted=0,
        open=0,
        closed=dict.fromkeys(Disposition, 0),
        duplicates=0,
        oldest_accepted_at=None,
    )

    assert next(describe(empty, [], [], 0.0)) == "open: 0"


def test_many_failures() -> None:
    """Of too many failures the latest are shown."""
    failures = [Failure(n, float(n), "no", {}) for n in range(MOST_SHOWN + 7)]
    lines = list(
        describe(
            InboxState(
                accepted=0, open=0, closed={}, duplicates=0, oldest_accepted_at=None
            ),
            [],
            failures,
            1e6,
        )
    )

    assert len(lines) == 3 + MOST_SHOWN + 1
    assert lines[3].startswith(f"  update {MOST_SHOWN + 6}, 11 d ago")
    assert lines[-1] == "  and 7 older ones"
