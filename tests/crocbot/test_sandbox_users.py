"""Simulated users: they wait, they check, they notice what is missing or wrong."""

from __future__ import annotations

import asyncio
import math
from itertools import islice
from random import Random
from typing import Any

import pytest

from crocbot.sandbox import users
from crocbot.sandbox.messages import Content, Person
from crocbot.sandbox.server import Server
from crocbot.sandbox.users import (
    MAX_MISTAKES,
    PEOPLE,
    ScriptedMessage,
    SimulatedUser,
    Users,
)

ADA = Person(7, "Ada")


class RecordingServer(Server):
    """A server that is not started and keeps what users send."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Any] = []

    def send(self, person: Person, content: str | Content, chat: Any = None) -> Any:
        self.sent.append(content)


@pytest.fixture
def server() -> RecordingServer:
    """A server that keeps what users send."""
    return RecordingServer()


@pytest.fixture
def ada(server: RecordingServer) -> SimulatedUser:
    """A user of that server."""
    return SimulatedUser(ADA, server)


def echo(content: Any) -> str:
    """Return the answer of the gateway's echo to a message."""
    text = content.get("text") or content.get("caption")
    return {"/whoami": "user id: 7", "/help": "/whoami - ids"}.get(
        text, text or "Received: sticker, without words."
    )


@pytest.mark.parametrize(
    ("message", "right", "wrong"),
    [
        (users.text("hello"), "hello", "hello!"),
        (users.photo("lunch"), "lunch", "Received: photo"),
        (users.sticker(), "Received: sticker, without words.", "Received: photo"),
        (users.command("whoami", "77"), "user id: 77", "user id: 78"),
    ],
)
def test_an_answer_is_checked(
    ada: SimulatedUser, message: ScriptedMessage, right: str, wrong: str
) -> None:
    """The right answer passes; another one is a mistake that names both texts."""
    ada.send(message)
    ada.receive(right)
    assert list(ada.mistakes) == []

    ada.send(message)
    ada.receive(wrong)
    assert list(ada.mistakes) == [f"Ada wrote {message.text!r} and got {wrong!r}"]
    assert ada.sent == ada.answered == {message.type: 2}


def test_the_order_of_answers_is_checked(ada: SimulatedUser) -> None:
    """Two answers in the wrong order are two mistakes."""
    for text in ("one", "two"):
        ada.send(users.text(text))
    for answer in ("two", "one"):
        ada.receive(answer)

    assert list(ada.mistakes) == [
        "Ada wrote 'one' and got 'two'",
        "Ada wrote 'two' and got 'one'",
    ]


def test_a_second_answer_is_a_mistake(ada: SimulatedUser) -> None:
    """It is noticed, and not counted as an answer."""
    ada.send(users.text("one"))
    ada.receive("one")
    ada.receive("one")

    assert list(ada.mistakes) == ["Ada got 'one' without a question"]
    assert ada.answered == {"text": 1}


async def test_a_missing_answer_is_a_mistake(ada: SimulatedUser) -> None:
    """After the timeout the mistake names the oldest message without an answer."""
    ada.send(users.text("one"))
    ada.send(users.text("two"))
    ada.receive("one")

    assert not await ada.wait_answered(timeout=0.01)
    assert list(ada.mistakes) == ["Ada has no answer to 'two' after 0.01 s"]


def test_mistakes_are_bounded(ada: SimulatedUser) -> None:
    """Only the newest hundred are kept."""
    for _ in range(MAX_MISTAKES + 5):
        ada.receive("spam")

    assert len(ada.mistakes) == MAX_MISTAKES


@pytest.mark.parametrize("seed", range(5))
def test_a_right_echo_makes_no_mistake(ada: SimulatedUser, seed: int) -> None:
    """A script begins with every type, and each message accepts its right answer."""
    script = list(islice(users.script(ADA, Random(seed)), 100))
    for message in script:
        ada.send(message)
        ada.receive(echo(message.content))

    assert {message.type for message in script[:3]} == {"text", "media", "command"}
    assert list(ada.mistakes) == []
    assert ada.sent == ada.answered


async def converse(
    ada: SimulatedUser, server: RecordingServer, count: int, stop_at: float = math.inf
) -> set[int]:
    """Let a user send messages to an echo; return the sizes of the bursts."""
    bursts: set[int] = set()
    stop = asyncio.Event()

    async def answer() -> None:
        while True:
            await asyncio.sleep(0)
            if server.sent:
                bursts.add(len(server.sent))
            if ada.sent.total() >= stop_at:
                stop.set()
            while server.sent:
                ada.receive(echo(server.sent.pop(0)))

    bot = asyncio.create_task(answer())
    script = iter([users.text(str(number)) for number in range(count)])
    await ada.converse(script, stop, Random(1), pause_seconds=(0, 0.001))
    bot.cancel()
    await asyncio.gather(bot, return_exceptions=True)
    return bursts


async def test_a_user_writes_until_the_script_ends(
    ada: SimulatedUser, server: RecordingServer
) -> None:
    """All messages are sent, each burst after the answers to the one before."""
    bursts = await converse(ada, server, 20)

    assert ada.sent == ada.answered == {"text": 20}
    assert list(ada.mistakes) == []
    assert bursts == {1, 2, 3}


@pytest.mark.parametrize("stop_at", [0, 1, 2, 3])
async def test_a_user_stops_when_asked(
    ada: SimulatedUser, server: RecordingServer, stop_at: int
) -> None:
    """The answers to the messages sent so far are awaited."""
    await converse(ada, server, 99, stop_at)

    assert 1 <= ada.sent.total() < 99
    assert ada.sent == ada.answered


async def test_a_user_is_cancelled_when_an_answer_comes(ada: SimulatedUser) -> None:
    """The cancellation counts, also if both happen before the user goes on."""
    script = iter([users.text("a"), users.text("b")])
    talk = asyncio.create_task(ada.converse(script, asyncio.Event(), Random(1)))
    while not ada.sent:
        await asyncio.sleep(0)
    for _ in range(ada.sent.total()):
        ada.receive("an answer")
    await asyncio.sleep(0)
    talk.cancel()
    await asyncio.wait({talk}, timeout=30)

    assert talk.cancelled()


def test_users_receive_the_messages_of_their_chat(server: RecordingServer) -> None:
    """A message reaches the user whose chat it is in; other chats are ignored."""
    several = Users(PEOPLE[:2], server)
    first, second = several.members
    first.send(users.text("a"))
    second.send(users.text("b"))
    several.receive({"chat": {"id": second.person.user_id}, "text": "b"})
    several.receive({"chat": {"id": -1}, "text": "c"})

    assert (first.answered, second.answered) == ({}, {"text": 1})
    assert (several.sent, several.answered) == ({"text": 2}, {"text": 1})
    assert several.mistakes == []
