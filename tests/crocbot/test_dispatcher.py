"""Order, bounds, stopping and draining of turns."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot import envelope, fragments
from crocbot.chat_moves import ChatMoves
from crocbot.dispatcher import Dispatcher
from crocbot.errors import InboxError
from crocbot.events import MessageAccepted, TurnsInFlight
from crocbot.inbox import Accepted
from crocbot.model import ErrorEvent, ErrorType, RawUpdate, Row, Severity
from tests.crocbot.fakes import RecordedEvents

ALBUM = {"media_group_id": "5"}
PASTE = {"from": {"id": 7}, "text": "x" * 4096}
END_OF_PASTE = {"from": {"id": 7}, "text": "the end"}
BUG_COUNTED = ErrorEvent(ErrorType.PROCESSING, Severity.CRITICAL)
BUGS = [ValueError("a bug"), asyncio.CancelledError("of something awaited")]


def row(update_id: int, chat: int, **message: Any) -> Row:
    """Return a row of a chat."""
    raw = {"update_id": update_id, "message": {"chat": {"id": chat}, **message}}
    return Row(update_id, raw, 0.0)


class FakeInbox:
    """An inbox that stores updates while `storing` is set; none at all is an error."""

    def __init__(self) -> None:
        self.storing = asyncio.Event()
        self.storing.set()

    async def accept(
        self, updates: Sequence[RawUpdate], *, leader: int | None = None
    ) -> Accepted:
        await self.storing.wait()
        if not updates:
            raise InboxError("disk full")
        rows = [Row(update["update_id"], update, 0.0) for update in updates]
        return Accepted(rows=rows, stored=len(rows))


class FakeSessions:
    """Sessions that keep no moves."""

    async def move(self, old: int, new: int) -> None:
        pass


class FakeTurns:
    """
    The runner of a dispatcher: turns that wait for `finish`.

    With `stop_at_once` the turn of a /stop cancels the turn of its chat, and ends.
    """

    def __init__(self, *, stop_at_once: bool = False, **options: Any) -> None:
        self.stop_at_once = stop_at_once
        self.inbox = FakeInbox()
        self.moves = ChatMoves(FakeSessions(), {}, RecordedEvents())  # type: ignore[arg-type]
        self.groups: list[list[int]] = []
        self.finished: list[int] = []
        self.cancelled: list[int] = []
        self.failed: list[int] = []
        self.abandoned: list[int] = []
        self.gone: set[int] = set()
        self.overtaken: dict[int, bool] = {}
        self.bugs: dict[int, BaseException] = {}
        self.most_running = 0
        self.gates: dict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self.closing = asyncio.Event()
        self.closing.set()
        self.ignores_cancellation = False
        self.accepted_rows: list[int] = []
        self.reported: list[Any] = []
        self.events = RecordedEvents()
        self.arrivals = self
        self.confirmed: list[tuple[int, bool]] = []
        self.replaced: list[tuple[int, int]] = []
        self.ignored: list[int] = []
        self.opened: list[Row] = []
        defaults = {"max_turns": 2, "max_queued": 100, "calm_seconds": 0.0}
        options = defaults | options
        self.dispatcher = Dispatcher(
            inbox=self.inbox,  # type: ignore[arg-type]
            runner=self,  # type: ignore[arg-type]
            events=self.events,
            moves=self.moves,
            **options,
        )

    def accepted(self, rows: Sequence[Row]) -> None:
        self.accepted_rows += [row.update_id for row in rows]

    async def run(self, rows: Sequence[Row], *, overtaken: bool) -> bool:
        first = rows[0].update_id
        self.overtaken[first] = overtaken
        self.groups.append([row.update_id for row in rows])
        self.most_running = max(self.most_running, self.running)
        if self.stop_at_once and envelope.is_stop(rows[0].raw):
            self.dispatcher.stop_turn(envelope.chat_key(rows[0].raw))
            self.gates[first].set()
        while not self.gates[first].is_set():
            try:
                await self.gates[first].wait()
            except asyncio.CancelledError:
                if not self.ignores_cancellation:
                    raise
        if first in self.bugs:
            raise self.bugs[first]
        self.finished.append(first)
        return first in self.gone

    async def confirm_press(self, row: Row, *, repeated: bool) -> None:
        self.confirmed.append((row.update_id, repeated))

    async def change_membership(self, row: Row) -> list[Row]:
        opened, self.opened = self.opened, []
        return opened

    async def replace(self, old: Row, new: Row) -> None:
        self.replaced.append((old.update_id, new.update_id))

    async def ignore(self, row: Row) -> None:
        self.ignored.append(row.update_id)

    async def cancel_waiting(self, rows: Sequence[Row]) -> None:
        self.cancelled += [row.update_id for row in rows]

    async def cancel(self, rows: Sequence[Row]) -> None:
        await self.closing.wait()
        for each in rows:
            if each.update_id in self.bugs:
                raise self.bugs[each.update_id]
            self.cancelled.append(each.update_id)

    def abandon(self, rows: Sequence[Row]) -> None:
        self.abandoned += [row.update_id for row in rows]

    async def fail_chat_gone(self, rows: Sequence[Row]) -> None:
        self.failed += [row.update_id for row in rows]

    @property
    def running(self) -> int:
        counts = [event.count for event in self.events.of_type(TurnsInFlight)]
        return counts[-1] if counts else 0

    @property
    def begun(self) -> list[int]:
        return [group[0] for group in self.groups]

    async def enqueue(self, *rows: Row) -> None:
        """Queue rows, and let the loop go on until nothing moves."""
        self.dispatcher.enqueue(rows)
        await settle()

    async def finish(self, *update_ids: int) -> None:
        """Let turns finish, and let the loop go on until nothing moves."""
        for update_id in update_ids:
            self.gates[update_id].set()
        await settle()

    async def stop(self, chat: int) -> bool:
        """Stop a chat, and let the loop go on until nothing moves."""
        stopped = self.dispatcher.stop_turn(chat) is not None
        await settle()
        return stopped

    def record_bugs(self) -> None:
        """Collect what would be logged by asyncio as the exception of a task."""
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: self.reported.append(context["exception"])
        )

    def assert_idle(self) -> None:
        """Nothing runs, waits, or is counted any more."""
        assert (self.dispatcher.queued, self.running) == (0, 0)
        assert not self.dispatcher.stop_turn(7)


async def settle() -> None:
    """Let every task run until it waits for something."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_order_within_a_chat() -> None:
    """The next row of a chat begins when its last one is finished; others go on."""
    world = FakeTurns()
    await world.enqueue(row(1, 7), row(2, 7), row(3, 8))
    assert world.begun == [1, 3]
    assert world.overtaken == {1: True, 3: False}
    await world.finish(3)
    assert world.begun == [1, 3]
    await world.finish(1)
    assert world.begun == [1, 3, 2]
    await world.finish(2)
    world.assert_idle()


