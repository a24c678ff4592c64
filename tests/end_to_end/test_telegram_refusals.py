"""What Telegram refuses while an agent works, and groups that move: a real gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from crocbot.sandbox import Chat, Person, faults, messages
from crocbot.sandbox.children import Child
from tests.crocbot.fakes import serving
from tests.end_to_end.world import World

ADA = Person(7, "Ada")
GROUP, SUPERGROUP = Chat(-5, "Friends"), Chat(-1005, "Friends", "supergroup")
SNAGS = "crocbot_delivery_snags_total"


class SlowAgent:
    """An HTTP agent that streams what a test gives it, part by part."""

    def __init__(self) -> None:
        self.parts: asyncio.Queue[str | None] = asyncio.Queue()
        self.prompts: list[dict[str, Any]] = []
        self.cancelled = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Stream the parts up to None."""
        self.prompts.append(await request.json())
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        try:
            while (part := await self.parts.get()) is not None:
                await response.write(part.encode())
        except (asyncio.CancelledError, OSError):
            self.cancelled += 1
            raise
        return response

    def say(self, *parts: str | None) -> None:
        """Send these parts; None ends the answer."""
        for part in parts:
            self.parts.put_nowait(part)


class Scene:
    """A gateway with a slow agent, and all messages of the bot as they are now."""

    def __init__(self, world: World, agent: SlowAgent, gateway: Child) -> None:
        self.world = world
        self.server = world.server
        self.agent = agent
        self.gateway = gateway
        self.shown: dict[int, dict[str, Any]] = {}
        self.server.listen(lambda sent: self.shown.update({sent["message_id"]: sent}))

    @property
    def texts(self) -> list[str]:
        """Return the texts of the messages, the oldest first."""
        return [sent["text"] for sent in self.shown.values()]

    @property
    def log(self) -> str:
        """Return the output of the gateway."""
        return self.gateway.output.read_text()

    async def snag(self, name: str) -> None:
        """Wait until an issue was counted once."""

        async def counted() -> bool:
            return (await self.world.values(SNAGS)).get(name) == 1

        await self.world.eventually(counted)


@asynccontextmanager
async def stage(world: World) -> AsyncIterator[Scene]:
    """Start a bridge, and a gateway with a slow agent."""
    agent = SlowAgent()
    await world.start_bridge()
    async with serving({"POST /": agent.answer}) as place:
        gateway = await world.start_gateway(
            CROCBOT_AGENT="http",
            CROCBOT_AGENT_URL=f"http://{place}/",
            CROCBOT_GROUPS="-5:always",
        )
        yield Scene(world, agent, gateway)
        assert await gateway.stop() == 0


async def test_a_growing_message_that_was_deleted(world: World) -> None:
    """The whole answer comes as a new message, with its formatting, once."""
    async with stage(world) as s:
        missing = faults.api_error(400, "Bad Request: message to edit not found")
        s.server.fault("editMessageText", missing)
        # In a group: in a private chat the answer grows as a draft.
        s.server.send(ADA, "tell me", GROUP)
        s.agent.say("One")
        await world.eventually(lambda: s.texts == ["One"])
        s.agent.say(" **two**")
        await world.eventually(lambda: s.server.calls["editmessagetext"] == 1)
        s.agent.say(" and three", None)
        await world.eventually(lambda: "One two and three" in s.texts)
        await s.snag("edit_lost")

        (*_, sent) = s.shown.values()
        assert sent["entities"] == [{"type": "bold", "offset": 4, "length": 3}]
        assert s.server.calls["sendmessage"] == 2


async def test_formatting_that_is_refused(world: World) -> None:
    """The text arrives as it looks, and is counted as plain text."""
    async with stage(world) as s:
        refused = faults.api_error(400, "Bad Request: ENTITY_BOUNDS_INVALID")
        s.server.fault("sendMessage", refused)
        s.server.send(ADA, "tell me")
        s.agent.say("**One** [two](https://example.org)", None)
        await world.eventually(lambda: s.texts == ["One two"])
        await s.snag("plain_text")


