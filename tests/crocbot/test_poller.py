"""Long polling: what it stores and reports, and that it never becomes a busy loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from crocbot.botapi import Poller
from crocbot.errors import (
    DeliveryError,
    FloodWaitError,
    InboxError,
    OperatorError,
    TelegramError,
    WebhookSetError,
)
from crocbot.events import Event, PollCompleted, PollFailed, PollingStarted
from crocbot.model import ErrorEvent, ErrorType, RawUpdate, ReconnectReason, Severity
from crocbot.service.shutdown import run_until_first
from tests.crocbot.fakes import AcceptingDispatcher, RecordedEvents

NETWORK, CONFLICT, TIMEOUT = ReconnectReason
ROUTINE = (PollingStarted, PollCompleted)
INBOX = ErrorEvent(ErrorType.INBOX, Severity.CRITICAL)
WEBHOOK = WebhookSetError("a webhook is set for this bot")


def down(reason: ReconnectReason = NETWORK) -> TelegramError:
    """A failed poll."""
    return TelegramError("down", reason)


def updates(*update_ids: int) -> list[RawUpdate]:
    """Updates with these ids."""
    return [{"update_id": update_id} for update_id in update_ids]


class PollerFixture:
    """
    A poller between a scripted client and a dispatcher that knows duplicates.

    Time passes only in `sleep`, and by `took` in each poll.  After the last answer
    the poll hangs, as it does without updates.
    """

    def __init__(self, *answers: list[Any] | Exception, took: float = 30.0) -> None:
        self.answers = list(answers)
        self.took = took
        self.now = 0.0
        self.offsets: list[int] = []
        self.limits: list[int] = []
        self.waits: list[bool] = []
        self.webhook_errors: list[Exception] = []
        self.dispatcher = AcceptingDispatcher()
        self.finished = asyncio.Event()
        self.events = RecordedEvents()
        self.resets = 0
        self.webhooks_deleted = 0
        self.slept: list[float] = []
        self.poller = self.poller_of(self)

    def poller_of(self, client: Any) -> Poller:
        """Return a poller of a client, with this clock and no jitter."""
        return Poller(
            client=client,
            dispatcher=self.dispatcher,  # type: ignore[arg-type]
            events=self.events,
            clock=lambda: self.now,
            sleep=self.sleep,
            random=lambda: 0.5,
        )

    async def get_updates(self, offset: int, limit: int, *, wait: bool) -> Any:
        self.waits.append(wait)
        self.offsets.append(offset)
        self.limits.append(limit)
        if not self.answers:
            self.finished.set()
            await asyncio.Event().wait()
        self.now += self.took
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def reset_connections(self) -> None:
        self.resets += 1

    async def delete_webhook(self) -> None:
        self.webhooks_deleted += 1
        if self.webhook_errors:
            raise self.webhook_errors.pop(0)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    @property
    def stored(self) -> list[int]:
        """The ids of the stored updates."""
        return [update["update_id"] for update in self.dispatcher.stored]

    @property
    def problems(self) -> list[Event]:
        """The events that do not belong to a good poll."""
        return [event for event in self.events if not isinstance(event, ROUTINE)]


async def until(
    poller: Poller, condition: Callable[[], Coroutine[Any, Any, Any]]
) -> None:
    """Run a poller until a condition comes true; an error of the poller is raised."""
    async with asyncio.timeout(30):
        await run_until_first(poller.run(), condition())


async def play(*answers: list[Any] | Exception, took: float = 30.0) -> PollerFixture:
    """Poll until the script is at its end."""
    world = PollerFixture(*answers, took=took)
    await until(world.poller, world.finished.wait)
    return world


async def test_the_offset_follows_what_is_stored() -> None:
    """The first offset is 0, then one above the highest id."""
    world = await play(updates(5, 6), [], updates(8, 9))

    assert world.offsets == [0, 7, 7, 10]
    assert world.stored == [5, 6, 8, 9]
    assert world.slept == []


async def test_what_is_not_stored_is_not_acknowledged() -> None:
    """When the inbox fails the offset stays; pauses are short, connections are kept."""
    world = PollerFixture(*[updates(5)] * 9)
    world.dispatcher.errors = [InboxError("disk full")] * 8
    await until(world.poller, world.finished.wait)

    assert world.offsets == [0] * 9 + [6]
    assert world.stored == [5]
    assert world.problems == [INBOX] * 8
    assert (world.slept[0], max(world.slept)) == (1.0, 5.0)
    assert world.resets == 0


async def test_a_batch_that_is_stored_in_part() -> None:
    """The offset moves past what is stored; the rest is a failure and comes again."""
    world = PollerFixture(updates(5, 6, 7), updates(6, 7), updates(7))
    world.dispatcher.fitting = [1, 0]
    world.dispatcher.errors = []
    await until(world.poller, world.finished.wait)

    assert world.offsets == [0, 6, 6, 8]
    assert world.stored == [5, 7]
    assert world.problems == [INBOX, INBOX]
    assert len(world.slept) == 2


async def test_a_poll_asks_for_what_there_is_capacity_for() -> None:
    """It asks for 100 updates at most, and waits while there is no capacity."""
    assert (await play()).limits == [100]
    world = PollerFixture()
    world.dispatcher.capacity = 3
    world.dispatcher.has_capacity.clear()
    polling = asyncio.create_task(until(world.poller, world.finished.wait))
    for _ in range(10):
        await asyncio.sleep(0)
    assert world.limits == []
    world.dispatcher.has_capacity.set()
    await polling
    assert world.limits == [3]


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (down(NETWORK), PollFailed(NETWORK)),
        (down(TIMEOUT), PollFailed(TIMEOUT)),
        (down(CONFLICT), PollFailed(CONFLICT)),
        (DeliveryError("400"), PollFailed(NETWORK)),
    ],
)
async def test_failed_polls_are_reported(error: Exception, event: Event) -> None:
    """Each failed poll is reported with its reason, once."""
    world = await play(error, updates(1))

    assert world.problems == [event]
    assert world.stored == [1]
    assert world.poller.completed_at == 61.0


async def test_pauses_grow_and_are_reset() -> None:
    """Pauses grow from 1 s to 30 s, with new connections after every third failure."""
    world = await play(*[down()] * 12, updates(1), down())

    assert [round(pause, 2) for pause in world.slept] == [
        1.0, 1.5, 2.25, 3.38, 5.06, 7.59, 11.39, 17.09, 25.63, 30.0, 30.0, 30.0, 1.0,
    ]  # fmt: skip
    assert world.resets == 4


async def test_flood_wait() -> None:
    """Telegram's own pause is kept to the second and is no failed poll."""
    world = await play(FloodWaitError(35.0), updates(1))

    assert world.slept == [35.0]
    assert world.problems == []


