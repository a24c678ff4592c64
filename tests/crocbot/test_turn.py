"""The path: what comes out of a turn, whatever goes wrong inside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot.access import Policy
from crocbot.commands import Commands, Status
from crocbot.errors import (
    AgentError,
    ChatGoneError,
    DeliveryError,
    FloodWaitError,
    OperatorError,
    TelegramError,
)
from crocbot.model import (
    Address,
    Decision,
    Disposition,
    ErrorType,
    Identity,
    Kind,
    Message,
    Outcome,
    ReconnectReason,
    Reply,
    Row,
    Severity,
    Trouble,
    Verdict,
)
from crocbot.reply import Courier
from crocbot.turn import PAIR, SORRY, Turn

YES = Decision(Verdict.ALLOWED)
STATUS = Status("1", "fake", 0.0, 1, None)
ADA = {"id": 7, "is_bot": False, "first_name": "Ada"}


def row(text: str = "hello", user: int = 7) -> Row:
    """A private text; a slash makes it a command."""
    message: dict[str, Any] = {
        "message_id": 3,
        "date": 1_700_000_000,
        "chat": {"id": user, "type": "private"},
        "from": ADA | {"id": user},
        "text": text,
    }
    if text.startswith("/"):
        length = len(text.split()[0])
        message["entities"] = [{"type": "bot_command", "offset": 0, "length": length}]
    return Row(1, {"update_id": 1, "message": message}, 100.0)


class Scene:
    """A turn with a scripted agent and a scripted Telegram."""

    name = "fake"

    def __init__(self, reply: Callable[[], Reply] = lambda: Reply("answer")) -> None:
        self.reply = reply
        self.asked: list[Message] = []
        self.sent: list[tuple[Address, str]] = []
        self.send_faults: list[Exception] = []
        self.denied: list[tuple[int | None, Verdict]] = []
        self.policy = Policy(frozenset({7}))
        self.paired: set[int] = set()
        self.code: str | None = None

    async def is_paired(self, user_id: int) -> bool:
        """The pairings."""
        return user_id in self.paired

    async def offer(self, user_id: int) -> str | None:
        """A code for a stranger."""
        return self.code

    async def answer(self, message: Message) -> Reply:
        """The agent."""
        self.asked.append(message)
        return self.reply()

    async def send(self, address: Address, text: str) -> None:
        """Telegram."""
        if self.send_faults:
            raise self.send_faults.pop(0)
        self.sent.append((address, text))

    async def sleep(self, _: float) -> None:
        """Take no time."""

    def note(self, message: Message, decision: Decision) -> None:
        """Remember who was not let in."""
        self.denied.append((message.sender_id, decision.verdict))

    def take(self, taken: Row) -> Outcome:
        """Take one row alone."""
        (outcome,) = self.take_all([taken])
        assert outcome.update_ids == (taken.update_id,)
        return replace(outcome, update_ids=())

    def take_all(self, rows: list[Row]) -> list[Outcome]:
        """Take rows that belong together, 2.5 s after they were accepted."""
        turn = Turn(
            Identity(99, "our_bot"),
            self.policy,
            self,
            Commands(lambda: STATUS, lambda _: True),
            self,
            Courier(self.send, lambda _: None, self.sleep),
            self.note,
            clock=lambda: 102.5,
        )
        return asyncio.run(turn.take(rows))


def test_answered() -> None:
    """A message from somebody who is let in is answered by the agent."""
    scene = Scene()
    outcome = scene.take(row("hello"))

    assert outcome == Outcome(Disposition.ANSWERED, Kind.TEXT, 2.5, YES)
    assert scene.sent == [(Address(7), "answer")]
    assert [message.text for message in scene.asked] == ["hello"]


def test_own_commands() -> None:
    """The gateway's own commands never reach the agent; others do."""
    scene = Scene()
    own = scene.take(row("/whoami"))
    other = scene.take(row("/ask now"))

    assert own == other == Outcome(Disposition.ANSWERED, Kind.COMMAND, 2.5, YES)
    assert [text for _, text in scene.sent] == ["user id: 7\nchat id: 7", "answer"]
    assert [message.command for message in scene.asked] == ["ask"]


