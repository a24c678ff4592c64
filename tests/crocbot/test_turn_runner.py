"""The end of a turn: its rows are closed, even if it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from crocbot import log
from crocbot.arrival_outcomes import EditOutcome
from crocbot.chat_moves import ChatMoves
from crocbot.dispatcher import Dispatcher
from crocbot.errors import InboxError
from crocbot.events import EditHandled, QueueWait
from crocbot.model import Disposition, MessageType, Outcome, Row
from crocbot.turn import TurnRunner
from tests.crocbot.fakes import RecordedEvents
from tests.crocbot.test_dispatcher import settle


class RunnerFixture:
    """An inbox whose closes wait for `go_on`, and a turn that ends."""

    def __init__(self) -> None:
        self.closing, self.go_on = asyncio.Event(), asyncio.Event()
        self.events = RecordedEvents()
        self.runner = TurnRunner(
            stages=self,  # type: ignore[arg-type]
            arrivals=self,  # type: ignore[arg-type]
            inbox=self,  # type: ignore[arg-type]
            events=self.events,
            redactor=log.Redactor([]),
            clock=lambda: 100.0,
        )
        self.steps: list[str] = []
        self.begin_error: Exception | None = None
        self.closed: list[int] = []
        self.remembered: list[int] = []
        self.agent_step = self

    async def remember_stopped(self, update_ids: Sequence[int]) -> None:
        self.remembered += update_ids

    async def send_drafted(self, update_ids: Sequence[int]) -> None:
        assert self.remembered[-len(update_ids) :] == update_ids

    async def begin(self, rows: Sequence[Row]) -> None:
        self.steps.append("begin")
        if self.begin_error is not None:
            raise self.begin_error

    async def run(self, rows: Sequence[Row], *, overtaken: bool) -> list[Outcome]:
        self.steps.append("run")
        return [Outcome(Disposition.ANSWERED, update_ids=(rows[0].update_id,))]

    def message_type(self, row: Row) -> MessageType | None:
        return row.raw.get("type")

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


async def test_rows_that_are_closed_during_a_drain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are not left open, and no other turn of their chat begins."""
    monkeypatch.setattr("crocbot.dispatcher.CANCEL_SECONDS", 60.0)
    world = RunnerFixture()
    dispatcher = Dispatcher(
        inbox=world,  # type: ignore[arg-type]
        runner=world.runner,
        events=RecordedEvents(),
        moves=ChatMoves(None, {}, RecordedEvents()),  # type: ignore[arg-type]
        max_turns=1,
        max_queued=9,
    )
    dispatcher.enqueue(Row(number, {}, 0.0) for number in (1, 2))
    await world.closing.wait()
    draining = asyncio.create_task(dispatcher.drain(0))
    await settle()
    world.go_on.set()

    assert await draining == 1
    assert world.closed == [1]


@pytest.mark.parametrize("error", [None, InboxError("disk full")])
async def test_a_turn_is_recorded_before_it_runs(error: Exception | None) -> None:
    """It is in the inbox before anything of it runs; a full disk prevents no answer."""
    world = RunnerFixture()
    world.go_on.set()
    world.begin_error = error
    await world.runner.run([Row(1, {}, 0.0)])

    assert world.steps == ["begin", "run"]
    assert world.closed == [1]


async def test_how_long_rows_waited() -> None:
    """Each row has waited since it was accepted, but a retried one for the operator."""
    world = RunnerFixture()
    world.go_on.set()
    retried = Row(3, {}, 1.0, retried=True)
    await world.runner.run([Row(1, {}, 98.0), Row(2, {}, 99.5), retried])

    assert world.events.of_type(QueueWait) == [QueueWait(2.0), QueueWait(0.5)]


async def test_rows_that_are_closed_without_a_turn() -> None:
    """A stopped turn is one outcome; in a chat that is gone each row has its own."""
    world = RunnerFixture()
    world.go_on.set()
    text, media = {"type": MessageType.TEXT}, {"type": MessageType.MEDIA}
    retried = Row(3, text, 0.0, retried=True)
    await world.runner.cancel([Row(1, media, 0.0), Row(2, media, 0.0)])
    await world.runner.cancel([])
    await world.runner.fail_chat_gone([retried, Row(4, media, 0.0), Row(5, {}, 0.0)])

    outcomes = world.events.of_type(Outcome)
    assert [
        (each.update_ids, each.message_type, each.retried) for each in outcomes
    ] == [
        ((1, 2), MessageType.MEDIA, 0),
        ((3,), MessageType.TEXT, 1),
        ((4,), MessageType.MEDIA, 0),
        ((5,), None, 0),
    ]
    assert {each.disposition for each in outcomes[1:]} == {Disposition.FAILED}
    assert world.remembered == [1, 2]


async def test_rows_that_other_updates_close() -> None:
    """A replaced message is no message more; each lost one is cancelled by itself."""
    world = RunnerFixture()
    world.go_on.set()
    text = {"type": MessageType.TEXT}
    old, new = Row(1, text, 0.0), Row(2, text, 0.0)
    await world.runner.replace(old, new)
    await world.runner.ignore(Row(3, text, 0.0))
    await world.runner.cancel_waiting([Row(4, text, 0.0), Row(5, {}, 0.0)])

    ignored, cancelled = Disposition.IGNORED, Disposition.CANCELLED
    assert world.events.of_type(Outcome) == [
        Outcome(ignored, update_ids=(1,), replaced_by=new),
        Outcome(ignored, update_ids=(3,)),
        Outcome(cancelled, update_ids=(4,), message_type=MessageType.TEXT),
        Outcome(cancelled, update_ids=(5,)),
    ]
    assert world.events.of_type(EditHandled) == [EditHandled(EditOutcome.REPLACED)]
