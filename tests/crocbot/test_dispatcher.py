"""Order, bounds and draining of turns."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from crocbot.dispatcher import Dispatcher
from crocbot.model import RawUpdate, Row


def row(update_id: int, chat: int, **content: Any) -> Row:
    """A row of a chat."""
    return Row(update_id, {"chat": chat, **content}, 0.0)


class RowClassifier:
    """Rows of these tests say themselves what they are."""

    def key(self, raw: RawUpdate) -> int:
        """The chat."""
        return int(raw["chat"])

    def urgent(self, raw: RawUpdate) -> bool:
        """A row that overtakes."""
        return bool(raw.get("urgent"))

    def may_continue(self, raw: RawUpdate) -> bool:
        """A row with an album's name, unless it is the last one."""
        return "album" in raw and "last" not in raw

    def continues(self, previous: RawUpdate, raw: RawUpdate) -> bool:
        """A row of the same album."""
        return previous["album"] == raw.get("album")


class Turns:
    """Takes rows one at a time per gate; remembers what ran when."""

    def __init__(
        self,
        max_turns: int = 2,
        max_admitted: int = 4,
        gather_seconds: float = 0.0,
        most_admitted: int = 0,
    ) -> None:
        self.taken: list[int] = []
        self.groups: list[list[int]] = []
        self.cancelled: list[int] = []
        self.ending: asyncio.Event | None = None
        self.finished: list[int] = []
        self.running = 0
        self.most_running = 0
        self.gates: dict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self.dispatcher = Dispatcher(
            self.take,
            self.cancel,
            RowClassifier(),
            max_turns=max_turns,
            max_admitted=max_admitted,
            most_admitted=most_admitted,
            gather_seconds=gather_seconds,
        )

    async def cancel(self, rows: Sequence[Row]) -> None:
        """End the rows of a turn that was stopped; it may take a while."""
        if self.ending is not None:
            await self.ending.wait()
        self.cancelled += [row.update_id for row in rows]

    async def take(self, rows: Sequence[Row]) -> None:
        """One turn: waits until the gate of its first row is opened."""
        row = rows[0]
        self.groups.append([row.update_id for row in rows])
        self.taken.append(row.update_id)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await self.gates[row.update_id].wait()
            self.finished.append(row.update_id)
        finally:
            self.running -= 1

    async def open(self, *update_ids: int) -> None:
        """Let turns finish, and let the loop go on until nothing moves."""
        for update_id in update_ids:
            self.gates[update_id].set()
        await settle()


async def settle() -> None:
    """Let every task run until it waits for something."""
    for _ in range(50):
        await asyncio.sleep(0)


def play(scene: Coroutine[Any, Any, None]) -> None:
    """Run a scene; one that hangs fails."""
    asyncio.run(asyncio.wait_for(scene, 30))


def test_order_within_a_chat() -> None:
    """A chat's next row is taken when its last one is finished; others go on."""

    async def scene() -> None:
        turns = Turns()
        turns.dispatcher.admit([row(1, 7), row(2, 7), row(3, 8)])
        await settle()
        assert turns.taken == [1, 3]
        await turns.open(3)
        assert turns.taken == [1, 3]
        await turns.open(1)
        assert turns.taken == [1, 3, 2]
        await turns.open(2)
        assert turns.dispatcher.admitted == 0

    play(scene())


def test_turns_are_bounded() -> None:
    """No more than max_turns run at once, however many chats there are."""

    async def scene() -> None:
        turns = Turns(max_turns=2, max_admitted=100)
        turns.dispatcher.admit(row(number, number) for number in range(10))
        await settle()
        assert turns.running == 2
        await turns.open(*range(10))
        assert turns.most_running == 2
        assert sorted(turns.finished) == list(range(10))

    play(scene())


def test_room() -> None:
    """Once full there is no room until half of the rows are done."""

    async def scene() -> None:
        turns = Turns(max_turns=4, max_admitted=4)
        assert await turns.dispatcher.room() == 4
        turns.dispatcher.admit([row(1, 1)])
        assert await turns.dispatcher.room() == 3
        turns.dispatcher.admit([row(2, 2), row(3, 3), row(4, 4)])
        asking = asyncio.create_task(turns.dispatcher.room())
        await turns.open(1)
        assert not asking.done()
        await turns.open(2)
        assert await asking == 2
        await turns.open(3, 4)

    play(scene())


