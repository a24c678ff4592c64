"""The health pages, and the module that asks for them."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs

from crocbot.errors import OperatorError
from crocbot.health import server
from crocbot.health.__main__ import main as ask
from crocbot.health.server import Health
from crocbot.model import HostPort
from tests.ports import free_port

GOOD = {"telegram": None, "inbox": None}
ANY_PORT = HostPort("127.0.0.1", 0)


class FixedConditions:
    """Conditions that do not change, or with None hang."""

    def __init__(self, conditions: Mapping[str, str | None] | None) -> None:
        self._conditions = conditions

    async def check(self) -> Mapping[str, str | None]:
        if self._conditions is None:
            await asyncio.Event().wait()
        return self._conditions or {}

    def notes(self) -> Mapping[str, str]:
        return {"leader": "a\nnote", "drain": "not shown"}


def served(
    conditions: Mapping[str, str | None] | None = GOOD,
    address: HostPort | None = ANY_PORT,
) -> Health:
    """Return a server for these conditions."""
    return Health(address, FixedConditions(conditions))


async def get(health: Health, path: str) -> tuple[int, list[str]]:
    """Return status and lines of a page."""
    async with (
        aiohttp.ClientSession() as web,
        web.get(f"http://127.0.0.1:{health.port}{path}") as answer,
    ):
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
        ({"leader": None}, 200, ["[+]leader ok: a?note", "ready"]),
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
async def test_readyz(
    conditions: Mapping[str, str | None], status: int, lines: list[str]
) -> None:
    """Each condition is named on one line; one that fails makes it a 503."""
    async with served(conditions) as health:
        assert await get(health, "/readyz") == (status, lines)
        assert await get(health, "/healthz") == (200, ["ok"])
        assert (await get(health, "/"))[0] == 404


async def test_conditions_that_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway whose conditions are not known in time is not ready."""
    monkeypatch.setattr(server, "CHECK_TIMEOUT_SECONDS", 0.01)
    async with served(None) as health:
        status, lines = await get(health, "/readyz")

    assert status == 503
    assert lines[0] == "[-]gateway failed: gave no answer within 0.01 s"


async def test_off() -> None:
    """Without an address there is no server."""
    async with served(address=None) as health:
        assert health.port is None


async def test_a_busy_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that another program has is retried, and logged once."""
    monkeypatch.setattr(server, "MAX_RETRY_SECONDS", 0.01)
    port = free_port()
    with socket.create_server(("127.0.0.1", port)) as other:
        health = served(address=HostPort("127.0.0.1", port))
        with capture_logs() as logs:
            async with health:
                assert health.port is None
                # Long enough for several tries.
                await asyncio.sleep(0.1)
                other.close()
                while health.port is None:
                    await asyncio.sleep(0.01)
                assert health.port == port
                assert (await get(health, "/readyz"))[0] == 200
    assert [line["event"] for line in logs] == [
        "no health page: another program has the address",
        "health page served",
    ]


async def test_an_address_of_another_machine() -> None:
    """An address that this machine does not have is the operator's to change."""
    with pytest.raises(OperatorError, match="CROCBOT_HEALTH_ADDRESS: cannot listen on"):
        async with served(address=HostPort("192.0.2.1", 1)):
            pass


@pytest.mark.parametrize(
    ("conditions", "arguments", "code", "page"),
    [
        ({"inbox": None}, ["--ready"], 0, "[+]inbox ok\nready\n"),
        ({"inbox": "no"}, ["--ready"], 1, "[-]inbox failed: no\nnot ready\n"),
        ({"inbox": "no"}, [], 0, "ok\n"),
    ],
)
@pytest.mark.parametrize("source", ["argument", "environment", "env_file", "toml"])
async def test_a_request(
    conditions: Mapping[str, str | None],
    arguments: list[str],
    code: int,
    page: str,
    source: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The page is printed; the exit code is 0 if the gateway is healthy."""
    monkeypatch.chdir(tmp_path)
    async with served(conditions) as health:
        address = f"127.0.0.1:{health.port}"
        environment = {}
        if source == "argument":
            arguments = [*arguments, address]
        elif source == "environment":
            environment = {"CROCBOT_HEALTH_ADDRESS": address}
        elif source == "env_file":
            (tmp_path / ".env").write_text(f"CROCBOT_HEALTH_ADDRESS={address}\n")
        else:
            (tmp_path / "crocbot.toml").write_text(f"health_address = '{address}'\n")
            environment = {"CROCBOT_CONFIG": "crocbot.toml"}
        assert await asyncio.to_thread(ask, arguments, environment) == code
    assert capsys.readouterr().out == page


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "text"),
    [
        ([], {"CROCBOT_HEALTH_ADDRESS": "off"}, 0, "CROCBOT_HEALTH_ADDRESS is off"),
        (["off", "--ready"], {}, 0, "CROCBOT_HEALTH_ADDRESS is off"),
        (["nonsense"], {}, 2, "must be host:port"),
        ([], {"CROCBOT_CONFIG": "/nowhere"}, 2, "CROCBOT_CONFIG: cannot read"),
    ],
)
def test_no_request(
    arguments: list[str],
    environment: dict[str, str],
    code: int,
    text: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without an address there is nothing to request; a wrong setting is an error."""
    assert ask(arguments, environment) == code
    output = "".join(capsys.readouterr())
    assert text in output
    assert output.count("\n") == 1


def test_no_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """A gateway that does not answer is not healthy."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert ask([f"127.0.0.1:{unused.getsockname()[1]}"], {}) == 1
    assert "no answer from" in capsys.readouterr().err


def test_a_missing_extra() -> None:
    """Without the libraries of the extra one line says what to install."""
    code = (
        "import runpy, sys; sys.modules['pydantic'] = sys.modules['aiohttp'] = None;"
        "runpy.run_module('crocbot.health', run_name='__main__')"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert run.returncode == 2
    assert run.stderr == (
        'python -m crocbot.health needs the extra "gateway":'
        " pip install 'crocbot[gateway]'\n"
    )
