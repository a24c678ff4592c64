"""
Rich messages, with `CROCBOT_RICH=on`: sent once, or the classic form at once.

    agent: a table --> sendRichMessage --> button --> the classic form in its place
"""

from __future__ import annotations

import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from crocbot.reply.rich_delivery import NOT_KEPT, UNCONFIRMED
from crocbot.sandbox import Chat, Person, faults
from crocbot.sandbox.children import Child
from crocbot.sandbox.faults import Drop, Fault, Slow
from tests.crocbot.fakes import serving
from tests.end_to_end.world import World, open_world

ADA, BOB = Person(1001, "Ada"), Person(1002, "Bob")
GROUP = Chat(-5, "Crocodiles")
TABLE = "Here:\n\n| a | b |\n|---|---|\n| 1 | 2 |"
LONG = "\n\n".join([f"{number} " + "word " * 150 + "end" for number in range(8)])
WORDS = re.compile(r"\w+")
ANSWERS = {"table": TABLE, "long": LONG, "plain": "Just **words**."}
RICH = "crocbot_rich_messages_total"


async def answer(request: web.Request) -> web.StreamResponse:
    """Answer with what the message names, in Markdown."""
    message = (await request.json())["message"]
    text = next(text for name, text in ANSWERS.items() if message.endswith(name))
    return web.Response(text=text, content_type="text/markdown")


class Scene:
    """A world whose agent answers with tables, and the bot's messages in it."""

    def __init__(self, world: World, url: str) -> None:
        self.world = world
        self.server = world.server
        self.sent: list[Any] = []
        self.server.listen(self.sent.append)
        self._agent = {
            "CROCBOT_AGENT": "http",
            "CROCBOT_AGENT_URL": f"http://{url}/",
            "CROCBOT_GROUPS": "-5:always",
            "CROCBOT_RICH": "on",
        }

    async def start(self, **settings: str) -> Child:
        """Start a gateway."""
        return await self.world.start_gateway(**{**self._agent, **settings})

    async def answered(self, count: int) -> None:
        """Wait until the bot has sent or edited `count` messages."""
        await self.world.eventually(lambda: len(self.sent) >= count)

    async def has_rich(self, **counts: float) -> None:
        """Wait until the bridge counts rich messages like this."""

        async def counted() -> bool:
            found = await self.world.values(RICH)
            return {key: value for key, value in found.items() if value} == counts

        await self.world.eventually(counted)

    async def closed(self, **counts: int) -> None:
        """Wait until the ledger has closed rows like this."""

        async def closed() -> bool:
            found = await self.world.values("crocbot_inbox_closed_rows")
            return {key: value for key, value in found.items() if value} == counts

        await self.world.eventually(closed)


@asynccontextmanager
async def open_scene(home: Path, *, old: bool = False) -> AsyncIterator[Scene]:
    """Run a sandbox, an agent and a bridge."""
    async with (
        open_world(home, old=old) as world,
        serving({"POST /": answer}) as url,
    ):
        await world.start_bridge()
        yield Scene(world, url)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """Return a scene with a server of today."""
    async with open_scene(tmp_path) as scene:
        yield scene


def button(sent: Any) -> str:
    """Return the data of the only button below a message."""
    ((one,),) = sent["reply_markup"]["inline_keyboard"]
    return str(one["callback_data"])


@pytest.mark.parametrize("name", ["table", "long"])
async def test_a_rich_message(scene: Scene, name: str) -> None:
    """It is one message, and its button puts the classic form in its place."""
    gateway = await scene.start()
    scene.server.send(ADA, name)
    await scene.answered(1)
    (rich,) = scene.sent
    assert rich["rich_message"] == {"markdown": ANSWERS[name]}
    await scene.has_rich(sent=1)
    assert await gateway.stop() == 0

    # Also after a restart.
    await scene.start()
    scene.server.press(ADA, rich, button(rich))
    await scene.closed(answered=2)
    texts = scene.world.replies.to(ADA)
    assert WORDS.findall(" ".join(texts)) == WORDS.findall(ANSWERS[name])
    assert scene.sent[1]["message_id"] == rich["message_id"]
    assert "rich_message" not in scene.sent[1]
    assert "reply_markup" not in scene.sent[1]


