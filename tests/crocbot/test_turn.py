"""The path: what comes out of a turn, whatever goes wrong inside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot.access import AccessPolicy, DenialLog
from crocbot.agents import Limits
from crocbot.commands import Commands, Status
from crocbot.errors import (
    AgentError,
    ChatGoneError,
    DeliveryError,
    FloodWaitError,
    OperatorError,
    StoreError,
    TelegramError,
)
from crocbot.events import AgentCall, AgentErrorReason, FirstText
from crocbot.model import (
    BotIdentity,
    ChatThread,
    Decision,
    Disposition,
    ErrorEvent,
    ErrorType,
    Exchange,
    Image,
    Message,
    MessageType,
    Outcome,
    Prompt,
    ReconnectReason,
    Reply,
    Row,
    Severity,
    Usage,
    Verdict,
)
from crocbot.reply import Delivery, Stream
from crocbot.turn import Asking, Turn
from crocbot.turn.messages import PAIR, SENTENCES, SORRY
from tests.crocbot.fakes import RecordedEvents

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

    name, markdown, remembers = "fake", False, True

    def __init__(self, *reply: Any) -> None:
        self.reply = reply or ("answer",)
        self.questions: list[Prompt] = []
        self.events = RecordedEvents()
        self.remembered: list[tuple[ChatThread, Exchange, Usage]] = []
        self.past: tuple[Exchange, ...] = ()
        self.files: dict[str, bytes] = {}
        self.store_fault: Exception | None = None
        self.overtaken = False
        self.quoted: list[int | None] = []
        self.typed = 0
        self.sent: list[tuple[ChatThread, str]] = []
        self.send_faults: list[Exception] = []
        self.policy = AccessPolicy(frozenset({7}))
        self.paired: set[int] = set()
        self.code: str | None = None

    async def is_paired(self, user_id: int) -> bool:
        """The pairings."""
        return user_id in self.paired

    async def offer(self, user_id: int) -> str | None:
        """A code for a stranger."""
        return self.code

    @property
    def asked(self) -> list[Message]:
        """What the agent was asked."""
        return [question.message for question in self.questions]

    async def answer(self, question: Prompt) -> AsyncGenerator[Any, None]:
        """The agent: it says these pieces, or raises them."""
        self.questions.append(question)
        for piece in self.reply:
            if isinstance(piece, BaseException):
                raise piece
            yield piece

    async def history(self, chat: ChatThread) -> tuple[Exchange, ...]:
        """The memory."""
        if self.store_fault:
            raise self.store_fault
        return self.past

    async def remember(
        self, chat: ChatThread, exchange: Exchange, usage: Usage
    ) -> None:
        """The memory, afterwards."""
        if self.store_fault:
            raise self.store_fault
        self.remembered.append((chat, exchange, usage))

    async def forget(self, chat: ChatThread) -> None:
        """The memory, when asked to."""

    async def usage(self, chat: ChatThread) -> tuple[int, Usage]:
        """The tokens."""
        return 0, Usage()

    async def download(self, file_id: str, most_bytes: int) -> bytes:
        """Telegram's files."""
        if file_id not in self.files:
            raise DeliveryError("the file is gone")
        return self.files[file_id]

    async def send_message(
        self, chat: ChatThread, piece: Any, reply_to: int | None = None
    ) -> int:
        """Telegram."""
        if self.send_faults:
            raise self.send_faults.pop(0)
        self.sent.append((chat, piece.text))
        self.quoted.append(reply_to)
        return len(self.sent)

    async def send_typing(self, chat: ChatThread) -> None:
        """Telegram, while the agent thinks."""
        self.typed += 1

    async def sleep(self, _: float) -> None:
        """Take no time."""

    def take(self, taken: Row) -> Outcome:
        """Take one row alone."""
        (outcome,) = self.take_all([taken])
        assert outcome.update_ids == (taken.update_id,)
        return replace(outcome, update_ids=())

    def take_all(self, rows: list[Row]) -> list[Outcome]:
        """Take rows that belong together, 2.5 s after they were accepted."""
        courier = Delivery(self, self.events, self.sleep)
        asking = Asking(
            self,
            Limits(30, 30),
            self,
            Stream(courier),
            self.events,
            self.download,
            media_max_bytes=100,
            clock=lambda: 102.5,
        )
        turn = Turn(
            BotIdentity(99, "our_bot"),
            self.policy,
            self,
            Commands(lambda: STATUS, lambda _: True, self.forget, self.usage),
            asking,
            courier,
            lambda _: self.overtaken,
            DenialLog(),
            clock=lambda: 102.5,
        )
        return asyncio.run(turn.take(rows))


def test_answered() -> None:
    """A message from somebody who is let in is answered by the agent."""
    scene = Scene()
    outcome = scene.take(row("hello"))

    assert outcome == Outcome(Disposition.ANSWERED, MessageType.TEXT, 2.5, YES)
    assert scene.sent == [(ChatThread(7), "answer")]
    assert [message.text for message in scene.asked] == ["hello"]