def test_one_busy_chat_makes_nobody_wait() -> None:
    """While turns are free there is room beyond, and then not any more."""

    async def scene() -> None:
        turns = Turns(max_turns=2, max_admitted=4, most_admitted=8)
        turns.dispatcher.admit(row(number, 7) for number in range(6))
        assert await turns.dispatcher.room() == 2
        # Another chat takes the last turn that is free: now there is too much.
        turns.dispatcher.admit([row(6, 8)])
        asking = asyncio.create_task(turns.dispatcher.room())
        await settle()
        assert not asking.done()
        await turns.open(*range(5))
        assert await asking == 2
        await turns.open(5, 6)
        assert await turns.dispatcher.room() == 4

    play(scene())


def test_drain_waits() -> None:
    """Draining finishes what runs and what waits, if there is time."""

    async def scene() -> None:
        turns = Turns()
        turns.dispatcher.admit([row(1, 7), row(2, 7)])
        draining = asyncio.create_task(turns.dispatcher.drain(30))
        await turns.open(1, 2)
        assert await draining == 0
        assert turns.finished == [1, 2]

    play(scene())


def test_drain_gives_up() -> None:
    """When time is up turns are cancelled, and what is left is told."""

    async def scene() -> None:
        turns = Turns()
        turns.dispatcher.admit([row(1, 7), row(2, 7), row(3, 8), row(4, 9)])
        await turns.open(3)
        assert await turns.dispatcher.drain(0) == 3
        assert turns.finished == [3]
        assert turns.running == 0

    play(scene())


def test_drain_of_nothing() -> None:
    """Nothing to drain takes no time."""

    async def scene() -> None:
        assert await Turns().dispatcher.drain(30) == 0

    play(scene())


def test_a_bug_stops_no_chat() -> None:
    """A turn that raises is told to the loop, and the chat's next row is taken."""

    async def scene() -> None:
        told: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: told.append(context)
        )
        taken = []

        async def take(rows: Sequence[Row]) -> None:
            taken.append(rows[0].update_id)
            if rows[0].update_id == 1:
                raise ValueError("a bug")

        dispatcher = Dispatcher(
            take, take, RowClassifier(), max_turns=1, max_admitted=4
        )
        dispatcher.admit([row(1, 7), row(2, 7)])
        assert await dispatcher.drain(30) == 0
        assert taken == [1, 2]
        assert [str(context["exception"]) for context in told] == ["a bug"]

    play(scene())


@given(
    st.lists(st.integers(0, 3), max_size=30),
    st.randoms(use_true_random=False),
)
def test_any_arrival(chats: list[int], random: Any) -> None:
    """Whatever order turns end in, each chat is served in order, and all of it."""

    async def scene() -> None:
        turns = Turns(max_turns=2, max_admitted=100)
        turns.dispatcher.admit(row(number, chat) for number, chat in enumerate(chats))
        await settle()
        while running := [n for n in turns.taken if n not in turns.finished]:
            await turns.open(random.choice(running))
        for chat in set(chats):
            own = [n for n in turns.finished if chats[n] == chat]
            assert own == [n for n, other in enumerate(chats) if other == chat]
        assert turns.most_running <= 2

    play(scene())


def test_stop_ends_what_runs() -> None:
    """Stopped, a chat's turn ends at once, what waits behind it is taken."""

    async def scene() -> None:
        turns = Turns(max_admitted=100)
        turns.dispatcher.admit([row(1, 7), row(2, 7), row(3, 8)])
        await settle()
        assert turns.dispatcher.stop(7)
        await settle()
        assert turns.cancelled == [1]
        assert turns.taken == [1, 3, 2]
        assert turns.dispatcher.admitted == 2
        await turns.open(2, 3)
        assert turns.finished == [2, 3]
        assert not turns.dispatcher.stop(7)
        assert not turns.dispatcher.stop(99)

    play(scene())


def test_stop_may_be_asked_for_again() -> None:
    """An impatient second stop, while the rows are ended, does not end the chat."""

    async def scene() -> None:
        turns = Turns(max_admitted=100)
        turns.dispatcher.admit([row(1, 7), row(2, 7)])
        await settle()
        turns.ending = asyncio.Event()
        assert turns.dispatcher.stop(7)
        await settle()
        assert turns.dispatcher.stop(7)
        await settle()
        turns.ending.set()
        await settle()
        await turns.open(2)
        assert turns.cancelled == [1]
        assert turns.finished == [2]
        assert turns.dispatcher.admitted == 0

    play(scene())


