"""Who has access."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from crocbot.access import (
    MAX_REMEMBERED_DENIALS,
    AccessPolicy,
    DenialLog,
    privacy_warning,
)
from crocbot.model import (
    BotIdentity,
    ChatThread,
    Decision,
    Message,
    MessageType,
    Verdict,
)

CLOSED = AccessPolicy()
LISTED = AccessPolicy(listed=frozenset({7}))
PAIRED = AccessPolicy(listed=frozenset({7}), pairing=True)
OPEN = AccessPolicy(everyone=True)
GROUPS = AccessPolicy(listed=frozenset({7}), groups={-100: "mention", -200: "always"})


def message(sender: int | None, chat: int | None, addressed: bool = True) -> Message:
    """Return a message from a sender in a group, or in private if `chat` is None."""
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
    """A policy is closed if it can let no one in at all."""
    assert policy.closed is closed


@pytest.mark.parametrize(
    ("policy", "sender", "is_operator"),
    [
        (LISTED, 7, True),
        (LISTED, 8, False),
        (OPEN, 7, False),
        (PAIRED, 8, False),
        (LISTED, None, False),
        (AccessPolicy(listed=frozenset({7}), operators=frozenset({8})), 7, False),
        (AccessPolicy(listed=frozenset({7}), operators=frozenset({8})), 8, True),
    ],
)
def test_operators(policy: AccessPolicy, sender: int | None, is_operator: bool) -> None:
    """Operators are those in `operators`, else the listed, and no one else."""
    assert policy.is_operator(message(sender, None)) is is_operator


def test_denials_are_logged_once() -> None:
    """Each sender or group without access is logged once, with how to change it."""
    denials = DenialLog()
    with capture_logs() as lines:
        for user in (9, 9, 10, 9):
            denials.record(message(user, None), Decision(Verdict.NOT_LISTED))
        for _ in range(2):
            denials.record(message(None, -5), Decision(Verdict.GROUP))
        denials.record(message(None, -6), Decision(Verdict.NO_SENDER))

    assert [" ".join(map(str, line.values())) for line in lines] == [
        "9 add 9 to CROCBOT_ALLOW_FROM access denied warning",
        "10 add 10 to CROCBOT_ALLOW_FROM access denied warning",
        "-5 add -5 to CROCBOT_GROUPS access denied warning",
        "-6 no_sender not answered warning",
    ]


def test_denials_take_bounded_memory() -> None:
    """A sender is forgotten, and logged again, after MAX_REMEMBERED_DENIALS others."""
    denials = DenialLog()
    with capture_logs() as lines:
        for user in (*range(1, MAX_REMEMBERED_DENIALS + 2), 1):
            denials.record(message(user, None), Decision(Verdict.NOT_LISTED))

    assert len(lines) == MAX_REMEMBERED_DENIALS + 2


@pytest.mark.parametrize(
    ("privacy_mode", "groups", "warned"),
    [
        (True, {-5: "always"}, True),
        (True, {-5: "mention", -6: "always"}, True),
        (True, {-5: "mention"}, False),
        (True, {}, False),
        (False, {-5: "always"}, False),
    ],
)
def test_privacy_mode(privacy_mode: bool, groups: dict[int, str], warned: bool) -> None:
    """A group with :always is not answered always if Telegram hides its messages."""
    bot = BotIdentity(99, "our_bot", privacy_mode=privacy_mode)
    warning = privacy_warning(bot, groups)

    assert (warning is not None) is warned
    assert warning is None or "/setprivacy" in warning
