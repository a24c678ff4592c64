"""A growing reply: visible early, edited within bounds, delivered whole."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
from structlog.testing import capture_logs

from crocbot.delivery_outcomes import DeliveryIssue
from crocbot.errors import (
    ChatGoneError,
    DeliveryError,
    FloodWaitError,
    Refusal,
    TelegramError,
)
from crocbot.events import DeliveryEvent, FirstText
from crocbot.model import (
    RETRACTED,
    AnswerText,
    ChatThread,
    ErrorEvent,
    ErrorType,
    ReconnectReason,
    Severity,
)
from crocbot.reply import Delivery, LiveDelivery, live
from crocbot.reply.live import EditSchedule, TokenBucket
from tests.crocbot.fakes import Clock, FakeTelegram, RecordedEvents

OFTEN = EditSchedule(first=0.01, second=0.01, growth=1.0, longest=0.01)
NEVER = EditSchedule(first=1e6, second=1e6, growth=1.0, longest=1e6)
Step = AnswerText | Callable[[], bool] | type[Exception]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LIVE_AFTER_SECONDS", 0.01)


class LiveDeliveryFixture(FakeTelegram):
    """A chat in which a reply grows."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.events = RecordedEvents()
        self.delivery = Delivery(
            client=self,  # type: ignore[arg-type]
            events=self.events,
            sleep=self.sleep,
            clock=clock,
        )
        self.progress = self.delivery.start(ChatThread(7), accepted_at=0.0)

    async def texts_of(self, steps: tuple[Step, ...]) -> AsyncIterator[AnswerText]:
        """Yield the texts; a function is waited for, an exception raised."""
        for step in steps:
            if step is RETRACTED or isinstance(step, str):
                yield step
            elif isinstance(step, type):
                raise step
            else:
                await self.until(step)

    async def deliver(self, *steps: Step, schedule: EditSchedule = OFTEN) -> None:
        """Deliver what grows in these steps."""
        async with asyncio.timeout(30):
            live = LiveDelivery(
                delivery=self.delivery, private=schedule, group=schedule
            )
            await live.deliver(
                self.texts_of(steps), self.progress, markdown=True, private=True
            )


async def test_a_short_answer() -> None:
    """An answer that is complete at once is one message, without typing before it."""
    scene = LiveDeliveryFixture()
    await scene.deliver("all ", "of it", schedule=NEVER)

    assert (scene.calls, scene.shown) == (["send"], ["all of it"])


async def test_growing() -> None:
    """The first text is shown and edited while the rest is written."""
    scene = LiveDeliveryFixture()
    await scene.deliver(
        "**first",
        lambda: bool(scene.shown),
        "** second",
        lambda: len(scene.shown) > 1,
        " third",
    )

    assert scene.shown == ["**first", "first second", "first second third"]
    assert scene.texts == ["first second third"]
    assert len(scene.events.of_type(FirstText)) == 1


async def test_growing_over_the_limit() -> None:
    """A reply that grows too long for a message continues in the next one."""
    scene = LiveDeliveryFixture()
    await scene.deliver(
        "a" * 4000,
        lambda: bool(scene.shown),
        " " + "b" * 4000,
        lambda: len(scene.messages) == 2,
        "c",
    )

    assert scene.texts == ["a" * 4000, "b" * 4000 + "c"]


async def test_typing_that_hangs() -> None:
    """An answer does not wait for a call that shows the bot as typing."""
    scene = LiveDeliveryFixture()
    scene.typing_hangs = True
    await scene.deliver(lambda: "type" in scene.calls, "done", schedule=NEVER)

    assert scene.shown == ["done"]


