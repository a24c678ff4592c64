"""The health pages, and the module that asks for them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing

import aiohttp
import pytest

from crocbot.errors import OperatorError
from crocbot.health import Health, server
from crocbot.health.__main__ import main as ask

Readiness = Mapping[str, str | None]
GOOD: Readiness = {"telegram": None, "inbox": None}


def play(
    conditions: Callable[[], Awaitable[Readiness]],
    scene: Callable[[Health, aiohttp.ClientSession], Awaitable[None]],
    address: str = "127.0.0.1:0",
) -> None:
    """Play a scene with a health server and somebody who asks it."""

    async def run() -> None:
        async with (
            Health(address, conditions) as health,
            aiohttp.ClientSession() as web,
        ):
            await scene(health, web)

    asyncio.run(asyncio.wait_for(run(), 30))


def always(conditions: Readiness) -> Callable[[], Awaitable[Readiness]]:
    """Conditions that do not change."""

    async def tell() -> Readiness:
        return conditions

    return tell


async def get(
    health: Health, web: aiohttp.ClientSession, path: str
) -> tuple[int, list[str]]:
    """Status and lines of a page."""
    async with web.get(f"http://127.0.0.1:{health.port}{path}") as answer:
        return answer.status, (await answer.text()).splitlines()


@pytest.mark.parametrize(
    ("conditions", "status", "lines"),
    [
        (GOOD, 200, ["[+]telegram ok", "[+]inbox ok", "ready"]),
        (
            {"telegram": None, "inbox": "disk full"},
            503,
            ["[+]telegram ok", "[-]inbox failed: disk full", "not ready"],
        ),
        (
            {"telegram": "one\n[+]forged ok\x1b[1m", "inbox": None},
            503,
            [
                "[-]telegram failed: one?[+]forged ok?[1m",
                "[+]inbox ok",
                "not ready",
            ],
        ),
    ],
)
def test_readyz(conditions: Readiness, status: int, lines: list[str]) -> None:
    """Each condition is named on one line; one that fails makes it a 503."""

    async def scene(health: Health, web: aiohttp.ClientSession) -> None:
        assert await get(health, web, "/readyz") == (status, lines)
        assert await get(health, web, "/healthz") == (200, ["ok"])
        assert (await get(health, web, "/"))[0] == 404

    play(always(conditions), scene)


def test_conditions_that_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that cannot tell in time is not ready, and says so."""
    monkeypatch.setattr(server, "PATIENCE", 0.01)

    async def hang() -> Readiness:
        await asyncio.Event().wait()
        return {}

    async def scene(health: Health, web: aiohttp.ClientSession) -> None:
        status, lines = await get(health, web, "/readyz")
        assert status == 503
        assert lines[0] == "[-]gateway failed: gave no answer within 0.01 s"

    play(hang, scene)


def test_off() -> None:
    """Switched off there is no server."""

    async def scene(health: Health, _: aiohttp.ClientSession) -> None:
        assert health.port is None

    play(always(GOOD), scene, "off")


def test_a_busy_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """While somebody else has the address it is tried again."""
    monkeypatch.setattr(server, "RETRY_SECONDS", 0.01)
    other = socket.create_server(("127.0.0.1", 0))
    port = other.getsockname()[1]

    async def scene(health: Health, web: aiohttp.ClientSession) -> None:
        assert health.port is None
        other.close()
        while health.port is None:
            await asyncio.sleep(0.01)
        assert health.port == port
        assert (await get(health, web, "/readyz"))[0] == 200

    with closing(other):
        play(always(GOOD), scene, f"127.0.0.1:{port}")


def test_an_address_of_somebody_else() -> None:
    """An address that this machine does not have is the operator's to change."""
    with pytest.raises(OperatorError, match="CROCBOT_HEALTH_ADDRESS: cannot listen on"):
        play(always(GOOD), None, "192.0.2.1:1")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("conditions", "ready", "code", "says"),
    [
        ({"inbox": None}, True, 0, "[+]inbox ok\nready\n"),
        ({"inbox": "no"}, True, 1, "[-]inbox failed: no\nnot ready\n"),
        ({"inbox": "no"}, False, 0, "ok\n"),
    ],
)
def test_asking(
    conditions: Readiness,
    ready: bool,
    code: int,
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The module prints what the gateway says; its exit code says the same."""

    async def scene(health: Health, _: aiohttp.ClientSession) -> None:
        environment = {"CROCBOT_HEALTH_ADDRESS": f"127.0.0.1:{health.port}"}
        arguments = ["--ready"] if ready else []
        assert await asyncio.to_thread(ask, arguments, environment) == code

    play(always(conditions), scene)
    assert capsys.readouterr().out == says


def test_asking_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    """No answer is bad news; an address that is none is the operator's mistake."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        assert ask([f"127.0.0.1:{nobody.getsockname()[1]}"], {}) == 1
    assert "no answer from" in capsys.readouterr().err
    assert ask(["nonsense"], {}) == 2
    assert "must be host:port" in capsys.readouterr().err