def test_stop_ends_what_waits_for_a_slot() -> None:
    """A turn that waits for others to end can be stopped before it begins."""

    async def scene() -> None:
        turns = Turns(max_turns=1, max_admitted=100)
        turns.dispatcher.admit([row(1, 7), row(2, 8), row(3, 8)])
        await settle()
        assert turns.dispatcher.stop(8)
        await turns.open(1)
        assert turns.cancelled == [2]
        await turns.open(3)
        assert turns.finished == [1, 3]
        assert turns.dispatcher.admitted == 0

    play(scene())


def test_the_urgent_overtakes() -> None:
    """An urgent row is taken though its chat, and every slot, is busy."""

    async def scene() -> None:
        turns = Turns(max_turns=1, max_admitted=100)
        turns.dispatcher.admit([row(1, 7), row(2, 7), row(3, 7, urgent=True)])
        await turns.open(3)
        assert turns.finished == [3]
        await turns.open(1, 2)
        assert turns.finished == [3, 1, 2]
        assert turns.dispatcher.admitted == 0

    play(scene())


def test_parts_make_one_turn() -> None:
    """What belongs together is one turn, also when somebody wrote in between."""

    async def scene() -> None:
        turns = Turns(max_admitted=100)
        turns.dispatcher.admit(
            [row(1, 7, album=5), row(2, 7), row(3, 7, album=5), row(4, 7, album=6)]
        )
        await turns.open(1, 2, 4)
        assert turns.groups == [[1, 3], [2], [4]]
        assert turns.dispatcher.admitted == 0

    play(scene())


def test_parts_are_waited_for() -> None:
    """A turn waits for its last part, and begins at once when that is here."""

    async def scene() -> None:
        turns = Turns(max_admitted=100, gather_seconds=3600.0)
        for number in (1, 2):
            turns.dispatcher.admit([row(number, 7, album=5)])
            await settle()
            assert turns.groups == []
        turns.dispatcher.admit([row(3, 7, album=5, last=True)])
        await turns.open(1)
        assert turns.groups == [[1, 2, 3]]
        assert turns.dispatcher.admitted == 0

    play(scene())


def test_a_moment_of_silence_is_enough() -> None:
    """A turn begins when no more parts come, though more might."""

    async def scene() -> None:
        turns = Turns(gather_seconds=0.01)
        turns.gates[1].set()
        turns.dispatcher.admit([row(1, 7, album=5), row(2, 7, album=5)])
        assert await turns.dispatcher.drain(30) == 0
        assert turns.groups == [[1, 2]]

    play(scene())


def test_what_is_gathered_can_be_stopped() -> None:
    """Stopped while it waits for its parts, a turn never begins."""

    async def scene() -> None:
        turns = Turns(gather_seconds=3600.0)
        turns.dispatcher.admit([row(1, 7, album=5), row(2, 7, album=5)])
        await settle()
        assert turns.dispatcher.stop(7)
        await settle()
        assert (turns.cancelled, turns.groups) == ([1, 2], [])
        assert turns.dispatcher.admitted == 0

    play(scene())


def test_an_ordinary_row_is_not_waited_for() -> None:
    """Only a row that may be continued waits."""

    async def scene() -> None:
        turns = Turns(gather_seconds=3600.0)
        turns.dispatcher.admit([row(1, 7)])
        await turns.open(1)
        assert turns.finished == [1]

    play(scene())


def test_drop() -> None:
    """What waits in a chat can be taken away; what runs there goes on."""

    async def scene() -> None:
        turns = Turns(max_admitted=100)
        turns.dispatcher.admit([row(1, 7), row(2, 7), row(3, 7), row(4, 8)])
        await settle()
        dropped = turns.dispatcher.drop(7)
        assert [row.update_id for row in dropped] == [2, 3]
        assert list(turns.dispatcher.drop(99)) == []
        await turns.open(1, 4)
        assert turns.finished == [1, 4]
        assert turns.dispatcher.admitted == 0

    play(scene())


def test_a_turn_that_heeds_nothing_is_left_behind() -> None:
    """Draining ends though a turn swallows its cancellation."""

    async def scene() -> None:
        free = asyncio.Event()

        async def take(_: Sequence[Row]) -> None:
            while not free.is_set():
                try:
                    await free.wait()
                except asyncio.CancelledError:
                    pass

        dispatcher = Dispatcher(
            take, take, RowClassifier(), max_turns=1, max_admitted=4
        )
        dispatcher.admit([row(1, 7)])
        await settle()
        assert await dispatcher.drain(0) == 1
        free.set()

    play(scene())
