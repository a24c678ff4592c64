"""The end of a turn: its rows are closed, even if it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from crocbot import log
from crocbot.dispatcher import Dispatcher
from crocbot.model import Disposition, Outcome, Row
from crocbot.turn import TurnRunner
from tests.crocbot.fakes import RecordedEvents


class RunnerFixture:
    """An inbox whose closes wait for `go_on`, and a turn that ends."""

    def __init__(self) -> None:
        self.closing, self.go_on = asyncio.Event(), asyncio.Event()
        self.runner = TurnRunner(
            stages=self,  # type: ignore[arg-type]
            inbox=self,  # type: ignore[arg-type]
            events=RecordedEvents(),
            redactor=log.Redactor([]),
        )
        self.closed: list[int] = []

    async def run(self, rows: Sequence[Row], *, overtaken: bool) -> list[Outcome]:
        return [Outcome(Disposition.ANSWERED, update_ids=(rows[0].update_id,))]

    async def close_rows(self, outcome: Outcome) -> int:
        self.closing.set()
        await self.go_on.wait()
        self.closed += outcome.update_ids
        return 1


async def test_closing_is_not_cancelled() -> None:
    """However often a turn is cancelled, its rows are closed; then the turn ends."""
    world = RunnerFixture()
    turn = asyncio.create_task(world.runner.run([Row(1, {}, 0.0)]))
    await world.closing.wait()
    for _ in range(3):
        turn.cancel()
        await asyncio.sleep(0)
        assert not turn.done()
    world.go_on.set()

    assert await turn is False
    assert world.closed == [1]


async def test_rows_that_are_closed_during_a_drain() -> None:
    """They are not left open, and no other turn of their chat begins."""
    world = RunnerFixture()
    dispatcher = Dispatcher(
        inbox=world,  # type: ignore[arg-type]
        runner=world.runner,
        events=RecordedEvents(),
        max_turns=1,
        max_queued=9,
    )
    dispatcher.enqueue(Row(number, {}, 0.0) for number in (1, 2))
    await world.closing.wait()
    draining = asyncio.create_task(dispatcher.drain(0))
    await asyncio.sleep(0.01)
    world.go_on.set()

    assert await draining == 1
    assert world.closed == [1]
