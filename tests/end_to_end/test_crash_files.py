"""
The gateway is killed while answers with files and buttons are under way.

    10 chats with 10 messages --> text, photo, document --> kill -9, start, kill -9, ...

Every part arrives, those of a chat in order.  Only a part that was under way at a kill
may arrive twice, and no agent is asked again for an answer that was complete.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections import defaultdict
from contextlib import suppress
from typing import Any

from aiohttp import web

from crocbot.sandbox import Person
from crocbot.sandbox.faults import Slow
from tests.crocbot.answer_files import PDF, as_json, png
from tests.crocbot.fakes import serving
from tests.end_to_end.world import World

CHATS = 10
EACH = 10
PARTS = 3
KILLS = 5
# A row is set aside if its third try crashes, which begins 10 s after a start or later.
QUICK_SECONDS = 4.0
KEYBOARD = {"inline_keyboard": [[{"text": "Next", "callback_data": "next"}]]}


class PartLog:
    """The parts of answers by chat, in the order of their arrival."""

    def __init__(self, world: World) -> None:
        self.by_chat: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self.count = 0
        self.without_buttons = 0
        self._world = world
        world.server.listen(self._on_sent)

    def _on_sent(self, sent: Any) -> None:
        if "edit_date" in sent:
            return
        kinds = [kind in sent for kind in ("text", "photo", "document")]
        number = int(sent.get("text", sent.get("caption", "")))
        self.by_chat[sent["chat"]["id"]].append((number, kinds.index(True)))
        self.count += 1
        self.without_buttons += "text" in sent and sent.get("reply_markup") != KEYBOARD

    async def wait_for(self, count: int) -> None:
        """Wait until that many parts have arrived."""
        await self._world.eventually(lambda: self.count >= count)

    @property
    def missing(self) -> int:
        """The number of parts that have not arrived."""
        found = sum(len(set(parts)) for parts in self.by_chat.values())
        return CHATS * EACH * PARTS - found

    @property
    def duplicates(self) -> int:
        """The number of parts beyond the first of each."""
        return self.count - sum(len(set(parts)) for parts in self.by_chat.values())

    @property
    def disorder(self) -> list[int]:
        """Chats whose parts did not first arrive in order."""
        return [
            chat
            for chat, parts in self.by_chat.items()
            if list(dict.fromkeys(parts)) != sorted(set(parts))
        ]


async def test_nothing_is_lost(world: World) -> None:
    """Five kills: nothing is lost or out of order, and duplicates are counted."""
    seed = random.randrange(10**9)
    chance = random.Random(seed)
    asked: dict[tuple[str, str], int] = defaultdict(int)

    async def answer(request: web.Request) -> web.StreamResponse:
        question = await request.json()
        number = question["message"]
        asked[question["chat"], number] += 1
        return web.json_response(
            {
                "text": number,
                "files": [
                    as_json(png(), caption=number),
                    as_json(PDF, caption=number),
                ],
                "buttons": [[{"text": "Next", "data": "next"}]],
            }
        )

    parts = PartLog(world)
    for method in ("sendMessage", "sendPhoto", "sendDocument"):
        # So that some parts are always under way.
        world.server.fault(method, Slow(0.05), times=10 * CHATS * EACH)
    await world.start_bridge()
    async with serving({"POST /": answer}) as place:
        settings = {"CROCBOT_AGENT": "http", "CROCBOT_AGENT_URL": f"http://{place}/"}
        for number in range(EACH):
            for chat in range(1, CHATS + 1):
                world.server.send(Person(chat, f"Person {chat}"), str(number))
        gateway = await world.start_gateway(**settings)
        for _ in range(KILLS):
            with suppress(TimeoutError):
                async with asyncio.timeout(QUICK_SECONDS):
                    await parts.wait_for(parts.count + chance.randrange(1, 40))
            await asyncio.sleep(chance.uniform(0, 0.1))
            gateway.process.send_signal(signal.SIGKILL)
            await gateway.process.wait()
            gateway = await world.start_gateway(**settings)
        await world.eventually(lambda: not parts.missing)

        async def closed() -> bool:
            rows = await world.values("crocbot_inbox_closed_rows")
            return rows.get("answered") == CHATS * EACH

        await world.eventually(closed)
    assert await gateway.stop() == 0

    assert parts.disorder == [], seed
    # At most one part of each turn in flight.
    assert parts.duplicates <= KILLS * CHATS, seed
    assert parts.without_buttons == 0, seed
    # Asked again only if the answer was not complete at the kill.
    assert sum(asked.values()) - CHATS * EACH <= KILLS * CHATS, seed