async def test_turns_are_bounded() -> None:
    """No more than max_turns run at once, however many chats there are."""
    world = FakeTurns(max_turns=2)
    await world.enqueue(*(row(number, number) for number in range(10)))
    assert world.running == 2
    await world.finish(*range(10))
    assert world.most_running == 2
    assert sorted(world.finished) == list(range(10))


async def test_capacity() -> None:
    """Once full there is no capacity until half of the rows are done."""
    world = FakeTurns(max_turns=4, max_queued=4)
    capacity = world.dispatcher.wait_for_capacity
    assert await capacity() == 4
    await world.enqueue(row(1, 1))
    assert await capacity() == 3
    await world.enqueue(row(2, 2), row(3, 3), row(4, 4))
    waiting = asyncio.create_task(capacity())
    await world.finish(1)
    assert not waiting.done()
    await world.finish(2)
    assert await waiting == 2
    await world.finish(3, 4)


async def test_capacity_that_another_one_took() -> None:
    """Of two that wait for capacity the second one goes on waiting."""
    world = FakeTurns(max_turns=4, max_queued=2)
    await world.enqueue(row(1, 1), row(2, 2))

    async def fill(chat: int) -> int:
        capacity = await world.dispatcher.wait_for_capacity()
        world.dispatcher.enqueue([row(chat, chat)])
        return capacity

    first, second = [asyncio.create_task(fill(chat)) for chat in (3, 4)]
    await world.finish(1)
    assert (await first, second.done()) == (1, False)
    await world.finish(2, 3)
    assert await second == 2
    await world.finish(4)


