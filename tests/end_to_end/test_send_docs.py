"""The commands of docs/send.md, typed into a real terminal beside a real gateway."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import Any

import pexpect

from crocbot.sandbox import Chat, Person
from crocbot.sandbox.children import clean_environment
from tests.crocbot.answer_files import png
from tests.end_to_end.world import World

PAGE = Path(__file__).parents[2] / "docs" / "send.md"
ADA = Person(77, "Ada")
GROUP = Chat(-1001234, "Shop", "supergroup")
SECRET = "a-secret-that-is-long-enough"
PROMPT = "ready> "


def commands() -> list[str]:
    """Return the commands of the page, each on one line."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    text = "".join(blocks).replace("\\\n", " ")
    return [*text.splitlines(), 'crocbot send 77 -- "--list"']


def type_all(world: World) -> list[str]:
    """Type each command; return what the terminal shows after each."""
    binaries = str(Path(sys.executable).parent)
    environment = {
        **clean_environment(os.environ),
        **world.settings(),
        "CROCBOT_SEND_SECRET": SECRET,
        "PATH": f"{binaries}:{os.environ['PATH']}",
        "PS1": PROMPT,
        "TERM": "dumb",
    }
    shell = pexpect.spawn(
        "bash",
        ["--norc", "--noediting"],
        cwd=str(world.home),
        env=environment,
        encoding="utf-8",
        timeout=60,
        dimensions=(50, 400),
    )
    shown = []
    try:
        shell.expect_exact(PROMPT)
        for command in commands():
            own = command.replace("http://127.0.0.1:8787", world.health_url)
            shell.sendline(own)
            shell.expect_exact(PROMPT)
            shown.append((shell.before or "").replace("\r", "").split("\n", 1)[-1])
        shell.sendline("exit")
        shell.expect(pexpect.EOF)
        shell.wait()
    finally:
        shell.close()
    return shown


async def test_the_commands_of_the_page(world: World) -> None:
    """Each is accepted, and the chats get what the page says."""
    sent: list[Any] = []
    (world.home / "chart.png").write_bytes(png())
    gateway = await world.start_gateway(
        CROCBOT_SEND_SECRET=SECRET, CROCBOT_GROUPS="-1001234:always"
    )
    world.server.send(ADA, "hello")
    world.server.send(ADA, "hello", GROUP)
    await world.eventually(lambda: world.replies.to(ADA))
    await world.eventually(lambda: world.replies.to(Person(-1001234, "")))
    world.server.listen(sent.append)

    shown = await asyncio.to_thread(type_all, world)
    assert [text.strip() for text in shown[:3]] == [
        "stored: message 1 for chat 77",
        "stored: message 2 for chat 77",
        "stored: message 3 for chat -1001234",
    ]
    assert "message 1 for chat 77: " in shown[3]
    assert '{"id": 4}' in shown[4]
    assert '{"id": 5}' in shown[5]
    await world.eventually(lambda: len(sent) == 6)
    texts = [each["text"] for each in sent if "text" in each]
    assert texts[0] == "Backup is done."
    assert texts[1].startswith("Filesystem")
    assert texts[-2:] == ["Build 42 failed.", "--list"]
    captions = {
        (each["chat"]["id"], each["caption"]) for each in sent if "photo" in each
    }
    assert captions == {(-1001234, "Sales in June"), (77, "Sales in June")}
    assert SECRET not in gateway.output.read_text()
    assert await gateway.stop() == 0
