"""The poll loop: what it stores, what it tells, and that it never runs hot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from crocbot.botapi import Client, Poller
from crocbot.errors import (
    DeliveryError,
    FloodWaitError,
    InboxError,
    OperatorError,
    TelegramError,
    WebhookSetError,
)
from crocbot.events import (
    Event,
    PollCompleted,
    PollFailed,
    PollingStarted,
    UpdateReceived,
    UpdateType,
)
from crocbot.model import ErrorEvent, ErrorType, RawUpdate, ReconnectReason, Severity
from crocbot.sandbox import Person, Server, faults
from crocbot.sandbox.faults import Answer, Drop, Fault, Slow
from tests.crocbot.fakes import RecordedEvents

NETWORK, CONFLICT, TIMEOUT = ReconnectReason
ROUTINE = (PollingStarted, PollCompleted, UpdateReceived)
INBOX = ErrorEvent(ErrorType.INBOX, Severity.CRITICAL)
POISON = ErrorEvent(ErrorType.PROCESSING, Severity.CRITICAL)
ADA = Person(7, "Ada")


def down(reason: ReconnectReason = NETWORK) -> TelegramError:
    """A failed poll."""
    return TelegramError("down", reason)


def updates(*update_ids: int) -> list[RawUpdate]:
    """Updates with these ids."""
    return [{"update_id": update_id} for update_id in update_ids]


class World:
    """
    A script of answers for the poller, and an inbox that knows duplicates.

    Time passes only in `sleep`, and by `took` in each poll.  After the last answer
    the poll hangs, as a quiet Telegram does.
    """

    def __init__(self, *answers: list[Any] | Exception, took: float = 30.0) -> None:
        self.answers = list(answers)
        self.took = took
        self.now = 0.0
        self.offsets: list[int] = []
        self.limits: list[int] = []
        self.stored: list[int] = []
        self.inbox_faults: list[Exception] = []
        self.free = 1000
        self.events = RecordedEvents()
        self.patience: list[bool] = []
        self.renewals = 0
        self.unhooked = 0
        self.slept: list[float] = []
        self.quiet = asyncio.Event()

    async def fetch(self, offset: int, limit: int, patient: bool) -> Sequence[Any]:
        """Answer as scripted."""
        self.patience.append(patient)
        self.offsets.append(offset)
        self.limits.append(limit)
        if not self.answers:
            self.quiet.set()
            await asyncio.Event().wait()
        self.now += self.took
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def accept(self, raws: Sequence[RawUpdate]) -> int:
        """Store; returns how many were new."""
        if self.inbox_faults:
            raise self.inbox_faults.pop(0)
        fresh = [raw["update_id"] for raw in raws]
        fresh = [update_id for update_id in fresh if update_id not in self.stored]
        self.stored += fresh
        return len(fresh)

    async def room(self) -> int:
        """There is room."""
        return self.free

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.slept.append(seconds)
        self.now += seconds

    @property
    def problems(self) -> list[Event]:
        """The events that do not belong to a poll that went well."""
        return [event for event in self.events if not isinstance(event, ROUTINE)]

    @property
    def routine(self) -> list[Event]:
        """The events of polls that went well."""
        return [event for event in self.events if isinstance(event, ROUTINE)]

    async def renew(self) -> None:
        """Make new connections."""
        self.renewals += 1

    async def unhook(self) -> None:
        """Delete the webhook."""
        self.unhooked += 1

    def poller(self) -> Poller:
        """A poller in this world, without jitter."""
        return Poller(
            self.fetch,
            self.accept,
            self.room,
            self.events,
            self.renew,
            self.unhook,
            clock=lambda: self.now,
            sleep=self.sleep,
            random=lambda: 0.5,
        )

    async def play(self) -> Poller:
        """Poll until the script is at its end."""
        poller = self.poller()
        await until(poller, self.quiet.wait)
        return poller


async def until(poller: Poller, condition: Callable[[], Any]) -> None:
    """Run a poller until a condition comes true; an error of the poller is raised."""
    polling = asyncio.create_task(poller.run())
    waiting = asyncio.ensure_future(condition())
    await asyncio.wait(
        {polling, waiting}, timeout=30, return_when=asyncio.FIRST_COMPLETED
    )
    for task in (polling, waiting):
        if not task.done():
            task.cancel()
    await asyncio.gather(polling, waiting, return_exceptions=True)
    if not polling.cancelled():
        polling.result()
    assert not waiting.cancelled(), "nothing happened within 30 s"


def play(world: World) -> Poller:
    """Play a whole script."""
    return asyncio.run(world.play())


def test_the_offset_follows_what_is_stored() -> None:
    """The first offset is 0, then one above the highest id; ids are the order."""
    world = World(updates(5, 6), [], updates(9, 8))
    play(world)

    assert world.offsets == [0, 7, 7, 10]
    assert world.stored == [5, 6, 8, 9]
    assert world.slept == []


def test_what_is_not_stored_is_not_acknowledged() -> None:
    """When the inbox fails the offset stays, and the failure is told and paced."""
    world = World(updates(5), updates(5))
    world.inbox_faults = [InboxError("disk full")]
    play(world)

    assert world.offsets == [0, 0, 6]
    assert world.stored == [5]
    assert world.problems == [INBOX]
    assert world.slept == [1.0]


def test_limits() -> None:
    """A poll asks for as many updates as there is room for, 100 at most."""
    world = World([])
    play(world)
    assert world.limits == [100, 100]

    world = World()
    world.free = 3
    play(world)
    assert world.limits == [3]


def test_no_room_no_poll() -> None:
    """Without room nothing is asked."""
    world = World()

    async def scene() -> None:
        room = asyncio.Event()

        async def wait_for_room() -> int:
            await room.wait()
            return 1

        poller = world.poller()
        poller.room = wait_for_room
        polling = asyncio.create_task(poller.run())
        await asyncio.sleep(0)
        assert world.offsets == []
        room.set()
        await world.quiet.wait()
        polling.cancel()

    asyncio.run(scene())
    assert world.offsets == [0]


@pytest.mark.parametrize(
    ("error", "fact"),
    [
        (down(NETWORK), PollFailed(NETWORK)),
        (down(TIMEOUT), PollFailed(TIMEOUT)),
        (down(CONFLICT), PollFailed(CONFLICT)),
        (DeliveryError("400"), PollFailed(NETWORK)),
    ],
)
def test_failed_polls_are_told(error: Exception, fact: Event) -> None:
    """Each failed poll is told with its reason, once."""
    world = World(error, updates(1))
    poller = play(world)

    assert world.problems == [fact]
    assert world.stored == [1]
    assert poller.completed == 61.0


def test_pauses_grow_and_are_reset() -> None:
    """Pauses grow from 1 s to 30 s; a good poll starts them anew."""
    world = World(*[down()] * 12, updates(1), down())
    play(world)

    assert [round(pause, 2) for pause in world.slept] == [
        1.0, 1.5, 2.25, 3.38, 5.06, 7.59, 11.39, 17.09, 25.63, 30.0, 30.0, 30.0, 1.0,
    ]  # fmt: skip


@pytest.mark.parametrize(("random", "pause"), [(0.0, 0.8), (1.0, 1.2)])
def test_pauses_have_jitter(random: float, pause: float) -> None:
    """Pauses differ by a fifth, so that many gateways do not come back at once."""
    world = World(down())

    async def scene() -> None:
        poller = world.poller()
        poller.random = lambda: random
        await until(poller, world.quiet.wait)

    asyncio.run(scene())
    assert world.slept == pytest.approx([pause])


def test_flood_wait() -> None:
    """Telegram's own pause is kept to the second and is no failed poll."""
    world = World(FloodWaitError(35.0), updates(1))
    play(world)

    assert world.slept == [35.0]
    assert world.problems == []


