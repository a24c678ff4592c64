"""Order, bounds and draining of turns."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Coroutine
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from crocbot.dispatcher import Dispatcher
from crocbot.model import Row


def row(update_id: int, chat: int) -> Row:
    """A row of a chat."""
    return Row(update_id, {"chat": chat}, 0.0)


class Turns:
    """Takes rows one at a time per gate; remembers what ran when."""

    def __init__(self, max_turns: int = 2, max_admitted: int = 4) -> None:
        self.taken: list[int] = []
        self.finished: list[int] = []
        self.running = 0
        self.most_running = 0
        self.gates: dict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self.dispatcher = Dispatcher(
            self.take,
            lambda raw: raw["chat"],
            max_turns=max_turns,
            max_admitted=max_admitted,
        )

    async def take(self, row: Row) -> None:
        """One turn: waits until its gate is opened."""
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

        async def take(row: Row) -> None:
            taken.append(row.update_id)
            if row.update_id == 1:
                raise ValueError("a bug")

        dispatcher = Dispatcher(take, lambda _: 7, max_turns=1, max_admitted=4)
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
