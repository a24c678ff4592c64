"""Who is answered by a real gateway: unknown and paired senders, groups, topics."""

from __future__ import annotations

import asyncio
from typing import Any

from crocbot.sandbox import Chat, Person
from crocbot.sandbox.messages import text
from tests.end_to_end.programs import Run
from tests.end_to_end.world import World

ADA, EVE = Person(1001, "Ada"), Person(6666, "Eve")
GROUP = Chat(-1001, "Crocodiles", "supergroup")
OTHER = Chat(-1002, "Alligators", "supergroup")


def mention(words: str, **more: Any) -> dict[str, Any]:
    """Return a text that begins with the bot's name."""
    entity = {"type": "mention", "offset": 0, "length": len("@sandbox_croc_bot")}
    return {"text": f"@sandbox_croc_bot {words}", "entities": [entity], **more}


async def test_pairing(world: World, run: Run) -> None:
    """An unknown sender gets only a code until approved, while the gateway runs."""
    replies: list[str] = []
    world.server.listen(lambda sent: replies.append(sent["text"]))

    async def command(*arguments: str) -> tuple[int, str, str]:
        state = world.settings()["CROCBOT_STATE_DIR"]
        program = run("crocbot", "pairing", *arguments, CROCBOT_STATE_DIR=state)
        return await asyncio.to_thread(program.end)

    await world.start_gateway(CROCBOT_ACCESS="pairing", CROCBOT_STATSD_HOST="off")
    world.server.send(EVE, "/whoami")
    await world.eventually(lambda: replies)
    _, listed, _ = await command("list")
    code = listed.split("code ")[1].split(",")[0]
    assert code in replies[0]
    assert "6666" not in replies[0]
    wrong = await command("approve", "WRONGONE")
    assert (wrong[0], len(wrong[2].splitlines())) == (2, 1)
    assert (await command("approve", code))[:2] == (
        0,
        "approved: user 6666\n",
    )
    world.server.send(EVE, "hello")
    await world.eventually(lambda: len(replies) == 2)
    assert (await command("revoke", "6666"))[0] == 0
    world.server.send(EVE, "are you there?")
    await world.eventually(lambda: len(replies) == 3)
    assert replies[1] == "hello"
    assert "are you there?" not in replies[2]


async def test_groups(world: World) -> None:
    """Listed groups are answered as they are listed, each topic by itself."""
    sent: list[Any] = []
    world.server.listen(sent.append)
    gateway = await world.start_gateway(
        CROCBOT_ACCESS="allowlist",
        CROCBOT_ALLOW_FROM="1001",
        CROCBOT_GROUPS="-1001",
        CROCBOT_STATSD_HOST="off",
    )
    world.server.send(ADA, mention("in another group"), OTHER)
    world.server.send(ADA, text("among ourselves"), GROUP)
    world.server.send(ADA, text("/status"), GROUP)
    topic = {"message_thread_id": 4, "is_topic_message": True}
    world.server.send(EVE, mention("in a topic", **topic), GROUP)
    world.server.send(ADA, "in private")
    await world.eventually(lambda: len(sent) == 2)
    await world.logs(gateway, "add -1002 to CROCBOT_GROUPS")
    assert await gateway.stop() == 0
    log = gateway.output.read_text()

    by_chat = {one["chat"]["id"]: one for one in sent}
    assert by_chat[1001]["text"] == "in private"
    assert by_chat[-1001]["text"] == "@sandbox_croc_bot in a topic"
    assert by_chat[-1001]["message_thread_id"] == 4
    assert "among ourselves" not in log