async def test_one_busy_chat_makes_no_other_wait() -> None:
    """While turns are free more rows are queued, and then no longer."""
    world = FakeTurns(max_turns=2, max_queued=4, max_queued_few_chats=8)
    await world.enqueue(*(row(number, 7) for number in range(6)))
    assert await world.dispatcher.wait_for_capacity() == 2
    # Another chat takes the last free turn: now there are too many.
    await world.enqueue(row(6, 8))
    waiting = asyncio.create_task(world.dispatcher.wait_for_capacity())
    await settle()
    assert not waiting.done()
    await world.finish(*range(5))
    assert await waiting == 2
    await world.finish(5, 6)
    assert await world.dispatcher.wait_for_capacity() == 4


async def test_an_update_is_stored_before_it_is_queued() -> None:
    """The rows of new updates are run; an inbox that fails queues nothing."""
    world = FakeTurns()
    with pytest.raises(InboxError):
        await world.dispatcher.accept([])
    accepted = await world.dispatcher.accept([row(1, 7).raw])
    assert [each.update_id for each in accepted.rows] == [1]
    await world.finish(1)
    assert world.finished == [1]


async def test_the_delivery_lag() -> None:
    """The lag of each new message is measured once, when it is stored."""
    world = FakeTurns()
    sent = int(time.time()) - 100
    for _ in range(2):
        # One that could not be stored is delivered again.
        with pytest.raises(InboxError):
            await world.dispatcher.accept([])
    await world.dispatcher.accept([row(1, 7, date=sent).raw, row(2, 7).raw])
    await world.finish(1, 2)

    (lag,) = world.events.of_type(MessageAccepted)
    assert 100 <= lag.lag_seconds < 200


async def test_a_cancelled_accept_queues_what_it_stores() -> None:
    """A stored row is run even if the caller of accept() is gone by then."""
    world = FakeTurns()
    world.inbox.storing.clear()
    accepting = asyncio.create_task(world.dispatcher.accept([row(1, 7).raw]))
    await settle()
    accepting.cancel()
    await settle()
    world.inbox.storing.set()
    await world.finish(1)
    assert accepting.cancelled()
    assert world.finished == [1]


async def test_drain_waits() -> None:
    """Draining finishes what runs and what waits, if there is time."""
    world = FakeTurns()
    assert await world.dispatcher.drain(30) == 0
    world.dispatcher.enqueue([row(1, 7), row(2, 7)])
    draining = asyncio.create_task(world.dispatcher.drain(30))
    await world.finish(1, 2)
    assert await draining == 0
    assert world.finished == [1, 2]


async def test_drain_gives_up() -> None:
    """When time is up turns are cancelled, and the open rows are counted."""
    world = FakeTurns()
    await world.enqueue(row(1, 7), row(2, 7), row(3, 8), row(4, 9))
    await world.finish(3)
    assert await world.dispatcher.drain(0) == 3
    assert (world.finished, world.cancelled, world.running) == ([3], [], 0)


async def test_drain_abandons_a_turn_that_ignores_its_cancellation() -> None:
    """Draining ends though a turn goes on."""
    world = FakeTurns()
    world.ignores_cancellation = True
    await world.enqueue(row(1, 7), row(2, 7))
    assert await world.dispatcher.drain(0) == 2
    await world.finish(1, 2)
    # It has ended all the same, and no other turn begins.
    assert (world.finished, world.begun) == ([1], [1])


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3), st.sampled_from(["", "", "/stop"]), st.integers(0, 99)
        ),
        max_size=30,
    )
)
async def test_any_arrival(rows: list[tuple[int, str, int]]) -> None:
    """In whatever order turns end, or are stopped, each chat is served in order."""
    chats = [chat for chat, _, _ in rows]
    texts = [number for number, (_, text, _) in enumerate(rows) if not text]
    world = FakeTurns(max_turns=2, stop_at_once=True)
    await world.enqueue(
        *(row(number, chat, text=text) for number, (chat, text, _) in enumerate(rows))
    )
    for _, _, choice in rows:
        ended = {*world.finished, *world.cancelled}
        if running := [number for number in world.begun if number not in ended]:
            await world.finish(running[choice % len(running)])
    assert sorted(world.finished + world.cancelled) == list(range(len(rows)))
    for chat in set(chats):
        of_chat = [number for number in texts if chats[number] == chat]
        assert [n for n in world.finished if n in of_chat] == [
            n for n in of_chat if n not in world.cancelled
        ]
    world.assert_idle()


