"""A growing reply as a draft: shown early, never waited for, replaced by a message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from structlog.testing import capture_logs

from crocbot.delivery_outcomes import DraftOutcome
from crocbot.errors import (
    ChatGoneError,
    DeliveryError,
    FloodWaitError,
    Refusal,
    TelegramError,
    UnknownMethodError,
)
from crocbot.events import DraftShown, FirstText
from crocbot.model import AnswerText, ChatThread, ReconnectReason, Reply
from crocbot.reply import Delivery, Drafts, LiveDelivery, ReplyProgress, draft, live
from crocbot.reply.draft import MAX_REFUSED_REPLIES
from crocbot.reply.schedule import EditSchedule
from tests.crocbot.fakes import FakeTelegram, RecordedEvents

OFTEN = EditSchedule(first=0.01, second=0.01, growth=1.0, longest=0.01)
Step = str | Callable[[], bool]
NO_DRAFTS = UnknownMethodError("sendMessageDraft: Not Found")
REFUSED = DeliveryError("TEXTDRAFT_PEER_INVALID")
GONE = ChatGoneError("blocked")
DOWN = TelegramError("down", ReconnectReason.NETWORK)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LIVE_AFTER_SECONDS", 0.01)
    monkeypatch.setattr(draft, "GRACE_SECONDS", 0.01)


class DraftFixture(FakeTelegram):
    """Chats in which replies grow as drafts."""

    def __init__(self) -> None:
        super().__init__()
        self.events = RecordedEvents()
        delivery = Delivery(
            client=self,  # type: ignore[arg-type]
            events=self.events,
            sleep=self.sleep,
        )
        self.drafting = Drafts(
            calls=self,  # type: ignore[arg-type]
            delivery=delivery,
            schedule=OFTEN,
        )
        self.live = LiveDelivery(
            delivery=delivery, private=OFTEN, group=OFTEN, drafts=self.drafting
        )
        self.progress = self.start()

    def start(self) -> ReplyProgress:
        """Begin the next reply."""
        chat = ChatThread(7, 4)
        self.progress = self.live.delivery.start(chat, accepted_at=0.0)
        return self.progress

    @property
    def outcomes(self) -> list[DraftOutcome]:
        return [event.outcome for event in self.events.of_type(DraftShown)]

    async def texts_of(self, steps: tuple[Step, ...]) -> AsyncIterator[AnswerText]:
        for step in steps:
            if isinstance(step, str):
                yield step
            else:
                await self.until(step)

    async def deliver(self, *steps: Step, private: bool = True) -> None:
        """Deliver what grows in these steps."""
        async with asyncio.timeout(30):
            await self.live.deliver(
                self.texts_of(steps),
                self.progress,
                markdown=True,
                private=private,
                update_id=4,
            )


async def test_growing() -> None:
    """A reply grows in one draft, and only its end is a message."""
    chat = DraftFixture()
    await chat.deliver(
        "**first",
        lambda: bool(chat.drafts),
        "** second",
        lambda: len(chat.drafts) > 1,
        " third",
    )

    assert chat.drafts[:2] == [(5, "**first"), (5, "first second")]
    assert chat.shown == ["first second third"]
    assert chat.chats == {ChatThread(7, 4)}
    assert set(chat.outcomes) == {DraftOutcome.SHOWN}
    assert len(chat.events.of_type(FirstText)) == 1


async def test_only_in_private_chats() -> None:
    """A group has no drafts: the reply grows in a message that is edited."""
    chat = DraftFixture()
    await chat.deliver("first", lambda: bool(chat.shown), " second", private=False)

    assert (chat.drafts, chat.outcomes) == ([], [])
    assert chat.shown == ["first", "first second"]


async def test_growing_over_the_limit() -> None:
    """What does not fit into a draft is a message already; the rest is a draft."""
    chat = DraftFixture()
    await chat.deliver(
        "a" * 4000,
        lambda: bool(chat.drafts),
        " " + "b" * 4000,
        lambda: chat.drafts[-1][1] == "b" * 4000,
        "c",
    )

    assert chat.texts == ["a" * 4000, "b" * 4000 + "c"]
    assert chat.calls.count("edit") == 0


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (FloodWaitError(0.01), DraftOutcome.FLOOD_WAIT),
        (DOWN, DraftOutcome.LOST),
        (DeliveryError("no", Refusal.FORMATTING), DraftOutcome.REFUSED),
    ],
)
async def test_a_draft_that_is_lost(error: Exception, outcome: DraftOutcome) -> None:
    """The next one shows more; nothing is waited for, and nothing is lost."""
    chat = DraftFixture()
    chat.errors["draft"] = [error]
    await chat.deliver("first", lambda: bool(chat.drafts), " second")

    assert chat.drafts[0] == (5, "first")
    assert chat.outcomes[:2] == [outcome, DraftOutcome.SHOWN]
    assert (chat.shown, chat.slept) == (["first second"], [])


@pytest.mark.parametrize("error", [NO_DRAFTS, REFUSED])
async def test_a_refused_draft(error: Exception) -> None:
    """The reply goes on as a message that is edited."""
    chat = DraftFixture()
    chat.errors["draft"] = [error]
    await chat.deliver("first", lambda: bool(chat.shown), " second")

    assert chat.shown == ["first", "first second"]
    # There is no pause between the two.
    assert chat.calls[1:3] == ["draft", "send"]
    assert chat.drafts == []


@pytest.mark.parametrize(
    ("errors", "tried"),
    [
        ([NO_DRAFTS] * 9, 1),
        ([REFUSED] * 9, MAX_REFUSED_REPLIES),
        ([REFUSED, REFUSED, None, REFUSED, REFUSED, REFUSED], 6),
    ],
)
async def test_drafts_are_given_up(errors: list[Exception], tried: int) -> None:
    """At once if the server has none, else after three refused replies in a row."""
    chat = DraftFixture()
    chat.errors["draft"] = errors.copy()
    with capture_logs() as logs:
        for _ in range(9):
            chat.start()
            calls = len(chat.calls)
            await chat.deliver("first", lambda at=calls: len(chat.calls) > at + 1, "!")

    assert chat.calls.count("draft") == tried
    assert chat.texts == ["first!"] * 9
    assert len([each for each in logs if "drafts fail" in each["event"]]) <= 1


async def test_drafts_that_are_lost_again_and_again() -> None:
    """The reply becomes a message; after three such replies drafts are given up."""
    chat = DraftFixture()
    chat.errors["draft"] = [DOWN] * 20
    for _ in range(5):
        chat.start()
        calls = len(chat.shown)
        await chat.deliver("first", lambda at=calls: len(chat.shown) > at, "!")

    assert chat.calls.count("draft") == MAX_REFUSED_REPLIES * draft.MAX_LOST
    assert chat.texts == ["first!"] * 5


async def test_a_draft_that_hangs() -> None:
    """The message does not wait for a draft that is under way."""
    chat = DraftFixture()
    chat.draft_hangs = True
    await chat.deliver("first", lambda: "draft" in chat.calls, " second")

    assert chat.shown == ["first second"]
    assert chat.outcomes == [DraftOutcome.LOST]


async def test_a_draft_is_shown_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Telegram removes a draft, it is shown again."""
    monkeypatch.setattr(draft, "REFRESH_SECONDS", 0.05)
    chat = DraftFixture()
    await chat.deliver("first", lambda: len(chat.drafts) > 1)

    assert set(chat.drafts) == {(5, "first")}