async def test_typing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the first text, the bot is shown as typing, and errors do not matter."""
    monkeypatch.setattr(live, "TYPING_SECONDS", 0.01)
    scene = LiveDeliveryFixture()
    gone = ChatGoneError("blocked")
    scene.errors["type"] = [FloodWaitError(9), DeliveryError("no"), gone]
    await scene.deliver(lambda: scene.calls.count("type") >= 4, "done", schedule=NEVER)

    assert scene.shown == ["done"]
    assert scene.events.of_type(DeliveryEvent) == []


@pytest.mark.parametrize(
    "error",
    [
        FloodWaitError(7),
        DeliveryError("no"),
        TelegramError("down", ReconnectReason.NETWORK),
    ],
)
async def test_an_edit_that_fails(error: Exception) -> None:
    """The whole reply arrives, whatever becomes of the edits."""
    scene = LiveDeliveryFixture(Clock())
    scene.errors["edit"] = [error]
    await scene.deliver(
        "first", lambda: bool(scene.shown), " second", lambda: not scene.errors["edit"]
    )

    assert scene.texts[-1] == "first second"
    assert DeliveryEvent(DeliveryIssue.EDIT_LOST) in scene.events
    # A flood wait is waited out before the reply is completed.
    waited = 7 if isinstance(error, FloodWaitError) else 0
    assert sum(scene.slept) == waited


@pytest.mark.parametrize(
    "error",
    [DeliveryError("no"), TelegramError("down", ReconnectReason.NETWORK)],
)
async def test_a_first_message_that_fails(error: Exception) -> None:
    """A message that was not sent is no lost edit; Delivery sends it."""
    scene = LiveDeliveryFixture()
    scene.errors["send"] = [error]
    await scene.deliver("first", lambda: not scene.errors["send"], " second")

    assert scene.texts == ["first second"]
    assert DeliveryEvent(DeliveryIssue.EDIT_LOST) not in scene.events


async def test_edits_end_after_a_refusal() -> None:
    """After an edit was refused, the reply is sent anew once, when it is whole."""
    scene = LiveDeliveryFixture()
    refused = DeliveryError("not found", Refusal.MESSAGE)
    scene.errors["edit"] = [refused] * 9
    await scene.deliver(
        "first",
        lambda: bool(scene.shown),
        " second",
        lambda: len(scene.errors["edit"]) < 9,
        " third",
        " fourth",
    )

    assert scene.texts == ["first second third fourth"]
    assert len(scene.errors["edit"]) == 8
    assert scene.events.of_type(DeliveryEvent) == [
        DeliveryEvent(DeliveryIssue.EDIT_LOST)
    ]


@pytest.mark.parametrize(("method", "calls"), [("send", 1), ("edit", 1), ("type", 2)])
async def test_a_chat_that_is_gone(
    method: str, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the chat is known to be gone, the rest of the answer is not waited for."""
    monkeypatch.setattr(live, "TYPING_SECONDS", 0.01)
    scene = LiveDeliveryFixture()
    scene.errors[method] = [ChatGoneError("blocked")] * calls
    steps: dict[str, tuple[Step, ...]] = {
        "send": ("first", lambda: False),
        "edit": ("first", lambda: bool(scene.shown), " second", lambda: False),
        "type": (lambda: False,),
    }
    with pytest.raises(ChatGoneError) as raised:
        await scene.deliver(*steps[method])

    assert raised.value.undelivered is None
    assert scene.calls.count(method) == calls
    assert scene.events.of_type(DeliveryEvent) == [DeliveryEvent(DeliveryIssue.BLOCKED)]


async def test_a_timeout_of_the_answer() -> None:
    """A TimeoutError of the answer itself passes through."""
    scene = LiveDeliveryFixture()
    with pytest.raises(TimeoutError):
        await scene.deliver("first", TimeoutError, schedule=NEVER)


async def test_a_bug_in_an_edit() -> None:
    """It is logged and counted, and the whole reply arrives."""
    scene = LiveDeliveryFixture()
    scene.errors["edit"] = [ZeroDivisionError()]
    with capture_logs() as logs:
        await scene.deliver(
            "a", lambda: bool(scene.shown), "b", lambda: not scene.errors["edit"]
        )

    assert scene.texts == ["ab"]
    assert [line["event"] for line in logs] == ["bug in a live edit"]
    assert ErrorEvent(ErrorType.PROCESSING, Severity.CRITICAL) in scene.events


async def test_an_answer_without_text() -> None:
    """An answer without text shows nothing."""
    scene = LiveDeliveryFixture()
    await scene.deliver()

    assert (scene.calls, scene.progress.messages, scene.events) == ([], [], [])


async def test_cancelled() -> None:
    """A cancelled reply sends nothing more and leaves no task."""
    scene = LiveDeliveryFixture()
    before = asyncio.all_tasks()
    delivering = asyncio.create_task(scene.deliver("first", lambda: False))
    await scene.until(lambda: bool(scene.shown))
    delivering.cancel()
    await asyncio.wait([delivering])

    assert asyncio.all_tasks() == before
    assert delivering.cancelled()
    assert scene.shown == ["first"]


async def test_a_bug_in_the_answer() -> None:
    """An exception of the answer passes through and leaves no task."""
    scene = LiveDeliveryFixture()
    before = asyncio.all_tasks()
    with pytest.raises(ZeroDivisionError):
        await scene.deliver("first", ZeroDivisionError, schedule=NEVER)

    assert asyncio.all_tasks() == before
    assert scene.shown == []


def test_token_bucket() -> None:
    """Unused tokens are saved for one second."""
    clock = Clock(0.0)
    bucket = TokenBucket(clock, per_second=2.0)
    taken = []
    for clock.now in (0.0, 0.5, 60.0):
        taken.append([bucket.take() for _ in range(4)].count(True))

    assert taken == [2, 1, 2]


async def test_a_text_that_is_retracted() -> None:
    """What an answer turned out not to be is gone from the chat at its end."""
    chat = LiveDeliveryFixture()
    await chat.deliver("Thinking ...", lambda: bool(chat.shown), RETRACTED, "Hello.")

    assert chat.shown[0] == "Thinking ..."
    assert chat.texts == ["Hello."]
