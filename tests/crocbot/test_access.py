"""Who is let in."""

from __future__ import annotations

import pytest

from crocbot.access import AccessPolicy
from crocbot.model import ChatThread, Message, MessageType, Verdict

CLOSED = AccessPolicy()
LISTED = AccessPolicy(frozenset({7}))
PAIRED = AccessPolicy(frozenset({7}), pairing=True)
OPEN = AccessPolicy(everyone=True)
GROUPS = AccessPolicy(frozenset({7}), groups={-100: "mention", -200: "always"})


def message(sender: int | None, chat: int | None, addressed: bool = True) -> Message:
    """A message from somebody, in a group, or in private if no chat is named."""
    return Message(
        update_id=1,
        chat=ChatThread(chat or sender or 1),
        message_id=1,
        sender_id=sender,
        private=chat is None,
        type=MessageType.TEXT,
        text="hello",
        command=None,
        accepted_at=0.0,
        addressed=addressed,
    )


@pytest.mark.parametrize(
    ("policy", "sender", "chat", "addressed", "paired", "verdict"),
    [
        (CLOSED, 7, None, True, False, Verdict.NOT_LISTED),
        (CLOSED, 7, None, True, True, Verdict.NOT_LISTED),
        (CLOSED, None, None, True, False, Verdict.NO_SENDER),
        (CLOSED, 7, -100, True, False, Verdict.GROUP),
        (LISTED, 7, None, True, False, Verdict.ALLOWED),
        (LISTED, 8, None, True, False, Verdict.NOT_LISTED),
        (LISTED, 8, None, True, True, Verdict.NOT_LISTED),
        (LISTED, 7, -100, True, False, Verdict.GROUP),
        (LISTED, None, None, True, False, Verdict.NO_SENDER),
        (PAIRED, 7, None, True, False, Verdict.ALLOWED),
        (PAIRED, 8, None, True, False, Verdict.NOT_PAIRED),
        (PAIRED, 8, None, True, True, Verdict.ALLOWED),
        (PAIRED, 8, -100, True, True, Verdict.GROUP),
        (PAIRED, None, None, True, False, Verdict.NO_SENDER),
        (OPEN, 8, None, True, False, Verdict.ALLOWED),
        (OPEN, None, None, True, False, Verdict.NO_SENDER),
        (OPEN, 8, -100, True, False, Verdict.GROUP),
        (GROUPS, 8, -100, True, False, Verdict.ALLOWED),
        (GROUPS, 8, -100, False, False, Verdict.NOT_ADDRESSED),
        (GROUPS, 7, -100, False, False, Verdict.NOT_ADDRESSED),
        (GROUPS, 8, -200, False, False, Verdict.ALLOWED),
        (GROUPS, None, -200, True, False, Verdict.NO_SENDER),
        (GROUPS, 7, -300, True, False, Verdict.GROUP),
        (GROUPS, 8, None, True, False, Verdict.NOT_LISTED),
    ],
)
def test_verdicts(
    policy: AccessPolicy,
    sender: int | None,
    chat: int | None,
    addressed: bool,
    paired: bool,
    verdict: Verdict,
) -> None:
    """Each policy gives each kind of sender this verdict, and only ALLOWED allows."""
    decision = policy.decide(message(sender, chat, addressed), paired=paired)

    assert decision.verdict is verdict
    assert decision.allowed == (verdict is Verdict.ALLOWED)


@pytest.mark.parametrize(
    ("policy", "closed"),
    [(CLOSED, True), (LISTED, False), (PAIRED, False), (OPEN, False), (GROUPS, False)],
)
def test_closed(policy: AccessPolicy, closed: bool) -> None:
    """A policy says whether it can let anybody in at all."""
    assert policy.closed is closed


@pytest.mark.parametrize(
    ("policy", "sender", "is_operator"),
    [
        (LISTED, 7, True),
        (LISTED, 8, False),
        (OPEN, 7, False),
        (PAIRED, 8, False),
        (LISTED, None, False),
        (AccessPolicy(frozenset({7}), operators=frozenset({8})), 7, False),
        (AccessPolicy(frozenset({7}), operators=frozenset({8})), 8, True),
    ],
)
def test_operators(policy: AccessPolicy, sender: int | None, is_operator: bool) -> None:
    """Operators are those who were named, else the listed; never anybody else."""
    assert policy.is_operator(message(sender, None)) is is_operator