@pytest.mark.parametrize(
    "answer", [[], updates(1), [None], [{"no": "id"}], [5], [{"update_id": "1"}]]
)
def test_no_hot_loop(answer: list[Any]) -> None:
    """Answers at once without anything new are followed by a second of rest."""
    world = World(updates(1), *[answer] * 20, took=0.0)
    play(world)

    assert world.slept == [1.0] * 20


def test_a_busy_bot_is_not_slowed() -> None:
    """Answers at once that bring something are followed by the next poll at once."""
    world = World(*(updates(number) for number in range(20)), took=0.0)
    play(world)

    assert world.slept == []
    assert len(world.stored) == 20


def test_what_has_no_id_is_told_and_dropped() -> None:
    """Updates without a usable id are counted; the others of the answer are kept."""
    ids: list[Any] = ["3", None, True, -1, 2**63, 4.0]
    strange: list[Any] = [
        None,
        [],
        {},
        *({"update_id": update_id} for update_id in ids),
    ]
    world = World([*strange, *updates(7)])
    play(world)

    assert world.stored == [7]
    assert world.problems == [POISON] * len(strange)
    assert world.offsets == [0, 8]


def test_what_may_be_wrong_is_not_waited_for() -> None:
    """The first poll and the one after a failure return at once."""
    world = World([], [], down(), [], took=0.0)
    play(world)

    assert world.patience == [False, True, True, False, True]
    # Only an empty answer to a patient poll is suspicious; the other is a failure.
    assert world.slept == [1.0, 1.0]


