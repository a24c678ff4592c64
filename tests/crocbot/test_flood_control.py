"""Flood-wait deadlines: which chats have to wait after a 429, and until when."""

from __future__ import annotations

import pytest

from crocbot import backoff
from crocbot.backoff import FloodControl
from crocbot.errors import FloodWaitError


class Clocked(FloodControl):
    """Flood control on a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        super().__init__(lambda: self.now)

    def wait(self, chat_id: int) -> float:
        """Return how long a chat has to wait."""
        try:
            self.check(chat_id)
        except FloodWaitError as error:
            return error.seconds
        return 0.0


def test_one_chat_waits_alone() -> None:
    """A chat waits until its deadline; no other chat does."""
    control = Clocked()
    assert control.wait(7) == 0.0
    control.record(7, 30.0)

    assert (control.wait(7), control.wait(8)) == (30.0, 0.0)
    control.now += 10
    assert control.wait(7) == 20.0
    control.now += 20
    assert control.wait(7) == 0.0


def test_a_chat_that_moved_waits_at_both_ids() -> None:
    """Its old and its new id have one deadline, and count as one chat."""
    control = Clocked()
    control.record(-7, 30.0, moved_from=7)
    control.record(8, 30.0)

    assert (control.wait(7), control.wait(-7), control.wait(9)) == (30.0, 30.0, 0.0)


def test_several_chats_at_once_are_the_limit_of_the_bot() -> None:
    """When three chats have to wait within five seconds, every chat waits."""
    control = Clocked()
    for chat_id in (7, 8, 9):
        control.record(chat_id, 10.0)

    assert control.wait(99) == 10.0
    control.now += 10
    assert control.wait(99) == 0.0


def test_several_chats_at_different_times_are_not() -> None:
    """Chats whose flood waits are seconds apart only wait themselves."""
    control = Clocked()
    for chat_id in (7, 8, 9, 10):
        control.record(chat_id, 60.0)
        control.now += 3

    assert control.wait(99) == 0.0
    assert control.wait(7) == 48.0


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many deadlines the earliest are forgotten."""
    monkeypatch.setattr(backoff, "MAX_CHATS", 10)
    control = Clocked()
    for chat_id in range(100):
        control.record(chat_id, 1000.0 + chat_id)
        control.now += 10

    waiting = [chat_id for chat_id in range(100) if control.wait(chat_id)]
    assert waiting == list(range(90, 100))


class Shared(list[tuple[int, float]]):
    """A FloodListener that is the list of what it received."""

    def recorded(self, chat_id: int, seconds: float) -> None:
        """Append the flood wait."""
        self.append((chat_id, seconds))


def test_only_own_flood_waits_are_shared() -> None:
    """What came from another process is followed, and not sent back."""
    control = Clocked()
    shared = control.listener = Shared()
    control.follow(7, 30.0)
    control.follow(8, 30.0)
    assert control.everyone_waits == 0.0
    control.record(9, 20.0)

    assert shared == [(9, 20.0)]
    # Chats of several processes count together.
    assert control.wait(99) == control.everyone_waits == 20.0


def test_a_wait_of_the_bot_that_another_process_knows() -> None:
    """Every chat waits; a shorter one changes nothing."""
    control = Clocked()
    control.follow_everyone(30.0)
    control.follow_everyone(10.0)
    control.follow_everyone(0.0)

    assert control.wait(7) == 30.0


def test_a_wait_that_came_with_its_chat() -> None:
    """It holds here, too, and does not count as a new 429."""
    control = Clocked()
    for chat_id in (7, 8, 9):
        control.restore(chat_id, 30.0)
    control.restore(7, 10.0)

    assert (control.wait(7), control.wait(8), control.wait(99)) == (30.0, 30.0, 0.0)