async def test_stop_ends_what_runs() -> None:
    """A stopped turn ends at once, and the row behind it is taken."""
    world = FakeTurns()
    await world.enqueue(row(1, 7), row(2, 7), row(3, 8))
    assert await world.stop(7)
    assert world.cancelled == [1]
    assert world.begun == [1, 3, 2]
    assert world.accepted_rows == [1, 2, 3]
    await world.finish(2, 3)
    assert world.finished == [2, 3]
    assert not await world.stop(99)
    world.assert_idle()


async def test_stop_of_a_draft() -> None:
    """Only the turn whose answer the draft shows is stopped; its end is announced."""
    world = FakeTurns()
    first, second = row(1, 7), row(2, 7)
    await world.enqueue(first, second)
    assert world.dispatcher.stop_turn(7, second.draft_id) is None
    ended = world.dispatcher.stop_turn(7, first.draft_id)
    assert ended is not None
    assert not ended.is_set()
    await settle()
    assert ended.is_set()
    assert (world.cancelled, world.begun) == ([1], [1, 2])
    await world.finish(2)
    world.assert_idle()


async def test_stop_before_a_turn_has_begun() -> None:
    """A row that comes with a /stop, and after it, is run; so are those that follow."""
    world = FakeTurns(stop_at_once=True)
    await world.enqueue(row(1, 7, text="/stop"), row(2, 7))
    await world.enqueue(row(3, 7))
    await world.finish(2, 3)
    assert (world.finished, world.cancelled) == ([1, 2, 3], [])
    world.assert_idle()


async def test_a_second_stop() -> None:
    """A stop while the rows of a stopped turn are closed does not end the chat."""
    world = FakeTurns()
    await world.enqueue(row(1, 7), row(2, 7))
    world.closing.clear()
    assert await world.stop(7)
    assert await world.stop(7)
    world.closing.set()
    await world.finish(2)
    assert (world.cancelled, world.finished) == ([1], [2])
    world.assert_idle()


async def test_stop_ends_what_waits_for_its_turn() -> None:
    """A turn that waits until others end can be stopped before it begins."""
    world = FakeTurns(max_turns=1)
    await world.enqueue(row(1, 7), row(2, 8), row(3, 8))
    assert await world.stop(8)
    await world.finish(1)
    assert world.cancelled == [2]
    await world.finish(3)
    assert world.finished == [1, 3]
    world.assert_idle()


@pytest.mark.parametrize("bug", BUGS)
async def test_an_exception_in_a_turn_ends_only_that_turn(bug: BaseException) -> None:
    """It is logged, and the chat goes on; so does a chat whose /stop it is."""
    world = FakeTurns()
    world.record_bugs()
    world.bugs = {1: bug, 2: bug}
    await world.enqueue(row(1, 7), row(2, 7, text="/stop"), row(3, 7))
    await world.finish(1, 2, 3)
    assert world.reported == [bug, bug]
    assert world.events.count(BUG_COUNTED) == 2
    assert world.finished == [3]
    world.assert_idle()


@pytest.mark.parametrize("bug", BUGS)
async def test_an_exception_while_a_turn_is_stopped(bug: BaseException) -> None:
    """It is logged, and the chat takes the rows that wait and those that come."""
    world = FakeTurns()
    world.record_bugs()
    world.bugs = {1: bug}
    await world.enqueue(row(1, 7), row(2, 7))
    assert await world.stop(7)
    await world.enqueue(row(3, 7))
    await world.finish(2, 3)
    assert world.reported == [bug]
    assert world.finished == [2, 3]
    world.assert_idle()