def test_all_is_well_is_told_too() -> None:
    """Each completed poll is told, and each update with its kind."""
    world = World([{"update_id": 1, "message": {}}, {"update_id": 2}], [])
    play(world)

    assert world.routine == [
        PollingStarted(),
        UpdateReceived(UpdateType.MESSAGE),
        UpdateReceived(UpdateType.OTHER),
        PollCompleted(),
        PollCompleted(),
        # The one that hangs at the end was not completed.
    ]


def test_a_conflict_is_not_forgiven_at_once() -> None:
    """Two pollers let each other through in turn; the pauses grow all the same."""
    conflict = down(CONFLICT)
    script = [conflict, updates(1), conflict, updates(2), conflict]
    world = World(*script, updates(3), updates(4), updates(5), conflict)
    play(world)

    assert world.slept == [1.0, 1.5, 2.25, 1.0]


def test_a_conflict_that_lasts_is_critical() -> None:
    """A minute after the first conflict it is no leftover of a restart any more."""
    world = World(*[down(CONFLICT)] * 4)
    play(world)

    assert world.problems == [
        PollFailed(CONFLICT),
        PollFailed(CONFLICT),
        PollFailed(CONFLICT),
        ErrorEvent(ErrorType.CONFLICT, Severity.CRITICAL),
        PollFailed(CONFLICT),
        ErrorEvent(ErrorType.CONFLICT, Severity.CRITICAL),
    ]


def test_a_webhook_is_deleted() -> None:
    """Told to poll, the gateway removes a webhook that is in its way, and says so."""
    world = World(WebhookSetError("a webhook is set for this bot"), updates(1))
    play(world)

    assert world.unhooked == 1
    assert world.problems == [PollFailed(CONFLICT)]
    assert world.stored == [1]


def test_a_webhook_that_stays() -> None:
    """If it cannot be deleted the poller keeps trying, with pauses."""
    world = World(*[WebhookSetError("a webhook is set for this bot")] * 2)

    async def fail() -> None:
        raise down()

    async def scene() -> None:
        poller = world.poller()
        poller.unhook = fail
        await until(poller, world.quiet.wait)

    asyncio.run(scene())
    assert world.problems == [PollFailed(CONFLICT)] * 2
    assert world.slept == [1.0, 1.5]


def test_connections_are_renewed() -> None:
    """Every third failure in a row makes new connections."""
    world = World(*[down()] * 7, updates(1), *[down()] * 2)
    play(world)

    assert world.renewals == 2


