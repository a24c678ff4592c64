"""Simulated people: they wait, they judge, they notice what is missing or wrong."""

from __future__ import annotations

import asyncio
import math
from itertools import islice
from random import Random
from typing import Any

import pytest

from crocbot.sandbox import users
from crocbot.sandbox.messages import Person
from crocbot.sandbox.users import PEOPLE, Line, SimulatedUser, Users

ADA = Person(7, "Ada")


def talker(said: list[Any] | None = None) -> SimulatedUser:
    """A person whose words go into a list."""
    said = [] if said is None else said
    return SimulatedUser(ADA, lambda _, content: said.append(content), lambda *_: None)


def echo(content: Any) -> str:
    """What the gateway's echo says to a message."""
    text = content.get("text") or content.get("caption")
    return {"/whoami": "user id: 7", "/help": "/whoami - ids"}.get(
        text, text or "Received: sticker, without words."
    )


@pytest.mark.parametrize(
    ("line", "right", "wrong"),
    [
        (users.text("hello"), "hello", "hello!"),
        (users.photo("lunch"), "lunch", "Received: photo"),
        (users.sticker(), "Received: sticker, without words.", "Received: photo"),
        (users.command("whoami", "77"), "user id: 77", "user id: 78"),
    ],
)
def test_an_answer_is_judged(line: Line, right: str, wrong: str) -> None:
    """The right answer passes; another one is a mistake that names both texts."""
    good, bad = talker(), talker()
    good.send(line)
    good.receive(right)
    bad.send(line)
    bad.receive(wrong)

    assert list(good.mistakes) == []
    assert list(bad.mistakes) == [f"Ada wrote {line.shown!r} and was told {wrong!r}"]
    assert good.sent == good.answered == bad.answered == {line.kind: 1}


def test_the_order_of_answers_counts() -> None:
    """Two answers in the wrong order are two mistakes."""
    ada = talker()
    ada.send(users.text("one"))
    ada.send(users.text("two"))
    ada.receive("two")
    ada.receive("one")

    assert list(ada.mistakes) == [
        "Ada wrote 'one' and was told 'two'",
        "Ada wrote 'two' and was told 'one'",
    ]


def test_a_second_answer_is_a_mistake() -> None:
    """An answer that nobody waits for is noticed, and counted as no answer."""
    ada = talker()
    ada.send(users.text("one"))
    ada.receive("one")
    ada.receive("one")

    assert list(ada.mistakes) == ["Ada did not ask and was told 'one'"]
    assert ada.answered == {"text": 1}


def test_a_missing_answer_is_noticed() -> None:
    """Who waits longer than his patience says for what."""
    ada = talker()
    ada.send(users.text("one"))
    ada.send(users.text("two"))
    ada.receive("one")

    assert not asyncio.run(ada.wait_answered(patience=0.01))
    assert list(ada.mistakes) == ["Ada has no answer to 'two' after 0.01 s"]


def test_mistakes_are_bounded() -> None:
    """Of a flood of mistakes only the newest hundred are kept."""
    ada = talker()
    for _ in range(users.MOST_MISTAKES + 5):
        ada.receive("spam")

    assert len(ada.mistakes) == users.MOST_MISTAKES


@pytest.mark.parametrize("seed", range(5))
def test_a_script_has_every_kind_at_once(seed: int) -> None:
    """The first three lines are of three kinds, and the script goes on."""
    lines = list(islice(users.script(ADA, Random(seed)), 50))

    assert {line.kind for line in lines[:3]} == {"text", "media", "command"}
    assert len(lines) == 50


@pytest.mark.parametrize("seed", range(5))
def test_a_right_echo_makes_no_mistake(seed: int) -> None:
    """Every line of the script is content with the answer that it ought to get."""
    ada = talker()
    for line in islice(users.script(ADA, Random(seed)), 100):
        ada.send(line)
        ada.receive(echo(line.content))

    assert list(ada.mistakes) == []
    assert ada.sent == ada.answered


def converse(count: int, stop_at: float = math.inf) -> tuple[SimulatedUser, set[int]]:
    """Say so many lines to an echo; returns also how many came at a time."""

    async def run() -> tuple[SimulatedUser, set[int]]:
        said: list[Any] = []
        bursts: set[int] = set()
        ada, stop = talker(said), asyncio.Event()

        async def answer() -> None:
            while True:
                await asyncio.sleep(0)
                if said:
                    bursts.add(len(said))
                if ada.sent.total() >= stop_at:
                    stop.set()
                while said:
                    ada.receive(echo(said.pop(0)))

        bot = asyncio.create_task(answer())
        lines = iter([users.text(str(number)) for number in range(count)])
        await ada.converse(lines, stop, Random(1), thought=(0, 0.001))
        bot.cancel()
        await asyncio.gather(bot, return_exceptions=True)
        return ada, bursts

    return asyncio.run(run())


def test_a_person_talks_until_he_has_said_everything() -> None:
    """All lines are said, a few at a time, each burst after the answers to the last."""
    ada, bursts = converse(20)

    assert ada.sent == ada.answered == {"text": 20}
    assert list(ada.mistakes) == []
    assert bursts == {1, 2, 3}


@pytest.mark.parametrize("stop_at", [0, 1, 2, 3])
def test_a_person_stops_when_asked(stop_at: int) -> None:
    """Asked to stop, even before the first line, he still waits for his answers."""
    ada, _ = converse(99, stop_at)

    assert 1 <= ada.sent.total() < 99
    assert ada.sent == ada.answered


def test_a_crowd_hears_each_for_himself() -> None:
    """A message reaches the person whose chat it is in; others are not ours."""
    crowd = Users(PEOPLE[:2], lambda *_: None, lambda *_: None)
    first, second = crowd.members
    first.send(users.text("a"))
    second.send(users.text("b"))
    crowd.receive({"chat": {"id": second.person.user_id}, "text": "b"})
    crowd.receive({"chat": {"id": -1}, "text": "c"})

    assert (first.answered, second.answered) == ({}, {"text": 1})
    assert (crowd.sent, crowd.answered) == ({"text": 2}, {"text": 1})
    assert crowd.mistakes == []