@pytest.mark.parametrize("text", ["hello", "/start", "/status"])
def test_denied(text: str) -> None:
    """A stranger gets nothing at all, not even to a command."""
    scene = Scene()
    outcome = scene.take(row(text, user=8))

    kind = Kind.COMMAND if text.startswith("/") else Kind.TEXT
    decision = Decision(Verdict.NOT_LISTED)
    assert outcome == Outcome(Disposition.DENIED, kind, decision=decision)
    assert (scene.sent, scene.asked) == ([], [])
    assert scene.denied == [(8, Verdict.NOT_LISTED)]


def test_pairing() -> None:
    """A stranger is told his code and nothing else, until he is approved."""
    scene = Scene()
    scene.policy = Policy(pairing=True)
    scene.code = "K7QM2XPD"
    outcome = scene.take(row("/whoami", user=8))
    scene.code = None
    scene.take(row("hello?", user=8))
    scene.paired.add(8)
    answered = scene.take(row("hello!", user=8))

    denied = Decision(Verdict.NOT_PAIRED)
    assert outcome == Outcome(Disposition.DENIED, Kind.COMMAND, decision=denied)
    assert scene.sent == [
        (Address(8), PAIR.format(code="K7QM2XPD")),
        (Address(8), "answer"),
    ]
    assert answered.disposition is Disposition.ANSWERED
    assert [message.text for message in scene.asked] == ["hello!"]


POLICIES = st.builds(
    Policy,
    st.frozensets(st.integers(1, 3)),
    everyone=st.just(False),
    pairing=st.booleans(),
    groups=st.dictionaries(
        st.integers(-3, -1), st.sampled_from(["mention", "always"]), max_size=3
    ),
    operators=st.frozensets(st.integers(1, 9)),
)
SENDERS = st.none() | st.integers(1, 9)


@given(POLICIES, st.sets(st.integers(1, 4)), SENDERS, st.integers(-5, 9), st.data())
def test_no_stranger_reaches_the_agent(
    policy: Policy,
    paired: set[int],
    sender: int | None,
    chat: int,
    data: st.DataObject,
) -> None:
    """Whatever is sent wherever, the agent hears only whom the operator let in."""
    text = data.draw(st.sampled_from(["hello", "@our_bot hi", "/ask@our_bot x", "/x"]))
    taken = row(text)
    message: dict[str, Any] = dict(taken.raw["message"])
    kind = (
        data.draw(st.sampled_from(["group", "supergroup"])) if chat < 0 else "private"
    )
    message |= {"chat": {"id": chat, "type": kind}}
    message |= {"from": None if sender is None else ADA | {"id": sender}}
    if text.startswith("@"):
        message["entities"] = [{"type": "mention", "offset": 0, "length": 8}]
    scene = Scene()
    scene.policy, scene.paired = policy, paired
    outcome = scene.take(Row(1, {"update_id": 1, "message": message}, 100.0))

    listed = sender in policy.listed or (policy.pairing and sender in paired)
    welcome = sender is not None and (chat in policy.groups if chat < 0 else listed)
    assert welcome or (scene.asked, scene.sent) == ([], [])
    assert welcome or outcome.disposition is Disposition.DENIED


def test_ignored() -> None:
    """What is no message for us is ignored."""
    scene = Scene()

    assert scene.take(Row(1, {"update_id": 1}, 0.0)) == Outcome(Disposition.IGNORED)


def test_set_aside() -> None:
    """What cannot be read is set aside and told as critical."""
    outcome = Scene().take(Row(1, {"update_id": 1, "message": 5}, 0.0))

    trouble = Trouble(ErrorType.PROCESSING, Severity.CRITICAL)
    why = "unreadable update: AttributeError"
    assert outcome == Outcome(Disposition.SET_ASIDE, error=trouble, reason=why)


BUG = "a bug, see the log"
EMPTY = "the agent's answer is empty"


def raising(error: Exception) -> Callable[[], Reply]:
    """An agent's answer that is an exception."""

    def fail() -> Reply:
        raise error

    return fail


