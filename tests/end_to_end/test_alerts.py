"""
Alerts without Prometheus: each condition is caused, and the operator reads of it.

    fault --> gateway --> chat of the sandbox, webhook of the test
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from crocbot import alerts
from crocbot.alerts.table import ALERTS, AlertName
from crocbot.inbox import SCHEMA
from crocbot.sandbox import Person, faults
from crocbot.sandbox.children import Child
from crocbot.store import opened
from tests.crocbot.fakes import serving
from tests.end_to_end.programs import Run
from tests.end_to_end.terminal import TerminalProgram
from tests.end_to_end.world import World
from tests.ports import HOST, free_port

ADA, OPERATOR = Person(7, "Ada"), Person(9, "Olga")
SETTINGS = {
    "CROCBOT_ALERT_CHAT": str(OPERATOR.user_id),
    # A start that takes seconds fires no other alert.
    "CROCBOT_ALERT_AFTER_SECONDS": "600",
    "CROCBOT_ALERT_CLEAR_SECONDS": "1",
    "CROCBOT_RUNBOOKS_URL": "https://example.org/runbooks/",
}
SOON = {"CROCBOT_ALERT_AFTER_SECONDS": "1"}
KEY = "an-address-that-is-a-secret"


class Pager:
    """A world whose operator reads alerts in a chat and by a webhook."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.bodies: list[Any] = []
        self.status = 200
        self.address = ""

    async def receive(self, request: web.Request) -> web.StreamResponse:
        """Take a body of the webhook."""
        if self.status == 200:
            self.bodies.append(await request.json())
        return web.Response(status=self.status)

    async def start(self, *program: str, **settings: str) -> Child:
        """Start a gateway; the operator has written to it before."""
        gateway = await self.world.start_gateway(*program, **self.settings(settings))
        if not self.world.replies.to(OPERATOR):
            self.world.server.send(OPERATOR, "hello")
            await self.world.eventually(lambda: self.world.replies.to(OPERATOR))
        return gateway

    def settings(self, more: dict[str, str]) -> dict[str, str]:
        """Return the settings of a gateway with alerts."""
        return {**SETTINGS, "CROCBOT_ALERT_WEBHOOK": self.address, **more}

    def statuses(self, name: AlertName) -> list[str]:
        """Return what the webhook got about an alert."""
        return [
            body["status"]
            for body in self.bodies
            if body["groupLabels"] == {"alertname": name}
        ]

    def texts(self, name: AlertName) -> list[str]:
        """Return what the chat got about an alert."""
        texts = self.world.replies.to(OPERATOR)
        return [text for text in texts if f" {name} " in text]

    async def wait(self, name: AlertName, count: int = 1) -> None:
        """Wait until both ways have told of an alert that often."""
        await self.world.eventually(lambda: len(self.statuses(name)) >= count)
        if name is not AlertName.TOKEN_REFUSED:
            await self.world.eventually(lambda: len(self.texts(name)) >= count)


@asynccontextmanager
async def paging(world: World) -> AsyncIterator[Pager]:
    """Serve the webhook."""
    pager = Pager(world)
    async with serving({f"POST /{KEY}": pager.receive}) as place:
        pager.address = f"http://{place}/{KEY}"
        yield pager


@pytest.fixture
async def pager(world: World) -> AsyncIterator[Pager]:
    """Return a world with an operator."""
    async with paging(world) as pager:
        yield pager


