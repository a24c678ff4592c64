"""The sentence about a limit, and what becomes of a message that is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from crocbot.agent_events import MessageLimited
from crocbot.arrival_outcomes import EditOutcome
from crocbot.errors import StoreError, TelegramError
from crocbot.events import EditHandled
from crocbot.limits import Refusal
from crocbot.model import (
    ChatThread,
    Decision,
    Disposition,
    ErrorEvent,
    ErrorType,
    MessageType,
    Outcome,
    ReconnectReason,
    Row,
    Severity,
    Verdict,
)
from crocbot.turn import Admission
from crocbot.turn.admission import (
    MAX_SENTENCES,
    MAX_SENTENCES_PER_CHAT,
    SENTENCE_SECONDS,
    in_words,
)
from crocbot.turn_outcomes import Limit
from tests.crocbot.fakes import Clock, RecordedEvents, a_message
from tests.crocbot.test_turn import ANSWERED, TurnFixture, row

REFUSED = Refusal(Limit.PERSON_MINUTE, 30.0)
DENIED = Outcome(
    Disposition.DENIED,
    message_type=MessageType.TEXT,
    decision=Decision(Verdict.LIMITED),
)
SENTENCE = (
    "Sorry, you have sent me as many messages as I may answer for now."
    " Please try again in a minute."
)


class FakeLimits:
    """Limits with this answer, which may be an error."""

    def __init__(self, answer: Refusal | StoreError | None) -> None:
        self.answer = answer
        self.taken: list[tuple[int, Sequence[int]]] = []

    async def take(self, person: int, update_ids: Sequence[int]) -> Refusal | None:
        self.taken.append((person, update_ids))
        if isinstance(self.answer, StoreError):
            raise self.answer
        return self.answer


class LimitedTurn(TurnFixture):
    """A turn with limits."""

    def __init__(self, answer: Refusal | StoreError | None = REFUSED) -> None:
        super().__init__()
        self.limits = FakeLimits(answer)

    def stages(self) -> Any:
        admission = Admission(
            limits=self.limits,  # type: ignore[arg-type]
            events=self.events,
        )
        return replace(super().stages(), admission=admission)


def admission(clock: Clock) -> Admission:
    """Return an admission of which only the sentences matter."""
    limits: Any = FakeLimits(REFUSED)
    return Admission(limits=limits, events=RecordedEvents(), clock=clock)


async def test_refused() -> None:
    """The person gets a sentence, the row is denied, and no agent is asked."""
    scene = LimitedTurn()

    assert await scene.run_one(row("hello")) == DENIED
    assert (scene.telegram.texts, scene.asked) == ([SENTENCE], [])
    assert scene.events.of_type(MessageLimited) == [MessageLimited(Limit.PERSON_MINUTE)]
    assert scene.limits.taken == [(7, [1])]


@pytest.mark.parametrize("text", ["/help", "/new", "/whoami", "/usage"])
async def test_commands_are_not_limited(text: str) -> None:
    """The gateway's own commands are answered over a limit, and do not count."""
    scene = LimitedTurn()
    scene.store.usage = lambda _: _no_usage()  # type: ignore[attr-defined]
    scene.store.forget = lambda _: _nothing()  # type: ignore[attr-defined]
    outcome = await scene.run_one(row(text))

    assert outcome.disposition is Disposition.ANSWERED
    assert scene.limits.taken == []


async def _no_usage() -> tuple[int, Any]:
    from crocbot.model import Usage

    return 0, Usage()


async def _nothing() -> None:
    pass


async def test_a_row_that_the_operator_opened_again() -> None:
    """It is answered whatever the limits are."""
    scene = LimitedTurn()
    outcome = await scene.run_one(replace(row("hello"), retried=True))

    assert outcome == replace(ANSWERED, retried=1)
    assert scene.limits.taken == []


async def test_a_sender_without_access() -> None:
    """No message without access is counted or gets a sentence."""
    scene = LimitedTurn()
    outcome = await scene.run_one(row("hello", user=8))

    assert outcome.decision == Decision(Verdict.NOT_LISTED)
    assert (scene.telegram.texts, scene.limits.taken) == ([], [])


async def test_counts_that_cannot_be_read() -> None:
    """The message is answered, and the error is counted."""
    scene = LimitedTurn(StoreError("the disk is full"))

    assert await scene.run_one(row("hello")) == ANSWERED
    assert scene.events.of_type(ErrorEvent) == [
        ErrorEvent(ErrorType.INBOX, Severity.CRITICAL)
    ]


async def test_a_sentence_that_cannot_be_sent() -> None:
    """The row is denied nevertheless."""
    scene = LimitedTurn()
    error = TelegramError("no answer", ReconnectReason.TIMEOUT)
    scene.telegram.errors["send"] = [error] * 100

    assert await scene.run_one(row("hello")) == DENIED


def test_a_person_gets_one_sentence_a_minute() -> None:
    """A hundred messages over a limit get one sentence, a minute later another."""
    clock = Clock()
    told = admission(clock)
    first = [told.sentence(a_message(), REFUSED) for _ in range(100)]
    clock.now += SENTENCE_SECONDS
    later = [told.sentence(a_message(), REFUSED) for _ in range(100)]

    assert first == later == [SENTENCE] + [None] * 99


def test_a_group_gets_few_sentences() -> None:
    """However many of its members are over a limit."""
    told = admission(Clock())
    found = [
        told.sentence(a_message(sender_id=person, chat=ChatThread(-5)), REFUSED)
        for person in range(1, 101)
    ]

    assert len(list(filter(None, found))) == MAX_SENTENCES_PER_CHAT


def test_all_chats_get_a_bounded_number_of_sentences() -> None:
    """A flood from many accounts is not answered with a flood."""
    told = admission(Clock())
    found = [
        told.sentence(a_message(sender_id=person, chat=ChatThread(person)), REFUSED)
        for person in range(1, 2001)
    ]

    assert len(list(filter(None, found))) == MAX_SENTENCES


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "a minute"),
        (60.0, "a minute"),
        (61.0, "a minute"),
        (61.1, "2 minutes"),
        (7140.0, "119 minutes"),
        (7200.0, "2 hours"),
        (7501.0, "3 hours"),
        (86_400.0, "24 hours"),
        (86_700.0, "24 hours"),
    ],
)
def test_a_pause_in_words(seconds: float, words: str) -> None:
    """It is rounded up, but for the slot that is partly in the window."""
    assert in_words(seconds) == words


async def test_an_edit_over_a_limit() -> None:
    """It is counted as denied, and not as one that the agent was told of."""
    scene = LimitedTurn()
    scene.edits = "answer"
    message = row("changed").raw["message"]
    edited = Row(1, {"update_id": 1, "edited_message": message}, 100.0)

    assert await scene.run_one(edited) == DENIED
    assert scene.events.of_type(EditHandled) == [EditHandled(EditOutcome.DENIED)]