@pytest.mark.parametrize(
    ("reply", "type_", "severity", "reason"),
    [
        (raising(ZeroDivisionError()), ErrorType.PROCESSING, Severity.CRITICAL, BUG),
        (raising(TimeoutError()), ErrorType.PROCESSING, Severity.CRITICAL, BUG),
        (raising(AgentError("down")), ErrorType.AGENT, Severity.WARNING, "down"),
        (lambda: Reply(" \n"), ErrorType.AGENT, Severity.WARNING, EMPTY),
        (lambda: None, ErrorType.PROCESSING, Severity.CRITICAL, BUG),
    ],
)
def test_a_failing_agent(
    reply: Callable[[], Reply], type_: ErrorType, severity: Severity, reason: str
) -> None:
    """An agent that fails gives an Outcome, and the person one kind sentence."""
    scene = Scene(reply)
    outcome = scene.take(row())

    assert outcome == Outcome(
        Disposition.FAILED,
        Kind.TEXT,
        decision=YES,
        error=Trouble(type_, severity),
        reason=reason,
    )
    assert scene.sent == [(Address(7), SORRY)]


@pytest.mark.parametrize(
    ("fault", "gone"), [(DeliveryError("no"), False), (ChatGoneError("no"), True)]
)
def test_a_reply_that_cannot_be_delivered(fault: Exception, gone: bool) -> None:
    """A refused reply fails the turn and is kept; nothing more is sent."""
    scene = Scene()
    scene.send_faults = [fault]
    outcome = scene.take(row())

    assert outcome == Outcome(
        Disposition.FAILED,
        Kind.TEXT,
        decision=YES,
        error=Trouble(ErrorType.DELIVERY, Severity.WARNING),
        reason="no",
        undelivered="answer",
        gone=gone,
    )
    assert scene.sent == []


def test_a_reply_that_was_kept() -> None:
    """A row that brings its reply along is answered with it; nobody is asked again."""
    scene = Scene()
    outcome = scene.take(replace(row(), reply="from yesterday"))

    assert outcome == Outcome(Disposition.ANSWERED, Kind.TEXT, 2.5, YES)
    assert scene.sent == [(Address(7), "from yesterday")]
    assert scene.asked == []


def test_rows_that_belong_together() -> None:
    """Several rows make one message; one that cannot be read is set aside alone."""
    scene = Scene()
    parts = [replace(row(text), update_id=n) for n, text in enumerate("abc", start=1)]
    poison = Row(9, {"update_id": 9, "message": 5}, 0.0)
    ignored = Row(10, {"update_id": 10}, 0.0)
    outcomes = scene.take_all([*parts, poison, ignored])

    assert [(one.disposition, one.update_ids) for one in outcomes] == [
        (Disposition.SET_ASIDE, (9,)),
        (Disposition.IGNORED, (10,)),
        (Disposition.ANSWERED, (1, 2, 3)),
    ]
    assert [message.text for message in scene.asked] == ["a\nb\nc"]
    assert scene.sent == [(Address(7), "answer")]


@pytest.mark.parametrize(
    "fault",
    [
        TelegramError("down", ReconnectReason.NETWORK),
        FloodWaitError(9),
        DeliveryError("blocked"),
    ],
)
def test_an_apology_is_tried_once(fault: Exception) -> None:
    """The kind sentence is not worth waiting for."""
    scene = Scene(raising(AgentError("down")))
    scene.send_faults = [fault]

    assert scene.take(row()).disposition is Disposition.FAILED
    assert scene.sent == []


def test_the_operators_errors_pass_through() -> None:
    """A token that is refused in the middle of a turn leaves the row open."""
    scene = Scene()
    scene.send_faults = [OperatorError("refused")]

    with pytest.raises(OperatorError):
        scene.take(row())


def test_a_cancelled_turn_passes_through() -> None:
    """A turn that is cancelled has no outcome."""
    with pytest.raises(asyncio.CancelledError):
        Scene(raising(asyncio.CancelledError())).take(row())  # type: ignore[arg-type]


def test_a_clock_that_was_set_back() -> None:
    """Latency is never negative."""
    later = row()
    outcome = Scene().take(Row(1, later.raw, 200.0))

    assert outcome.seconds == 0.0
