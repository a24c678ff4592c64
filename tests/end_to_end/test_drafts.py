"""
Answers that grow as drafts in private chats, and Telegram's Stop button.

    agent over HTTP --> gateway --> sandbox: drafts, then one message
                                    sandbox `old`: a message that is edited
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from crocbot.sandbox import Chat, Person, faults
from crocbot.sandbox.children import Child
from crocbot.sandbox.drafts import ShownDraft
from crocbot.sandbox.faults import Drop, Fault, Slow
from tests.crocbot.fakes import serving
from tests.end_to_end.world import World, open_world

ADA, BOB = Person(1001, "Ada"), Person(1002, "Bob")
GROUP = Chat(-5, "Crocodiles")
DRAFTS = "crocbot_drafts_total"


class Writer:
    """
    An agent that writes one word of an answer for each `more()`, and then `end()`s.

    With `words` it writes that number of words by itself.  `cut` are the messages whose
    requests ended before their answers.
    """

    def __init__(self) -> None:
        self.cut: list[str] = []
        self.words = 0
        self._steps: dict[str, asyncio.Queue[str | None]] = defaultdict(asyncio.Queue)

    def more(self, message: str, words: str) -> None:
        """Write words of the answer to a message."""
        self._steps[message].put_nowait(words)

    def end(self, message: str) -> None:
        """End the answer to a message."""
        self._steps[message].put_nowait(None)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one message."""
        message = (await request.json())["message"]
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        for _ in range(self.words):
            await response.write(f"{message} ".encode())
            await asyncio.sleep(0.05)
        if self.words:
            return response
        try:
            while (words := await self._steps[message].get()) is not None:
                await response.write(words.encode())
        except (asyncio.CancelledError, ConnectionError):
            self.cut.append(message)
            raise
        return response


class Scene:
    """A world with a writing agent, and what the chats have shown."""

    def __init__(self, world: World, writer: Writer, url: str) -> None:
        self.world = world
        self.server = world.server
        self.writer = writer
        self.sent: list[Any] = []
        self.drafts: list[ShownDraft] = []
        self._settings = {
            "CROCBOT_AGENT": "http",
            "CROCBOT_AGENT_URL": f"http://{url}/",
            "CROCBOT_GROUPS": "-5:always",
        }
        self.server.listen(self.sent.append)
        self.server.listen_drafts(self.drafts.append)

    async def start(self, **settings: str) -> Child:
        """Start a gateway."""
        return await self.world.start_gateway(**self._settings, **settings)

    async def has_drafts(self, **counts: float) -> bool:
        """Return whether the bridge counts drafts like this."""
        found = await self.world.values(DRAFTS)
        return {key: value for key, value in found.items() if value} == counts

    async def sends(self, count: int) -> None:
        """Wait until there are `count` messages and edits."""
        await self.world.eventually(lambda: len(self.sent) >= count)

    async def shows(self, count: int) -> None:
        """Wait until there are `count` drafts."""
        await self.world.eventually(lambda: len(self.drafts) >= count)

    def texts(self, person: Person) -> list[str]:
        """Return the texts of the messages that a person sees."""
        return self.world.replies.to(person)


@asynccontextmanager
async def open_scene(home: Path, *, old: bool = False) -> AsyncIterator[Scene]:
    """Run a sandbox, an agent and a bridge."""
    writer = Writer()
    async with (
        open_world(home, old=old) as world,
        serving({"POST /": writer.handle}) as url,
    ):
        await world.start_bridge()
        yield Scene(world, writer, url)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """Return a scene with a server of today."""
    async with open_scene(tmp_path) as scene:
        yield scene


async def test_an_answer_grows_as_a_draft(scene: Scene) -> None:
    """Its chat shows one draft after the other, then one message in their place."""
    await scene.start()
    scene.server.send(ADA, "hi")
    scene.writer.more("hi", "**Hello")
    await scene.world.eventually(lambda: scene.server.draft(ADA) == "**Hello")
    scene.writer.more("hi", "** Ada")
    await scene.world.eventually(lambda: scene.server.draft(ADA) == "Hello Ada")
    assert scene.sent == []

    scene.writer.end("hi")
    await scene.world.eventually(lambda: scene.texts(ADA) == ["Hello Ada"])
    assert scene.server.draft(ADA) is None
    assert len({draft.draft_id for draft in scene.drafts}) == 1
    assert scene.server.calls["editmessagetext"] == 0
    await scene.world.eventually(lambda: scene.has_drafts(shown=len(scene.drafts)))


@pytest.mark.parametrize("old", [False, True])
async def test_where_there_are_no_drafts(tmp_path: Path, old: bool) -> None:
    """In groups, and at servers of 2024, an answer grows in a message."""
    async with open_scene(tmp_path, old=old) as scene:
        gateway = await scene.start()
        for number in range(3):
            text, seen = f"hi {number}", len(scene.sent)
            scene.server.send(ADA, text, None if old else GROUP)
            scene.writer.more(text, "Hello")
            await scene.sends(seen + 1)
            scene.writer.more(text, " Ada")
            await scene.world.eventually(lambda: scene.sent[-1]["text"] == "Hello Ada")
            scene.writer.end(text)
        assert await gateway.stop() == 0

        assert scene.drafts == []
        assert scene.server.missing == ({"sendmessagedraft": 1} if old else {})
        log = gateway.output.read_text()
        assert log.count("lacks a method") == int(old)
        if old:
            await scene.world.eventually(lambda: scene.has_drafts(unsupported=1))


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (faults.flood_wait(3600), "flood_wait"),
        (faults.api_error(400, "Bad Request: TEXTDRAFT_PEER_INVALID"), "refused"),
        (faults.api_error(404, "Not Found"), "unsupported"),
        (faults.server_error(), "lost"),
        (faults.garbage(), "lost"),
        (Drop(), "lost"),
        (Slow(3600), "lost"),
    ],
)
async def test_a_draft_that_fails(scene: Scene, fault: Fault, outcome: str) -> None:
    """The answer arrives all the same, once, and nothing is waited for."""
    scene.server.fault("sendMessageDraft", fault, times=100)
    await scene.start()
    scene.server.send(ADA, "hi")
    scene.writer.more("hi", "Hello")
    await scene.world.eventually(lambda: scene.server.calls["sendmessagedraft"])
    scene.writer.more("hi", " Ada")
    scene.writer.end("hi")
    await scene.world.eventually(lambda: scene.texts(ADA) == ["Hello Ada"])

    errors = await scene.world.values("crocbot_errors_total")
    assert not any(errors.values())

    async def counted() -> bool:
        return bool((await scene.world.values(DRAFTS)).get(outcome))

    await scene.world.eventually(counted)