def test_a_poll_that_hangs_is_left_behind() -> None:
    """A poll that ignores its time-out and its end costs one poll, not the bot."""
    world = World()
    hung = asyncio.Event()

    async def fetch(offset: int, limit: int, patient: bool) -> Sequence[Any]:
        if hung.is_set():
            world.stored.append(1)
            world.quiet.set()
            await asyncio.Event().wait()
        hung.set()
        while not world.quiet.is_set():
            try:
                await world.quiet.wait()
            except asyncio.CancelledError:
                pass
        raise ZeroDivisionError

    async def scene() -> None:
        poller = world.poller()
        poller.fetch, poller.hung_seconds = fetch, 0.05
        await until(poller, world.quiet.wait)
        await asyncio.sleep(0)

    asyncio.run(scene())
    assert world.stored == [1]
    assert world.renewals == 1
    assert world.problems == [PollFailed(TIMEOUT)]


def test_a_full_disk_is_tried_often() -> None:
    """The disk may be good again at any time: the pauses stay short."""
    world = World(*[updates(1)] * 9)
    world.inbox_faults = [InboxError("disk full")] * 8
    play(world)

    assert max(world.slept) == 5.0
    assert world.stored == [1]


def test_a_refused_token_ends_it() -> None:
    """A token that is refused later is the operator's to change."""
    with pytest.raises(OperatorError, match="refused"):
        play(World(updates(1), OperatorError("refused")))


# Against a real server, with faults on the wire.


@pytest.mark.parametrize(
    ("fault", "facts", "pauses"),
    [
        (faults.other_poller(), [PollFailed(CONFLICT)], [1.0]),
        (faults.webhook_active(), [PollFailed(CONFLICT)], [1.0]),
        (faults.flood_wait(3), [], [3.0]),
        (faults.server_error(), [PollFailed(NETWORK)], [1.0]),
        (faults.bad_gateway(), [PollFailed(NETWORK)], [1.0]),
        (faults.garbage(), [PollFailed(NETWORK)], [1.0]),
        (Answer(200, '{"ok":true,"result":{}}'), [PollFailed(NETWORK)], [1.0]),
        (Answer(200, "null"), [PollFailed(NETWORK)], [1.0]),
        (Answer(404, "<html>"), [PollFailed(NETWORK)], [1.0]),
        (Drop(), [PollFailed(NETWORK)], [1.0]),
        (Slow(60), [PollFailed(TIMEOUT)], [1.0]),
    ],
)
def test_faults_on_the_wire(
    fault: Fault, facts: list[Event], pauses: list[float]
) -> None:
    """After each fault the next poll gets what waits; the fault is told and paced."""
    world = World()

    async def scene() -> None:
        arrived = asyncio.Event()

        async def accept(raws: Sequence[RawUpdate]) -> int:
            if raws:
                arrived.set()
            return await world.accept(raws)

        async with (
            Server() as server,
            Client(server.token, server.url, long_poll=1, margin=0.3) as client,
        ):
            server.fault("getUpdates", fault)
            server.say(ADA, "hello")
            poller = world.poller()
            poller.fetch, poller.accept = client.get_updates, accept
            await until(poller, arrived.wait)

    asyncio.run(scene())
    assert len(world.stored) == 1
    assert world.problems == facts
    assert world.slept == pauses


def test_a_server_that_is_away() -> None:
    """While nobody listens the poller keeps trying, with growing pauses."""
    world = World()

    async def scene() -> None:
        tired = asyncio.Event()

        async def sleep(seconds: float) -> None:
            await world.sleep(seconds)
            if len(world.slept) == 5:
                tired.set()
                await asyncio.Event().wait()

        async with Client("1:a", "http://127.0.0.1:1") as client:
            poller = world.poller()
            poller.fetch, poller.sleep = client.get_updates, sleep
            await until(poller, tired.wait)

    asyncio.run(scene())
    assert world.problems == [PollFailed(NETWORK)] * 5
    assert world.slept == [1.0, 1.5, 2.25, 3.375, 5.0625]


def test_a_wrong_token_on_the_wire() -> None:
    """A token that the server refuses ends the loop; the call has told of it."""

    async def scene() -> None:
        async with Server() as server, Client("1:wrong", server.url) as client:
            poller = world.poller()
            poller.fetch = client.get_updates
            await poller.run()

    world = World()
    with pytest.raises(OperatorError, match="Telegram refused the token"):
        asyncio.run(asyncio.wait_for(scene(), 30))
    assert world.problems == []