async def test_a_second_poller(pager: Pager) -> None:
    """It fires once, with the page; again after a while; and it is over."""
    gateway = await pager.start(
        CROCBOT_ALERT_REPEAT_SECONDS="4", CROCBOT_ALERT_CLEAR_SECONDS="12"
    )
    pager.world.server.fault("getUpdates", faults.other_poller(), times=3)
    await pager.wait(AlertName.SECOND_POLLER, 2)
    page = "https://example.org/runbooks/second-poller.md"
    first, again = pager.texts(AlertName.SECOND_POLLER)[:2]
    assert first.startswith("🔥 CrocbotSecondPoller (critical)\nAnother program polls")
    assert first.endswith(f"\nWhat to do: {page}")
    assert again.startswith("🔥 CrocbotSecondPoller (critical), for ")
    await pager.world.eventually(
        lambda: pager.statuses(AlertName.SECOND_POLLER)[-1] == "resolved"
    )
    await pager.world.eventually(
        lambda: pager.texts(AlertName.SECOND_POLLER)[-1].startswith("✅")
    )
    body = pager.bodies[0]
    assert (body["version"], body["status"]) == ("4", "firing")
    (alert,) = body["alerts"]
    assert alert["labels"]["severity"] == "critical"
    assert alert["annotations"]["runbook_url"] == page
    assert alert["endsAt"] == "0001-01-01T00:00:00Z"
    assert alert["startsAt"] <= pager.bodies[-1]["alerts"][0]["endsAt"]
    assert pager.bodies[-1]["alerts"][0]["fingerprint"] == alert["fingerprint"]
    assert KEY not in gateway.output.read_text()
    assert await gateway.stop() == 0


async def test_telegram_fails(pager: Pager) -> None:
    """The webhook has the alert; the chat hears of it once Telegram works again."""
    world = pager.world
    gateway = await pager.start()
    await gateway.stop()
    # Telegram answers again after some 5 s; the chat is tried at once, after 5 s and
    # 15 s.
    world.server.fault("getMe", faults.bad_gateway(), times=3)
    world.server.fault("sendMessage", faults.bad_gateway(), times=2)
    await world.start_gateway(**pager.settings(SOON))
    await pager.wait(AlertName.DEAF)
    assert pager.statuses(AlertName.DEAF)[0] == "firing"
    await world.eventually(lambda: pager.statuses(AlertName.DEAF)[-1] == "resolved")
    await world.eventually(lambda: len(pager.texts(AlertName.DEAF)) == 1)
    assert pager.texts(AlertName.DEAF)[0].startswith("✅ CrocbotDeaf is over, after ")
    # A few tries, no loop.
    assert world.server.calls["sendmessage"] < 8


async def test_the_token_is_refused(pager: Pager) -> None:
    """The webhook hears of it before the process ends, and only once."""
    for _ in range(2):
        pager.world.server.fault("getMe", faults.unauthorized())
        child = await pager.world.start(
            "crocbot", "gateway", **pager.world.settings(), **pager.settings({})
        )
        assert await asyncio.wait_for(child.process.wait(), 60) == 2
    assert pager.statuses(AlertName.TOKEN_REFUSED) == ["firing"]
    await pager.start()
    await pager.world.eventually(
        lambda: pager.statuses(AlertName.TOKEN_REFUSED) == ["firing", "resolved"]
    )
    assert pager.texts(AlertName.TOKEN_REFUSED) == []


async def test_the_inbox_fails(pager: Pager) -> None:
    """A full disk delays no alert."""
    gateway = await pager.start()
    process = gateway.process.pid
    before = resource.prlimit(process, resource.RLIMIT_FSIZE)
    size = gateway.output.stat().st_size
    resource.prlimit(process, resource.RLIMIT_FSIZE, (size + 4000, before[1]))
    for _ in range(20):
        pager.world.server.send(ADA, "x" * 2000)
    await pager.wait(AlertName.INBOX_FAILS)
    assert pager.statuses(AlertName.INBOX_FAILS) == ["firing"]
    resource.prlimit(process, resource.RLIMIT_FSIZE, before)
    await pager.wait(AlertName.INBOX_FAILS, 2)
    assert pager.statuses(AlertName.INBOX_FAILS)[-1] == "resolved"