async def test_a_draft_that_has_not_changed() -> None:
    """It is not shown again."""
    chat = DraftFixture()
    asked = 0

    def schedule_asked() -> bool:
        nonlocal asked
        asked += 1
        return asked > 5

    async def tick() -> None:
        while asked <= 5:
            chat.changed.set()
            await asyncio.sleep(0.02)

    ticking = asyncio.create_task(tick())
    await chat.deliver("first", lambda: bool(chat.drafts), schedule_asked)
    await ticking

    assert chat.drafts == [(5, "first")]


async def test_a_chat_that_is_gone() -> None:
    """The rest of the answer is not waited for."""
    chat = DraftFixture()
    chat.errors["draft"] = [GONE]
    with pytest.raises(ChatGoneError):
        await chat.deliver("first", lambda: False)

    assert chat.shown == []


async def test_a_stopped_reply() -> None:
    """What a draft has shown is known when the turn is cancelled, until it is sent."""
    chat = DraftFixture()
    delivering = asyncio.create_task(chat.deliver("first", lambda: False))
    await chat.until(lambda: bool(chat.drafts))
    delivering.cancel()
    await asyncio.wait([delivering])
    assert (chat.progress.draft_text, chat.shown) == ("first", [])

    await chat.progress.deliver(Reply(chat.progress.draft_text))
    assert (chat.progress.draft_text, chat.shown) == ("", ["first"])


@pytest.mark.parametrize(
    ("error", "left"), [(FloodWaitError(9), "first"), (GONE, "first"), (DOWN, "")]
)
async def test_a_message_in_place_of_a_draft(error: Exception, left: str) -> None:
    """A message that may have arrived is not sent again after a stop."""
    chat = DraftFixture()
    chat.progress.draft_text = "first"
    chat.errors["send"] = [error]
    chat.progress.wait_left_seconds = 0.0
    with pytest.raises(DeliveryError):
        await chat.progress.deliver(Reply("first"))

    assert chat.progress.draft_text == left
