"""Who is answered by a real gateway: unknown and paired senders, groups, topics."""

from __future__ import annotations

import asyncio
from typing import Any

from crocbot.sandbox import Chat, Person
from crocbot.sandbox.messages import text

ADA, EVE = Person(1001, "Ada"), Person(6666, "Eve")
GROUP = Chat(-1001, "Crocodiles", "supergroup")
OTHER = Chat(-1002, "Alligators", "supergroup")


def mention(words: str, **more: Any) -> dict[str, Any]:
    """Return a text that begins with the bot's name."""
    entity = {"type": "mention", "offset": 0, "length": len("@sandbox_croc_bot")}
    return {"text": f"@sandbox_croc_bot {words}", "entities": [entity], **more}


async def test_pairing(world, run) -> None:
    """An unknown sender gets only a code, and is let in while the gateway runs."""
    async with world() as w:
        replies: list[str] = []
        w.server.listen(lambda sent: replies.append(sent["text"]))

        async def command(*arguments: str) -> tuple[int, str, str]:
            state = w.settings()["CROCBOT_STATE_DIR"]
            program = run("crocbot", "pairing", *arguments, CROCBOT_STATE_DIR=state)
            return await asyncio.to_thread(program.end)

        await w.start_gateway(CROCBOT_ACCESS="pairing", CROCBOT_STATSD_HOST="off")
        w.server.send(EVE, "/whoami")
        await w.eventually(lambda: replies)
        _, listed, _ = await command("list")
        code = listed.split("code ")[1].split(",")[0]
        assert code in replies[0]
        assert "6666" not in replies[0]
        wrong = await command("approve", "WRONGONE")
        assert (wrong[0], len(wrong[2].splitlines())) == (2, 1)
        assert (await command("approve", code))[:2] == (
            0,
            "approved: user 6666 is let in\n",
        )
        w.server.send(EVE, "hello")
        await w.eventually(lambda: len(replies) == 2)
        assert (await command("revoke", "6666"))[0] == 0
        w.server.send(EVE, "are you there?")
        await w.eventually(lambda: len(replies) == 3)
        assert replies[1] == "hello"
        assert "are you there?" not in replies[2]


async def test_groups(world) -> None:
    """Listed groups are answered as they are listed, each topic by itself."""
    async with world() as w:
        sent: list[Any] = []
        w.server.listen(sent.append)
        gateway = await w.start_gateway(
            CROCBOT_ACCESS="allowlist",
            CROCBOT_ALLOW_FROM="1001",
            CROCBOT_GROUPS="-1001",
            CROCBOT_STATSD_HOST="off",
        )
        w.server.send(ADA, mention("in another group"), OTHER)
        w.server.send(ADA, text("among ourselves"), GROUP)
        w.server.send(ADA, text("/status"), GROUP)
        topic = {"message_thread_id": 4, "is_topic_message": True}
        w.server.send(EVE, mention("in a topic", **topic), GROUP)
        w.server.send(ADA, "in private")
        await w.eventually(lambda: len(sent) == 2)
        assert await gateway.stop() == 0
        log = gateway.output.read_text()

        by_chat = {one["chat"]["id"]: one for one in sent}
        assert by_chat[1001]["text"] == "in private"
        assert by_chat[-1001]["text"] == "@sandbox_croc_bot in a topic"
        assert by_chat[-1001]["message_thread_id"] == 4
        assert "add -1002 to CROCBOT_GROUPS" in log
        assert "among ourselves" not in log