async def test_a_backlog_is_old(pager: Pager) -> None:
    """A row that waits for eleven minutes."""
    world = pager.world
    hung = "tests.end_to_end.hung_gateway"
    gateway = await pager.start()
    world.server.send(ADA, "first")
    await world.eventually(lambda: world.replies.to(ADA))
    await gateway.stop()
    gateway = await pager.start(hung, "waits", CROCBOT_DRAIN_SECONDS="0.1", **SOON)
    world.server.send(ADA, "hang")
    await world.eventually(lambda: "hanging" in gateway.output.read_text())
    with opened(world.database, [SCHEMA]) as connection:
        connection.execute(
            "UPDATE rows SET accepted = accepted - 660 WHERE disposition IS NULL"
        )
    await pager.wait(AlertName.BACKLOG_OLD)
    assert "has waited 11 min for" in pager.texts(AlertName.BACKLOG_OLD)[0]


async def test_replies_are_kept(pager: Pager, run: Run) -> None:
    """Until the operator has them sent."""
    world = pager.world
    await pager.start()
    world.server.fault("sendMessage", faults.api_error(400, "Bad Request: no"))
    world.server.send(ADA, "hello")
    await pager.wait(AlertName.UNDELIVERED)
    assert "inbox retry: 1." in pager.texts(AlertName.UNDELIVERED)[0]
    assert "no" not in pager.texts(AlertName.UNDELIVERED)[0].split()
    program = run("crocbot", "inbox", "retry", **world.settings())
    assert (await asyncio.to_thread(program.end))[0] == 0
    await pager.wait(AlertName.UNDELIVERED, 2)
    assert pager.statuses(AlertName.UNDELIVERED) == ["firing", "resolved"]


async def test_the_agent_fails(pager: Pager) -> None:
    """No server is there, and then one that refuses the gateway."""

    async def refuse(_: web.Request) -> web.StreamResponse:
        return web.Response(status=401)

    world, port = pager.world, free_port()
    agent = {"CROCBOT_AGENT": "http"}
    gateway = await pager.start(CROCBOT_AGENT_URL=f"http://{HOST}:{port}/", **agent)
    for number in range(3):
        world.server.send(ADA, str(number))
    await pager.wait(AlertName.AGENT_ERRORS)
    assert "100% of the prompts" in pager.texts(AlertName.AGENT_ERRORS)[0]
    await gateway.stop()
    async with serving({"POST /": refuse}) as place:
        await pager.start(CROCBOT_AGENT_URL=f"http://{place}/", **agent)
        world.server.send(ADA, "hello")
        await pager.wait(AlertName.AGENT_MISCONFIGURED, 2)
    assert pager.statuses(AlertName.AGENT_MISCONFIGURED) == ["firing", "resolved"]


async def test_the_disk_is_nearly_full(pager: Pager) -> None:
    """A little more space does not end it."""
    free = pager.world.home / "free"
    write_free(free, "900")
    await pager.start("tests.end_to_end.nearly_full_gateway", str(free), **SOON)
    await pager.wait(AlertName.DISK_NEARLY_FULL)
    text = pager.texts(AlertName.DISK_NEARLY_FULL)[0]
    assert "only 900 MiB of 20480 MiB left" in text
    write_free(free, "1100")
    await asyncio.sleep(3)
    assert pager.statuses(AlertName.DISK_NEARLY_FULL) == ["firing"]
    write_free(free, "5000")
    await pager.wait(AlertName.DISK_NEARLY_FULL, 2)


def write_free(file: Path, mebibytes: str) -> None:
    """Replace the file, which the gateway must never read empty."""
    file.with_suffix(".new").write_text(mebibytes)
    file.with_suffix(".new").replace(file)


def recorded(world: World) -> int:
    """Return how many messages the gateway knows to have been sent."""
    with opened(world.database, [alerts.SCHEMA]) as connection:
        (count,) = connection.execute("SELECT count(at) FROM alerts").fetchone()
    return int(count)


async def test_restarts(pager: Pager) -> None:
    """The fourth start is too many; what was told before is not told again."""
    gateway = await pager.start(CROCBOT_ALERT_CLEAR_SECONDS="600")
    for _ in range(3):
        gateway.process.send_signal(signal.SIGKILL)
        await gateway.process.wait()
        gateway = await pager.start(CROCBOT_ALERT_CLEAR_SECONDS="600")
    await pager.wait(AlertName.RESTARTS)
    assert "started 4 times" in pager.texts(AlertName.RESTARTS)[0]
    await pager.world.eventually(lambda: recorded(pager.world) == 2)
    gateway.process.send_signal(signal.SIGKILL)
    await gateway.process.wait()
    await pager.start(CROCBOT_ALERT_CLEAR_SECONDS="600")
    await asyncio.sleep(3)
    assert pager.statuses(AlertName.RESTARTS) == ["firing"]
    assert len(pager.texts(AlertName.RESTARTS)) == 1


