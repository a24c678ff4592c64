"""Who is let in."""

from __future__ import annotations

import pytest

from crocbot.access import Policy
from crocbot.model import Address, Kind, Message, Verdict

CLOSED = Policy()
LISTED = Policy(frozenset({7}))
OPEN = Policy(everyone=True)


def message(sender_id: int | None, private: bool = True) -> Message:
    """A message from somebody, in a private chat or a group."""
    return Message(
        update_id=1,
        address=Address(sender_id if private and sender_id else -100),
        message_id=1,
        sender_id=sender_id,
        private=private,
        kind=Kind.TEXT,
        text="hello",
        command=None,
        accepted=0.0,
    )


@pytest.mark.parametrize(
    ("policy", "sender", "private", "verdict"),
    [
        (CLOSED, 7, True, Verdict.NOT_LISTED),
        (CLOSED, None, True, Verdict.NO_SENDER),
        (CLOSED, 7, False, Verdict.GROUP),
        (LISTED, 7, True, Verdict.ALLOWED),
        (LISTED, 8, True, Verdict.NOT_LISTED),
        (LISTED, 7, False, Verdict.GROUP),
        (LISTED, None, True, Verdict.NO_SENDER),
        (OPEN, 8, True, Verdict.ALLOWED),
        (OPEN, None, True, Verdict.NO_SENDER),
        (OPEN, 8, False, Verdict.GROUP),
    ],
)
def test_verdicts(
    policy: Policy, sender: int | None, private: bool, verdict: Verdict
) -> None:
    """Each policy gives each kind of sender this verdict, and only ALLOWED allows."""
    decision = policy.decide(message(sender, private))

    assert decision.verdict is verdict
    assert decision.allowed == (verdict is Verdict.ALLOWED)


@pytest.mark.parametrize(
    ("policy", "closed"), [(CLOSED, True), (LISTED, False), (OPEN, False)]
)
def test_closed(policy: Policy, closed: bool) -> None:
    """A policy says whether it can let anybody in at all."""
    assert policy.closed is closed
