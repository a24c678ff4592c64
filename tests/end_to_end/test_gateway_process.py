"""The gateway as a process: how it starts, refuses, survives and ends."""

from __future__ import annotations

import asyncio
import socket
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from crocbot.sandbox import faults, people
from crocbot.sandbox.faults import Drop
from tests.ports import free_port

SECRET = "AAsandbox-token-that-opens-nothing00"
TOKEN = f"4242424242:{SECRET}"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "TELEGRAM_BOT_TOKEN is not set"),
        ({"TELEGRAM_BOT_TOKEN": "hello"}, "TELEGRAM_BOT_TOKEN is not a token"),
        (
            {"TELEGRAM_BOT_TOKEN": TOKEN, "CROCBOT_STATSD_PORT": "99999"},
            "CROCBOT_STATSD_PORT is '99999'",
        ),
        (
            {"TELEGRAM_BOT_TOKEN": TOKEN, "CROCBOT_ACCESS": "everybody"},
            "CROCBOT_ACCESS is 'everybody'",
        ),
        (
            {"TELEGRAM_BOT_TOKEN_FILE": "/nowhere/token"},
            "TELEGRAM_BOT_TOKEN_FILE: cannot read /nowhere/token",
        ),
        (
            {"TELEGRAM_BOT_TOKEN": TOKEN, "CROCBOT_STATE_DIR": "/dev/null/state"},
            "CROCBOT_STATE_DIR",
        ),
    ],
)
def test_a_mistake_is_one_line(run, settings: dict[str, str], told: str) -> None:
    """What the operator must change is told in one line; the exit code is 2."""
    code, output, errors = run("crocbot", "gateway", **settings).end()

    assert (code, output) == (2, "")
    assert len(errors.splitlines()) == 1
    assert errors.startswith(f"crocbot: {told}")
    assert SECRET not in errors


def mistakes(lines: str) -> list[str]:
    """The lines for the operator, without the log."""
    return [line for line in lines.splitlines() if line.startswith("crocbot: ")]


def test_a_refused_token_is_told(world, run) -> None:
    """A token that Telegram does not know ends the gateway with a word to BotFather."""

    async def scene() -> None:
        async with world() as w:
            settings = {**w.settings(), "TELEGRAM_BOT_TOKEN": "1:AAnobody-knows-this"}
            gateway = run("crocbot", "gateway", **settings)
            code, _, errors = await asyncio.to_thread(gateway.end)

            assert code == 2
            assert len(mistakes(errors)) == 1
            assert "TELEGRAM_BOT_TOKEN" in mistakes(errors)[0]
            assert "nobody-knows" not in errors
            assert "Traceback" not in errors

    asyncio.run(scene())


def test_a_token_that_is_revoked_is_told(world) -> None:
    """A running gateway ends with 2 when Telegram takes its token away."""

    async def scene() -> None:
        async with world() as w:
            gateway = await w.start_gateway()
            w.server.fault("getUpdates", faults.unauthorized())
            code = await gateway.process.wait()

            assert code == 2
            assert "TELEGRAM_BOT_TOKEN" in gateway.tail()
            assert "Traceback" not in gateway.tail()

    asyncio.run(scene())


def test_a_second_gateway_must_not_start(world, run) -> None:
    """A second gateway on one state directory ends with 2; the first works on."""

    async def scene() -> None:
        async with world() as w:
            first = await w.start_gateway()
            second = run("crocbot", "gateway", **w.settings())
            code, _, errors = await asyncio.to_thread(second.end)
            await w.exchange("still there?")

            assert code == 2
            assert len(mistakes(errors)) == 1
            assert "another crocbot gateway works in" in mistakes(errors)[0]
            assert await first.stop() == 0
            assert w.crowd.mistakes == []

    asyncio.run(scene())


@pytest.mark.parametrize("host", ["no-such-host.invalid", "off", "127.0.0.1"])
def test_people_are_answered_without_a_bridge(world, host: str) -> None:
    """No name, no telemetry at all, nobody there: people are answered all the same."""

    async def scene() -> None:
        async with world() as w:
            gateway = await w.start_gateway(CROCBOT_STATSD_HOST=host)
            await w.exchange("is anybody there?")

            assert await gateway.stop() == 0
            assert w.crowd.mistakes == []
            assert "Traceback" not in gateway.output.read_text()

    asyncio.run(scene())


def test_it_waits_for_telegram(run, tmp_path) -> None:
    """Without a network it keeps trying, is not ready, and still ends when asked."""
    health = free_port()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        gateway = run(
            *("crocbot", "gateway"),
            TELEGRAM_BOT_TOKEN=TOKEN,
            CROCBOT_TELEGRAM_API_URL=f"http://127.0.0.1:{nobody.getsockname()[1]}",
            CROCBOT_STATSD_HOST="off",
            CROCBOT_STATE_DIR=str(tmp_path / "state"),
            CROCBOT_HEALTH_ADDRESS=f"127.0.0.1:{health}",
        )
        for line in gateway.process.stderr:
            if "cannot be reached" in line:
                break
        with pytest.raises(HTTPError) as not_ready:
            urlopen(f"http://127.0.0.1:{health}/readyz")
        with not_ready.value as answer:
            assert answer.status == 503
            said = answer.read().decode()
        assert "[-]telegram failed: not reached yet: " in said
        assert "Connect call failed" in said
        gateway.process.terminate()
        code, _, errors = gateway.end()

    assert code == 0
    assert "Traceback" not in errors


def test_what_was_written_while_it_was_away_is_answered(world) -> None:
    """Messages from before the start and between two runs are answered in order."""

    async def scene() -> None:
        async with world() as w:
            stop = asyncio.Event()
            talking = asyncio.create_task(w.talk(stop))
            first = await w.start_gateway()
            await w.eventually(lambda: w.crowd.answered.total() >= 10)
            assert await first.stop() == 0
            second = await w.start_gateway()
            await w.eventually(lambda: w.crowd.answered.total() >= 30)
            stop.set()
            await talking

            assert await second.stop() == 0
            assert w.crowd.mistakes == []
            assert w.crowd.answered == w.crowd.sent

    asyncio.run(scene())


def test_the_token_is_in_no_output(world) -> None:
    """With every fault that Telegram has, the noisiest log does not show the token."""

    async def scene() -> None:
        async with world() as w:
            assert w.server.token == TOKEN
            gateway = await w.start_gateway(CROCBOT_LOG_LEVEL="debug")
            talker = w.crowd.talkers[0]
            for fault in (faults.bad_gateway(), Drop(), faults.flood_wait(1)):
                w.server.fault("sendMessage", fault)
            talker.write(people.text("hello?"))
            await w.eventually(lambda: w.server.calls["sendmessage"])
            polls = w.server.calls["getupdates"]
            for fault in (faults.other_poller(), Drop(), faults.bad_gateway()):
                w.server.fault("getUpdates", fault)
            assert await talker.be_answered()
            await w.eventually(lambda: w.server.calls["getupdates"] >= polls + 3)
            w.server.fault("getUpdates", faults.unauthorized())
            await gateway.process.wait()
            log = gateway.output.read_text()

            assert w.crowd.mistakes == []
            assert "poll failed" in log
            assert SECRET not in log
            assert "Traceback" not in log

    asyncio.run(scene())