@pytest.mark.parametrize("answer", [[], updates(1)])
async def test_no_busy_loop(answer: list[Any]) -> None:
    """An answer at once without a new update is followed by a pause of a second."""
    world = await play(updates(1), *[answer] * 20, took=0.0)

    assert world.slept == [1.0] * 20


async def test_a_busy_bot_is_not_slowed() -> None:
    """An answer at once with a new update is followed by the next poll at once."""
    world = await play(*(updates(number) for number in range(20)), took=0.0)

    assert world.slept == []
    assert len(world.stored) == 20


async def test_the_first_poll_does_not_wait() -> None:
    """The first poll and the one after a failure return at once."""
    world = await play([], [], down(), [], took=0.0)

    assert world.waits == [False, True, True, False, True]
    # Only an empty answer to a long poll needs a pause; the other one is a failure.
    assert world.slept == [1.0, 1.0]


async def test_good_polls_are_reported() -> None:
    """The start of polling is an event, and each completed poll."""
    world = await play(updates(1), [])

    # The poll that hangs at the end was not completed.
    assert world.events == [PollingStarted(), PollCompleted(), PollCompleted()]


async def test_a_conflict_is_not_forgiven_at_once() -> None:
    """Two pollers let each other pass in turn; the pauses grow all the same."""
    conflict = down(CONFLICT)
    script = [conflict, updates(1), conflict, updates(2), conflict]
    world = await play(*script, updates(3), updates(4), updates(5), conflict)

    assert world.slept == [1.0, 1.5, 2.25, 1.0]


async def test_a_conflict_that_lasts_is_critical() -> None:
    """A minute after the first conflict it is no restart; each poll counts once."""
    world = await play(*[down(CONFLICT)] * 4)

    failed, lasting = PollFailed(CONFLICT), PollFailed(CONFLICT, lasting=True)
    assert world.problems == [failed, failed, lasting, lasting]


async def test_a_webhook_is_deleted() -> None:
    """At the start, and whenever a poll is refused because of one."""
    world = await play(WEBHOOK, updates(1))

    assert world.webhooks_deleted == 2
    assert world.problems == [PollFailed(CONFLICT)]
    assert world.stored == [1]


async def test_a_webhook_that_cannot_be_deleted() -> None:
    """The poller keeps trying, with pauses."""
    world = PollerFixture(WEBHOOK, WEBHOOK)
    world.webhook_errors = [down()] * 3
    await until(world.poller, world.finished.wait)

    assert world.problems == [PollFailed(CONFLICT)] * 2
    assert world.slept == [1.0, 1.5]


class Hung:
    """A client whose first poll ignores its timeout and its cancellation."""

    def __init__(self) -> None:
        self.polls = self.resets = 0
        self.released = asyncio.Event()
        self.poller: Poller | None = None

    async def get_updates(self, offset: int, limit: int, *, wait: bool) -> Any:
        self.polls += 1
        if self.polls > 1:
            self.released.set()
            await asyncio.Event().wait()
        while not self.released.is_set():
            try:
                await self.released.wait()
            except asyncio.CancelledError:
                pass
        raise ZeroDivisionError

    async def reset_connections(self) -> None:
        self.resets += 1
        # The next poll is not taken for one that hangs, however busy the machine is.
        assert self.poller is not None
        self.poller.hung_seconds = 3600.0

    async def delete_webhook(self) -> None:
        pass


async def test_a_poll_that_hangs_is_abandoned() -> None:
    """It costs one poll, and the next one has new connections."""
    world, hung = PollerFixture(), Hung()
    poller = hung.poller = world.poller_of(hung)
    poller.hung_seconds = 0.05
    await until(poller, hung.released.wait)
    await asyncio.sleep(0)

    assert (hung.polls, hung.resets) == (2, 1)
    assert world.problems == [PollFailed(TIMEOUT)]


@pytest.mark.parametrize("at_start", [False, True])
async def test_a_refused_token_ends_it(at_start: bool) -> None:
    """A token that is refused is the operator's to change."""
    world = PollerFixture(updates(1), OperatorError("refused"))
    world.webhook_errors = [OperatorError("refused")] if at_start else []
    with pytest.raises(OperatorError, match="refused"):
        await until(world.poller, world.finished.wait)
    assert world.stored == ([] if at_start else [1])