def test_own_commands() -> None:
    """The gateway's own commands never reach the agent; others do."""
    scene = Scene()
    own = scene.take(row("/whoami"))
    other = scene.take(row("/ask now"))

    assert own == other == Outcome(Disposition.ANSWERED, MessageType.COMMAND, 2.5, YES)
    assert [text for _, text in scene.sent] == ["user id: 7\nchat id: 7", "answer"]
    assert [message.command for message in scene.asked] == ["ask"]


@pytest.mark.parametrize("text", ["hello", "/start", "/status"])
def test_denied(text: str) -> None:
    """A stranger gets nothing at all, not even to a command."""
    scene = Scene()
    outcome = scene.take(row(text, user=8))

    kind = MessageType.COMMAND if text.startswith("/") else MessageType.TEXT
    decision = Decision(Verdict.NOT_LISTED)
    assert outcome == Outcome(Disposition.DENIED, kind, decision=decision)
    assert (scene.sent, scene.asked) == ([], [])


def test_pairing() -> None:
    """A stranger is told his code and nothing else, until he is approved."""
    scene = Scene()
    scene.policy = AccessPolicy(pairing=True)
    scene.code = "K7QM2XPD"
    outcome = scene.take(row("/whoami", user=8))
    scene.code = None
    scene.take(row("hello?", user=8))
    scene.paired.add(8)
    answered = scene.take(row("hello!", user=8))

    denied = Decision(Verdict.NOT_PAIRED)
    assert outcome == Outcome(Disposition.DENIED, MessageType.COMMAND, decision=denied)
    assert scene.sent == [
        (ChatThread(8), PAIR.format(code="K7QM2XPD")),
        (ChatThread(8), "answer"),
    ]
    assert answered.disposition is Disposition.ANSWERED
    assert [message.text for message in scene.asked] == ["hello!"]


