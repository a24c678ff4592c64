"""Who has to wait after Telegram asked for it, and who has not."""

from __future__ import annotations

import pytest

from crocbot.botapi import flood_control as floods
from crocbot.botapi.flood_control import FloodControl
from crocbot.errors import FloodWaitError


class Scene:
    """Floods on a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.floods = FloodControl(lambda: self.now)

    def wait(self, chat_id: int) -> float:
        """How long a chat has to wait."""
        try:
            self.floods.check(chat_id)
        except FloodWaitError as error:
            return error.seconds
        return 0.0


def test_one_chat_waits_alone() -> None:
    """A chat waits as long as it was told; nobody else does."""
    scene = Scene()
    assert scene.wait(7) == 0.0
    scene.floods.note(7, 30.0)

    assert (scene.wait(7), scene.wait(8)) == (30.0, 0.0)
    scene.now += 10
    assert scene.wait(7) == 20.0
    scene.now += 20
    assert scene.wait(7) == 0.0


def test_many_chats_at_once_are_the_bot() -> None:
    """When several chats are told to wait at the same time, everybody waits."""
    scene = Scene()
    for chat_id in (7, 8, 9):
        scene.floods.note(chat_id, 10.0)

    assert scene.wait(99) == 10.0
    scene.now += 10
    assert scene.wait(99) == 0.0


def test_many_chats_one_after_the_other_are_not() -> None:
    """Chats that were told to wait at different times have nothing in common."""
    scene = Scene()
    for chat_id in (7, 8, 9, 10):
        scene.floods.note(chat_id, 60.0)
        scene.now += 3

    assert scene.wait(99) == 0.0
    assert scene.wait(7) == 48.0


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many chats those are forgotten whose wait is over first."""
    monkeypatch.setattr(floods, "MOST_CHATS", 10)
    scene = Scene()
    for chat_id in range(100):
        scene.floods.note(chat_id, 100.0 + chat_id)
        scene.now += 10

    assert len(scene.floods._until) <= 10
    assert scene.wait(99) > 0
