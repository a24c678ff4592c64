"""The page of `crocbot status`, and what the command makes of any answer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from crocbot import cli
from crocbot.health.server import Health
from crocbot.health.status import StatusPage
from crocbot.model import (
    Disposition,
    ErrorEvent,
    ErrorType,
    HostPort,
    MessageType,
    Outcome,
    Severity,
)
from crocbot.state_dir import identity, locked
from crocbot.telemetry import catalogue
from crocbot.telemetry.instruments import MAX_OBSERVATIONS
from crocbot.telemetry.observer import Observer
from crocbot.telemetry.totals import Totals
from tests.crocbot.fakes import serving
from tests.ports import HOST, free_port


def test_the_five_metrics() -> None:
    """They are counted over flushes, and with nothing that sends them."""
    instruments = catalogue.instruments()
    times = iter([10.0, 103.04])
    totals = Totals(instruments, clock=lambda: next(times))
    observer = Observer(instruments)
    answered = Outcome(
        Disposition.ANSWERED,
        update_ids=(1,),
        message_type=MessageType.TEXT,
        seconds=2.5,
    )
    observer.emit(answered)
    for each in (*instruments.counters, *instruments.timers):
        each.take()
    observer.emit(answered)
    observer.emit(ErrorEvent(ErrorType.AGENT, Severity.WARNING))

    assert {name: value for name, value in totals.read().items() if value} == {
        "crocbot_uptime_seconds": 93.0,
        'crocbot_messages_total{type="text"}': 2,
        'crocbot_errors_total{type="agent",severity="warning"}': 1,
        'crocbot_telegram_latency_seconds_count{type="text"}': 2,
        'crocbot_telegram_latency_seconds_sum{type="text"}': 5.0,
    }


def test_many_latencies() -> None:
    """The count is exact, and the sum that of the sample in proportion."""
    instruments = catalogue.instruments()
    timer = instruments.timer(catalogue.LATENCY, MessageType.TEXT)
    for _ in range(3 * MAX_OBSERVATIONS):
        timer.observe(0.5)

    assert timer.totals() == (3 * MAX_OBSERVATIONS, 1.5 * MAX_OBSERVATIONS)


class FakeConditions:
    """A gateway that is ready."""

    async def check(self) -> dict[str, None]:
        return {"telegram": None}

    def notes(self) -> dict[str, str]:
        return {}


class FakeGateway:
    """A gateway with two lines."""

    def status_lines(self) -> list[str]:
        return ["crocbot 1", "up"]


async def test_the_page(tmp_path: Path) -> None:
    """It has no lines before Telegram was reached."""
    page = StatusPage(tmp_path, None)
    health = Health(HostPort(HOST, 0), FakeConditions(), status=page)
    async with health, aiohttp.ClientSession() as session:

        async def read() -> Any:
            url = f"http://{HOST}:{health.port}/status"
            async with session.get(url) as response:
                return await response.json()

        expected = {"lines": [], "metrics": {}, "state": identity(tmp_path)}
        assert await read() == expected
        page.gateway = FakeGateway()
        assert await read() == {**expected, "lines": ["crocbot 1", "up"]}


HOSTILE = [
    (b"", "is no gateway of this version"),
    (b"<html>", "is no gateway of this version"),
    (b"[1]", "is no gateway of this version"),
    (b"[" * 100_000, "is no gateway of this version"),
    (b'{"state": "1:2"}', "another one answers at"),
    ({"lines": 7, "metrics": [1]}, "ready"),
    ({"lines": ["\x1b[31m" * 1000], "metrics": {"a\n": 1, "b": "c"}}, "?[31m"),
    ({"lines": [[]] * 10_000, "metrics": {"a": float("nan"), "b": True}}, "b 1"),
]


@pytest.mark.parametrize(("page", "expected"), HOSTILE)
async def test_any_answer(
    page: Any,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What another program answers is printable, bounded, and never a traceback."""

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/readyz":
            return web.Response(text="[-]telegram failed\nnot ready", status=503)
        if isinstance(page, bytes):
            return web.Response(body=page)
        return web.json_response({**page, "state": identity(tmp_path)})

    async with serving({"GET /status": answer, "GET /readyz": answer}) as address:
        monkeypatch.setenv("CROCBOT_STATE_DIR", str(tmp_path))
        monkeypatch.setenv("CROCBOT_HEALTH_ADDRESS", address)
        with locked(tmp_path):
            assert await asyncio.to_thread(cli.main, ["status"]) == 1
    printed = capsys.readouterr()
    text = printed.out + printed.err
    assert expected in text
    assert "\x1b" not in text
    assert len(text) < 40_000


def test_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A gateway whose address does not answer is one line that names the setting."""
    monkeypatch.setenv("CROCBOT_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("CROCBOT_HEALTH_ADDRESS", f"{HOST}:{free_port()}")
    with locked(tmp_path):
        assert cli.main(["status"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "no answer from" in error
    assert "see CROCBOT_HEALTH_ADDRESS" in error


def test_a_wrong_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A setting that must be changed has exit code 2, as for every command."""
    monkeypatch.setenv("CROCBOT_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("CROCBOT_HEALTH_ADDRESS", "nowhere")
    with locked(tmp_path):
        assert cli.main(["status"]) == 2
    assert "must be host:port, or off" in capsys.readouterr().err


def test_a_directory_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not said that no gateway runs there, which is not known."""
    monkeypatch.setenv("CROCBOT_STATE_DIR", f"/tmp/{'x' * 300}")
    assert cli.main(["status"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "cannot read" in error