async def test_the_webhook_fails(pager: Pager) -> None:
    """It is tried again, and gets one message; the chat does not wait for it."""
    pager.status = 500
    await pager.start(CROCBOT_ALERT_CLEAR_SECONDS="600")
    pager.world.server.fault("getUpdates", faults.other_poller(), times=4)
    await pager.world.eventually(lambda: pager.texts(AlertName.SECOND_POLLER))
    assert pager.bodies == []
    pager.status = 200
    await pager.world.eventually(lambda: pager.statuses(AlertName.SECOND_POLLER))
    assert len(pager.texts(AlertName.SECOND_POLLER)) == 1


TESTS = {
    ("sent", "sent"): (0, "ok: chat: sent\nok: webhook: sent\n", ""),
    ("gone", "sent"): (2, "ok: webhook: sent\n", "crocbot: chat: Telegram refused"),
    ("sent", "refused"): (2, "ok: chat: sent\n", "crocbot: webhook: answered 404\n"),
    ("sent", "fails"): (1, "ok: chat: sent\n", "crocbot: webhook: answered 500\n"),
    ("sent", "down"): (
        1,
        "ok: chat: sent\n",
        "crocbot: webhook: cannot be reached: Connect",
    ),
    ("", ""): (2, "", "crocbot: neither CROCBOT_ALERT_CHAT nor CROCBOT_ALERT_WEBHOOK"),
}


@pytest.mark.parametrize(("chat", "webhook"), TESTS)
async def test_alerts_test(pager: Pager, run: Run, chat: str, webhook: str) -> None:
    """`crocbot alerts test` sends one on each way and says what happened."""
    await (await pager.start()).stop()
    pager.status = {"refused": 404, "fails": 500}.get(webhook, 200)
    urls = {"": "", "down": f"http://{HOST}:{free_port()}/{KEY}"}
    settings = pager.settings(
        {
            "CROCBOT_ALERT_CHAT": {"gone": "12345", "": ""}.get(chat, "9"),
            "CROCBOT_ALERT_WEBHOOK": urls.get(webhook, pager.address),
        }
    )
    program = run("crocbot", "alerts", "test", **pager.world.settings(), **settings)
    code, output, errors = await asyncio.to_thread(program.end)
    expected_code, expected_output, expected_errors = TESTS[chat, webhook]
    assert (code, output) == (expected_code, expected_output)
    assert errors.startswith(expected_errors)
    assert KEY not in errors
    if webhook == "sent":
        assert pager.bodies[-1]["alerts"][0]["labels"]["alertname"] == "CrocbotTest"
        assert json.dumps(pager.bodies[-1]).isascii()


async def test_the_commands_of_the_page(pager: Pager) -> None:
    """The settings and the command of docs/alerts.md, in a real terminal."""
    page = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text()
    settings, command = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    assert re.findall(r"^\w+", settings, re.MULTILINE) == [
        "CROCBOT_ALERT_CHAT",
        "CROCBOT_ALERT_WEBHOOK",
    ]
    await (await pager.start()).stop()
    program = TerminalProgram(
        *command.split(),
        home=pager.world.home,
        settings={**pager.world.settings(), **pager.settings({})},
    )
    assert await program.end() == 0
    assert program.seen.split("\r\n")[-3:-1] == ["ok: chat: sent", "ok: webhook: sent"]
    assert pager.world.replies.to(OPERATOR)[-1].startswith("This is a test")


def test_every_alert_is_caused() -> None:
    """This module causes each alert of the table."""
    source = Path(__file__).read_text()
    assert [name for name in ALERTS if f"AlertName.{name.name}" not in source] == []