POLICIES = st.builds(
    AccessPolicy,
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
    policy: AccessPolicy,
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

    trouble = ErrorEvent(ErrorType.PROCESSING, Severity.CRITICAL)
    why = "unreadable update: AttributeError"
    assert outcome == Outcome(Disposition.SET_ASIDE, error=trouble, reason=why)


BUG = "a bug, see the log"
EMPTY = "the agent's answer is empty"


def failed(type_: ErrorType, severity: Severity, reason: str) -> Outcome:
    """The outcome of a turn that failed."""
    return Outcome(
        Disposition.FAILED,
        MessageType.TEXT,
        decision=YES,
        error=ErrorEvent(type_, severity),
        reason=reason,
    )


@pytest.mark.parametrize(
    ("reply", "type_", "severity", "reason", "says"),
    [
        (ZeroDivisionError(), ErrorType.PROCESSING, Severity.CRITICAL, BUG, SORRY),
        (AgentError("down"), ErrorType.AGENT, Severity.WARNING, "down", SORRY),
        (
            AgentError("slow", AgentErrorReason.TIMEOUT),
            *(ErrorType.AGENT, Severity.WARNING, "slow"),
            SENTENCES[AgentErrorReason.TIMEOUT],
        ),
        (
            " \n",
            *(ErrorType.AGENT, Severity.WARNING, EMPTY),
            SENTENCES[AgentErrorReason.EMPTY],
        ),
    ],
)
def test_a_failing_agent(
    reply: Any, type_: ErrorType, severity: Severity, reason: str, says: str
) -> None:
    """An agent that fails gives an Outcome, and the person one kind sentence."""
    scene = Scene(reply)

    assert scene.take(row()) == failed(type_, severity, reason)
    assert [text for _, text in scene.sent] == [says]
    assert scene.remembered == []


def test_every_fault_has_a_sentence() -> None:
    """Whatever goes wrong, there is one kind sentence for it, and all differ."""
    assert set(SENTENCES) == set(AgentErrorReason)
    assert len(set(SENTENCES.values())) == len(AgentErrorReason)
    assert all(len(text) < 150 for text in SENTENCES.values())


def test_an_answer_that_breaks_off() -> None:
    """What came of an answer is shown, and then why there is no more of it."""
    scene = Scene("The answer is", AgentError("cut", AgentErrorReason.FAILED))
    outcome = scene.take(row())

    assert outcome == failed(ErrorType.AGENT, Severity.WARNING, "cut")
    assert [text for _, text in scene.sent] == [
        "The answer is",
        SENTENCES[AgentErrorReason.FAILED],
    ]


def test_memory() -> None:
    """The agent is told what was said before, and what it says is remembered."""
    scene = Scene("The ", "answer.", Usage(5, 2))
    scene.past = (Exchange("hi", "Hello."),)
    scene.take(row("and now?"))

    assert [question.history for question in scene.questions] == [scene.past]
    assert scene.remembered == [
        (ChatThread(7), Exchange("and now?", "The answer."), Usage(5, 2))
    ]


def test_an_agent_that_remembers_nothing() -> None:
    """Who has no use for the memory is not told, and leaves nothing there."""
    scene = Scene()
    scene.remembers = False
    scene.past = (Exchange("hi", "Hello."),)
    scene.take(row())

    assert scene.questions[0].history == ()
    assert scene.remembered == []


def test_a_memory_that_fails() -> None:
    """Without its memory the agent answers all the same, and the operator hears it."""
    scene = Scene()
    scene.store_fault = StoreError("disk is full")
    outcome = scene.take(row())

    assert outcome.disposition is Disposition.ANSWERED
    assert scene.events.count(ErrorEvent(ErrorType.INBOX, Severity.CRITICAL)) == 2


def test_what_is_told_about_the_agent() -> None:
    """Each question is one fact, with times and tokens, and what went wrong."""
    scene = Scene("a", Usage(5, 2))
    scene.take(row())
    scene.reply = (AgentError("slow", AgentErrorReason.TIMEOUT),)
    scene.take(row())
    calls = scene.events.of_type(AgentCall)

    assert [(one.input_tokens, one.output_tokens, one.error) for one in calls] == [
        (5, 2, None),
        (0, 0, AgentErrorReason.TIMEOUT),
    ]
    assert [one.first_token_seconds is None for one in calls] == [False, True]
    assert scene.events.count(FirstText(2.5)) == 1


def photo(*sizes: int | None) -> list[Row]:
    """An album of photos, with the sizes of their files."""
    rows = []
    for number, size in enumerate(sizes, start=1):
        message = dict(row("").raw["message"])
        del message["text"]
        file = {"file_id": f"f{number}", "file_unique_id": "u", "file_size": size}
        message["photo"] = [file | {"width": 2, "height": 1}]
        rows.append(Row(number, {"update_id": number, "message": message}, 100.0))
    return rows


def test_images() -> None:
    """Images that are small enough and can be had are loaded, all are described."""
    scene = Scene()
    scene.files = {"f1": b"1", "f2": b"2", "f4": b"4"}
    scene.take_all(photo(10, 101, 10, None))

    (question,) = scene.questions
    assert question.images == (Image("image/jpeg", b"1"), Image("image/jpeg", b"4"))
    assert question.text == "\n".join(["[photo, 2x1]"] * 4)


@pytest.mark.parametrize(("overtaken", "quoted"), [(False, [None]), (True, [3])])
@pytest.mark.parametrize("text", ["hello", "/start"])
def test_quoting(overtaken: bool, quoted: list[int | None], text: str) -> None:
    """A reply quotes its message when others came since."""
    scene = Scene()
    scene.overtaken = overtaken
    scene.take(row(text))

    assert scene.quoted == quoted


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
        MessageType.TEXT,
        decision=YES,
        error=ErrorEvent(ErrorType.DELIVERY, Severity.WARNING),
        reason="no",
        undelivered=Reply("answer"),
        chat_gone=gone,
    )
    assert scene.sent == []


def test_a_reply_that_was_kept() -> None:
    """A row that brings its reply along is answered with it; nobody is asked again."""
    scene = Scene()
    outcome = scene.take(replace(row(), reply=Reply("from yesterday")))

    assert outcome == Outcome(Disposition.ANSWERED, MessageType.TEXT, 2.5, YES)
    assert scene.sent == [(ChatThread(7), "from yesterday")]
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
    assert scene.sent == [(ChatThread(7), "answer")]


@pytest.mark.parametrize(
    ("fault", "sent"),
    [
        (TelegramError("down", ReconnectReason.NETWORK), [(ChatThread(7), SORRY)]),
        (FloodWaitError(9), [(ChatThread(7), SORRY)]),
        (DeliveryError("blocked"), []),
    ],
)
def test_an_apology(fault: Exception, sent: list[tuple[ChatThread, str]]) -> None:
    """The kind sentence is delivered like an answer, unless Telegram says no."""
    scene = Scene(AgentError("down"))
    scene.send_faults = [fault]

    assert scene.take(row()).disposition is Disposition.FAILED
    assert scene.sent == sent


def test_the_operators_errors_pass_through() -> None:
    """A token that is refused in the middle of a turn leaves the row open."""
    scene = Scene()
    scene.send_faults = [OperatorError("refused")]

    with pytest.raises(OperatorError):
        scene.take(row())


def test_a_cancelled_turn_passes_through() -> None:
    """A turn that is cancelled has no outcome."""
    with pytest.raises(asyncio.CancelledError):
        Scene(asyncio.CancelledError()).take(row())


def test_a_clock_that_was_set_back() -> None:
    """Latency is never negative."""
    later = row()
    outcome = Scene().take(Row(1, later.raw, 200.0))

    assert outcome.seconds == 0.0
