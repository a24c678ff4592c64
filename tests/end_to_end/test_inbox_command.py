"""The operator's commands beside a running gateway."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from crocbot.inbox import SCHEMA, sql
from crocbot.sandbox import Person, faults
from crocbot.store import opened
from tests.end_to_end.programs import Run
from tests.end_to_end.world import World

ADA = Person(7, "Ada")


def failures(file: Path) -> int:
    """Return how many rows of an inbox failed."""
    with opened(file, [SCHEMA]) as connection:
        return len(sql.failures(connection))


async def test_a_retry_while_it_runs(world: World, run: Run) -> None:
    """A failed row is shown with its reason; after a retry its reply is sent."""
    replies: list[str] = []
    world.server.listen(lambda sent: replies.append(sent["text"]))
    gateway = await world.start_gateway()
    world.server.fault("sendMessage", faults.api_error(400, "Bad Request: no"))
    world.server.send(ADA, "hello")

    async def crocbot(*words: str) -> tuple[int, str, str]:
        program = run("crocbot", "inbox", *words, **world.settings())
        return await asyncio.to_thread(program.end)

    await world.eventually(lambda: "turn failed" in gateway.output.read_text())
    await world.eventually(lambda: failures(world.database))
    code, output, _ = await crocbot()
    assert code == 0
    assert output.startswith("open: 0\n")
    assert re.search(r" of chat 7, \d+ s ago: Telegram refused the call: no\n", output)
    assert replies == []

    assert await crocbot("retry") == (0, "reopened: 1\n", "")
    await world.eventually(lambda: replies == ["hello"])
    code, output, _ = await crocbot()
    assert "failed, kept for a retry: 0" in output
    assert await gateway.stop() == 0