async def test_an_exception_while_fragments_are_gathered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rows stay open in the inbox, are counted out, and the next one is taken."""
    world = FakeTurns()
    world.record_bugs()
    bug = ValueError("a bug")
    with monkeypatch.context() as patched:
        patched.setattr(fragments, "may_continue", _raising(bug))
        await world.enqueue(row(1, 7), row(2, 7))
    assert world.reported == [bug]
    world.assert_idle()
    await world.enqueue(row(3, 7))
    await world.finish(3)
    assert world.finished == [3]


def _raising(error: Exception) -> Any:
    def fail(*_: object) -> None:
        raise error

    return fail


async def test_a_turn_that_ignores_a_stop() -> None:
    """A turn that ends in spite of a stop leaves its chat as any other does."""
    world = FakeTurns()
    world.record_bugs()
    world.ignores_cancellation = True
    world.bugs = {2: asyncio.CancelledError()}
    await world.enqueue(row(1, 7), row(2, 7), row(3, 7))
    assert await world.stop(7)
    await world.finish(1, 2, 3)
    assert world.finished == [1, 3]
    world.assert_idle()


async def test_stop_overtakes() -> None:
    """A /stop is taken though its chat, and every turn, is busy."""
    world = FakeTurns(max_turns=1)
    await world.enqueue(row(1, 7), row(2, 7), row(3, 7, text="/stop"))
    await world.finish(3)
    assert world.finished == [3]
    await world.finish(1, 2)
    assert world.finished == [3, 1, 2]
    world.assert_idle()


async def test_fragments_make_one_turn() -> None:
    """Fragments of a message are one turn, also with another message in between."""
    world = FakeTurns()
    other_album = {"media_group_id": "6"}
    await world.enqueue(
        row(1, 7, **ALBUM), row(2, 7), row(3, 7, **ALBUM), row(4, 7, **other_album)
    )
    await world.finish(1, 2, 4)
    assert world.groups == [[1, 3], [2], [4]]
    world.assert_idle()


async def test_fragments_are_waited_for() -> None:
    """A turn waits for its last fragment and begins when that is here; others don't."""
    world = FakeTurns(gather_seconds=3600.0)
    world.gates[9].set()
    await world.enqueue(row(9, 9), row(1, 7, **PASTE))
    assert world.finished == [9]
    await world.enqueue(row(2, 7, **PASTE))
    assert world.groups == [[9]]
    await world.enqueue(row(3, 7, **END_OF_PASTE))
    await world.finish(1)
    assert world.groups == [[9], [1, 2, 3]]
    world.assert_idle()


async def test_a_turn_begins_when_no_more_fragments_come() -> None:
    """After gather_seconds without another fragment the turn begins."""
    world = FakeTurns(gather_seconds=0.01)
    world.gates[1].set()
    world.dispatcher.enqueue([row(1, 7, **ALBUM), row(2, 7, **ALBUM)])
    assert await world.dispatcher.drain(30) == 0
    assert world.groups == [[1, 2]]


async def test_what_is_gathered_can_be_stopped() -> None:
    """Stopped while it waits for fragments, a turn never begins."""
    world = FakeTurns(gather_seconds=3600.0)
    await world.enqueue(row(1, 7, **ALBUM), row(2, 7, **ALBUM))
    assert await world.stop(7)
    assert (world.cancelled, world.groups) == ([1, 2], [])
    world.assert_idle()


@pytest.mark.parametrize("gone", [1, 4])
async def test_the_rows_of_a_chat_that_is_gone_fail(gone: int) -> None:
    """What waits there is closed as failed; other chats go on."""
    world = FakeTurns()
    world.gone = {gone}
    await world.enqueue(row(1, 7), row(2, 7), row(3, 7), row(4, 7, text="/stop"))
    await world.finish(gone)
    assert world.failed == [2, 3]
    await world.finish(1, 4)
    assert sorted(world.finished) == [1, 4]
    world.assert_idle()


async def test_a_chat_that_moves_during_a_turn() -> None:
    """Messages of its new id wait for that turn, and /stop there cancels it."""
    world = FakeTurns()
    await world.enqueue(row(1, -5))
    await world.moves.record(-5, -1005)
    await world.enqueue(row(2, -1005))
    assert world.begun == [1]
    assert await world.stop(-1005)
    assert (world.cancelled, world.begun) == ([1], [1, 2])
    await world.finish(2)
    world.assert_idle()


def suspect(update_id: int, chat: int, tries: int = 1, **message: Any) -> Row:
    """Return a row whose turn was running when the process crashed."""
    return replace(row(update_id, chat, **message), tries=tries)


async def resume(world: FakeTurns, *rows: Row) -> None:
    """Queue rows of an earlier process, and let the loop go on until nothing moves."""
    world.dispatcher.resume(rows)
    await settle()