async def test_a_topic_that_is_deleted_while_an_agent_works(world: World) -> None:
    """The answer grows in the group itself."""
    async with stage(world) as s:
        missing = faults.api_error(400, "Bad Request: message thread not found")
        s.server.fault("sendMessage", missing)
        topic = {"is_topic_message": True, "message_thread_id": 4}
        s.server.send(ADA, {**messages.text("tell me"), **topic}, GROUP)
        s.agent.say("One")
        await world.eventually(lambda: s.texts == ["One"])
        s.agent.say(" two", None)
        await world.eventually(lambda: s.texts == ["One two"])
        await s.snag("without_thread")


async def test_the_topic_general(world: World) -> None:
    """Messages of the topic General are answered without its id."""
    async with stage(world) as s:
        topic = {"is_topic_message": True, "message_thread_id": 1}
        s.server.send(ADA, {**messages.text("tell me"), **topic}, GROUP)
        s.agent.say("One", None)
        await world.eventually(lambda: s.texts == ["One"])

        (sent,) = s.shown.values()
        assert "message_thread_id" not in sent


async def test_a_chat_that_blocks_while_an_agent_works(world: World) -> None:
    """The agent is stopped: by the first message, and before it has any text."""
    async with stage(world) as s:
        blocked = faults.api_error(403, "Forbidden: bot was blocked by the user")
        s.server.fault("sendMessage", blocked)
        s.server.send(ADA, "tell me", GROUP)
        s.agent.say("One")
        await world.eventually(lambda: s.agent.cancelled == 1)
        s.server.fault("sendChatAction", blocked, times=2)
        s.server.send(ADA, "tell me more", GROUP)
        await world.eventually(lambda: s.agent.cancelled == 2)

        async def counted() -> bool:
            turns, snags = (
                await world.values("crocbot_turns_total"),
                world.values(SNAGS),
            )
            return turns.get("failed") == (await snags).get("blocked") == 2

        await world.eventually(counted)
        assert s.texts == []


async def test_a_group_that_becomes_a_supergroup(world: World) -> None:
    """The supergroup is answered, with the conversation of the group."""
    async with stage(world) as s:
        s.server.send(ADA, "in the group", GROUP)
        s.agent.say("One", None)
        await world.eventually(lambda: s.texts == ["One"])
        s.server.send(ADA, {"migrate_to_chat_id": SUPERGROUP.chat_id}, GROUP)
        s.server.send(ADA, {"migrate_from_chat_id": GROUP.chat_id}, SUPERGROUP)
        s.server.send(ADA, "in the supergroup", SUPERGROUP)
        s.agent.say("Two", None)
        await world.eventually(lambda: s.texts == ["One", "Two"])

        asked = [each["content"] for each in s.agent.prompts[1]["history"]]
        assert asked == ['[From "Ada":]\nin the group', "One"]
        assert "replace -5 by -1005 in CROCBOT_GROUPS" in s.log
        assert "/setprivacy" in s.log


async def test_the_delivery_lag_and_pending_updates(world: World) -> None:
    """Both are there with long polling, and no lag is below 0."""
    async with stage(world) as s:
        sent = dict(s.server.send(ADA, "tell me"))
        s.agent.say("One", None)
        for date in (sent["date"] + 3600, sent["date"] - 100, "yesterday"):
            s.server.push({"message": sent | {"date": date}})
            s.agent.say("One", None)
        await world.eventually(lambda: len(s.texts) == 4)

        async def measured() -> bool:
            page = await world.text()
            return (
                "crocbot_telegram_delivery_lag_seconds_count 3" in page
                and "crocbot_telegram_pending_updates " in page
            )

        await world.eventually(measured)
        (total,) = (
            await world.values("crocbot_telegram_delivery_lag_seconds_sum")
        ).values()
        assert 100 <= total < 200