async def test_only_what_needs_it_and_only_if_it_is_on(scene: Scene) -> None:
    """Plain answers are classic; without the setting, all of them are."""
    gateway = await scene.start()
    scene.server.send(ADA, "plain")
    await scene.answered(1)
    assert await gateway.stop() == 0
    gateway = await scene.start(CROCBOT_RICH="")
    scene.server.send(ADA, "table")
    await scene.answered(2)
    assert await gateway.stop() == 0

    assert scene.server.calls["sendrichmessage"] == 0
    assert not [sent for sent in scene.sent if "rich_message" in sent]


@pytest.mark.parametrize(
    ("fault", "outcome", "calls"),
    [
        (faults.api_error(400, "Bad Request: RICH_MESSAGE_INVALID"), "refused", 2),
        (faults.api_error(404, "Not Found"), "unsupported", 1),
    ],
)
async def test_a_refused_rich_message(
    scene: Scene, fault: Fault, outcome: str, calls: int
) -> None:
    """The classic form is sent at once; a server without the method is asked once."""
    scene.server.fault("sendRichMessage", fault, times=9)
    await scene.start()
    for number in (1, 2):
        scene.server.send(ADA, "table")
        await scene.answered(number)
    assert all(sent["text"].startswith("Here:") for sent in scene.sent)
    await scene.has_rich(**{outcome: calls})


async def test_a_server_of_2024(tmp_path: Path) -> None:
    """It has no rich messages, so answers are classic, in groups too."""
    async with open_scene(tmp_path, old=True) as scene:
        await scene.start()
        scene.server.send(ADA, "table")
        await scene.answered(1)
        scene.server.send(ADA, "table", GROUP)
        await scene.answered(2)
        assert not [sent for sent in scene.sent if "rich_message" in sent]
        assert scene.server.missing["sendrichmessage"] == 1


async def test_a_flood_wait(scene: Scene) -> None:
    """It is waited out, and then the rich message is sent."""
    scene.server.fault("sendRichMessage", faults.flood_wait(1))
    await scene.start()
    scene.server.send(ADA, "table")
    await scene.answered(1)
    assert "rich_message" in scene.sent[0]
    await scene.has_rich(sent=1)


@pytest.mark.parametrize(
    "fault", [Drop(carried_out=True), Drop(), faults.bad_gateway(), faults.garbage()]
)
async def test_an_unknown_outcome(scene: Scene, fault: Fault) -> None:
    """The answer is not sent again; a sentence has the button for its classic form."""
    scene.server.fault("sendRichMessage", fault)
    await scene.start()
    scene.server.send(ADA, "table")
    await scene.world.eventually(
        lambda: [sent for sent in scene.sent if sent.get("text") == UNCONFIRMED]
    )
    assert scene.server.calls["sendrichmessage"] == 1
    await scene.has_rich(unknown=1)
    await scene.closed(answered=1)

    scene.server.press(ADA, scene.sent[-1], button(scene.sent[-1]))
    await scene.closed(answered=2)
    assert scene.sent[-1]["text"].startswith("Here:")
    assert scene.server.calls["sendrichmessage"] == 1


@pytest.mark.parametrize("arrived", [True, False])
async def test_a_kill_while_it_is_sent(scene: Scene, arrived: bool) -> None:
    """The next process does not send it again, nor ask the agent."""
    fault: Fault = Slow(3600) if not arrived else Drop(carried_out=True)
    scene.server.fault("sendRichMessage", fault)
    if arrived:
        # The sentence about it hangs, so that the row stays open.
        scene.server.fault("sendMessage", Slow(3600), times=1)
    gateway = await scene.start()
    scene.server.send(ADA, "table")
    await scene.world.eventually(
        lambda: scene.server.calls["sendmessage" if arrived else "sendrichmessage"]
    )
    gateway.process.send_signal(signal.SIGKILL)
    await gateway.process.wait()

    await scene.start()
    await scene.closed(answered=1)
    assert scene.server.calls["sendrichmessage"] == 1
    assert scene.sent[-1]["text"] == UNCONFIRMED


async def test_a_press_in_another_chat(scene: Scene) -> None:
    """The classic form is shown only in the chat of the answer."""
    await scene.start()
    scene.server.send(ADA, "table")
    scene.server.send(BOB, "plain")
    await scene.answered(2)
    rich = next(sent for sent in scene.sent if "rich_message" in sent)
    plain = next(sent for sent in scene.sent if "text" in sent)
    for data in (button(rich), "crocbot:classic:x", "crocbot:other", "crocbot:"):
        scene.server.press(BOB, plain, data)
    await scene.closed(answered=6)
    assert scene.world.replies.to(BOB)[1:] == [NOT_KEPT] * 4