async def test_suspects_run_alone() -> None:
    """They run one at a time; all other rows, old and new, wait until they ended."""
    world = FakeTurns(max_turns=5)
    await resume(world, row(1, 1), suspect(2, 2), row(3, 3), suspect(4, 4))
    await world.enqueue(row(5, 5), row(6, 4))
    assert world.begun == [2]
    await world.finish(2)
    assert world.begun == [2, 4]
    await world.finish(4)
    assert sorted(world.begun) == [1, 2, 3, 4, 5, 6]
    await world.finish(1, 3, 5, 6)
    world.assert_idle()


async def test_suspects_with_few_tries_are_first() -> None:
    """A process that is killed for another reason has another suspect each time."""
    world = FakeTurns()
    await resume(world, suspect(1, 1, 2), suspect(2, 2, 1), suspect(3, 3, 1))
    await world.finish(1, 2, 3)
    assert world.begun == [2, 3, 1]
    world.assert_idle()


async def test_the_last_try_waits() -> None:
    """It begins when the process has run for a while; a row to set aside does not."""
    world = FakeTurns(calm_seconds=3600.0)
    await resume(world, suspect(1, 1, 2), suspect(2, 2), suspect(3, 3, 3), row(4, 4))
    await world.finish(2, 3)
    assert world.finished == [2, 3]
    assert world.begun == [2, 3]
    assert await world.stop(1)
    assert world.cancelled == [1]
    await world.finish(4)
    assert world.finished == [2, 3, 4]
    world.assert_idle()


async def test_a_suspect_keeps_its_place_in_its_chat() -> None:
    """A row before it in its chat, which the operator reopened, runs alone first."""
    world = FakeTurns()
    await resume(world, row(1, 7), suspect(2, 7), row(3, 7), row(4, 8))
    assert world.begun == [1]
    await world.finish(1)
    assert world.begun == [1, 2]
    await world.finish(2)
    assert sorted(world.begun) == [1, 2, 3, 4]
    await world.finish(3, 4)
    world.assert_idle()


async def test_fragments_that_are_suspects() -> None:
    """They are one turn again, and others run when it has ended."""
    world = FakeTurns()
    album = [suspect(1, 7, **ALBUM), suspect(2, 7, **ALBUM)]
    await resume(world, *album, row(3, 8))
    assert world.groups == [[1, 2]]
    await world.finish(1)
    assert world.groups == [[1, 2], [3]]
    await world.finish(3)
    world.assert_idle()


async def test_a_new_stop_does_not_wait_for_suspects() -> None:
    """It cancels a suspect that is slow, and the others go on."""
    world = FakeTurns(stop_at_once=True)
    await resume(world, suspect(1, 7), row(2, 8))
    await world.enqueue(row(3, 7, text="/stop"))
    assert (world.cancelled, world.finished) == ([1], [3])
    assert world.begun == [1, 3, 2]
    await world.finish(2)
    world.assert_idle()


async def test_a_stop_that_is_a_suspect() -> None:
    """It runs alone as well, before the others."""
    world = FakeTurns()
    await resume(world, suspect(1, 7), suspect(2, 7, 2, text="/stop"), row(3, 8))
    assert world.begun == [2]
    await world.finish(2)
    assert world.begun == [2, 1]
    await world.finish(1, 3)
    world.assert_idle()


@pytest.mark.parametrize("end", ["bug", "gone", "stopped"])
async def test_a_suspect_that_leaves(end: str) -> None:
    """However suspects leave the queue, others run when the last one has left."""
    world = FakeTurns()
    world.record_bugs()
    await resume(world, suspect(1, 7), suspect(2, 7), row(3, 8))
    if end == "bug":
        world.bugs = {1: ValueError("a bug"), 2: ValueError("a bug")}
    elif end == "gone":
        world.gone = {1}
    else:
        await world.finish(1)
        assert await world.stop(7)
    await world.finish(1, 2, 3)
    assert world.finished[-1] == 3
    world.assert_idle()


async def test_a_drain_while_suspects_run() -> None:
    """What waits for them is left open."""
    world = FakeTurns()
    await resume(world, suspect(1, 7), suspect(2, 8), row(3, 9))
    assert await world.dispatcher.drain(0) == 3
    assert world.begun == [1]