async def test_the_stop_button(scene: Scene) -> None:
    """It ends the turn although the chat is busy; the part shown is a message."""
    gateway = await scene.start()
    scene.server.send(ADA, "long")
    scene.server.send(ADA, "next")
    scene.server.send(BOB, "other")
    for text in ("long", "other"):
        scene.writer.more(text, "So far")
    await scene.world.eventually(
        lambda: scene.server.draft(ADA) == scene.server.draft(BOB) == "So far"
    )
    scene.server.press_stop(ADA)
    await scene.world.eventually(lambda: scene.texts(ADA) == ["So far", "Stopped."])
    await scene.world.eventually(lambda: scene.writer.cut == ["long"])

    scene.writer.more("next", "Next.")
    scene.writer.end("next")
    await scene.world.eventually(lambda: scene.texts(ADA)[2:] == ["Next."])
    assert scene.server.draft(BOB) == "So far"
    scene.writer.end("other")
    await scene.world.eventually(lambda: scene.texts(BOB) == ["So far"])
    assert await gateway.stop() == 0

    async def closed() -> bool:
        rows = await scene.world.values("crocbot_inbox_closed_rows")
        return rows.get("cancelled") == 1 and rows.get("answered") == 3

    await scene.world.eventually(closed)


async def test_a_late_press(scene: Scene) -> None:
    """A press for an answer that has ended does not stop the next one."""
    await scene.start()
    scene.server.send(ADA, "one")
    scene.writer.more("one", "One.")
    await scene.world.eventually(lambda: scene.server.draft(ADA) == "One.")
    old = scene.drafts[-1]
    scene.writer.end("one")
    await scene.world.eventually(lambda: scene.texts(ADA) == ["One."])
    scene.server.send(ADA, "two")
    scene.writer.more("two", "Two.")
    await scene.world.eventually(lambda: scene.server.draft(ADA) == "Two.")

    stopped = {"chat": old.chat.as_chat(), "draft_id": old.draft_id}
    scene.server.push({"stopped_message_generation": stopped})
    await scene.world.eventually(
        lambda: scene.texts(ADA) == ["One.", "Nothing to stop."]
    )
    scene.writer.end("two")
    await scene.world.eventually(lambda: scene.texts(ADA)[2:] == ["Two."])


async def test_a_press_of_a_stranger(scene: Scene) -> None:
    """A person without access stops nothing and gets no answer."""
    await scene.start(CROCBOT_ACCESS="allowlist", CROCBOT_ALLOW_FROM="1001")
    scene.server.send(ADA, "hi")
    scene.server.send(BOB, "hi")
    scene.writer.more("hi", "Hello")
    await scene.world.eventually(lambda: scene.server.draft(ADA) == "Hello")
    chat = {"id": 1002, "type": "private", "first_name": "Bob"}
    stopped = {"chat": chat, "draft_id": scene.drafts[-1].draft_id}
    scene.server.push({"stopped_message_generation": stopped})
    scene.writer.end("hi")
    await scene.world.eventually(lambda: scene.texts(ADA) == ["Hello"])

    async def denied() -> bool:
        rows = await scene.world.values("crocbot_inbox_closed_rows")
        return rows.get("denied") == 2

    await scene.world.eventually(denied)
    assert scene.texts(BOB) == []


async def test_kills_while_drafts_are_shown(scene: Scene) -> None:
    """Nothing is lost, the order is kept, and no part of an answer is left over."""
    people = [Person(number, f"Person {number}") for number in range(1, 9)]
    for text in ("one", "two", "three"):
        for person in people:
            scene.server.send(person, text)
    scene.writer.words = 20
    seed = random.randrange(10**9)
    chance = random.Random(seed)
    gateway = await scene.start()
    # A third crash in the same turn would set its row aside.
    for _ in range(2):
        await scene.shows(len(scene.drafts) + chance.randrange(1, 9))
        gateway.process.send_signal(signal.SIGKILL)
        await gateway.process.wait()
        gateway = await scene.start()

    async def all_answered() -> bool:
        rows = await scene.world.values("crocbot_inbox_closed_rows")
        return rows.get("answered") == 3 * len(people)

    await scene.world.eventually(all_answered)
    assert await gateway.stop() == 0
    whole = [" ".join([text] * 20) for text in ("one", "two", "three")]
    for person in people:
        # A kill between a message and the closing of its row lets it be sent again.
        assert list(dict.fromkeys(scene.texts(person))) == whole, seed
        assert len(scene.texts(person)) <= 3 + 2, seed
