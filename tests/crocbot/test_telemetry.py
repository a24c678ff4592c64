"""Telemetry as the gateway uses it: report, start, stop."""

from __future__ import annotations

import asyncio
import gc
import socket
from contextlib import closing

from crocbot.events import PollFailed
from crocbot.model import Disposition, MessageType, Outcome, ReconnectReason
from crocbot.telemetry import OFF, Telemetry

ANSWERED = Outcome(Disposition.ANSWERED, MessageType.TEXT, 1.0)


def received(receiver: socket.socket) -> list[str]:
    """Every line that has arrived."""
    receiver.setblocking(False)
    lines: list[str] = []
    while True:
        try:
            lines += receiver.recv(2000).decode().split("\n")
        except BlockingIOError:
            return lines


def test_what_is_reported_arrives() -> None:
    """Facts from before the start and after it arrive, at the latest at the end."""

    async def scenario(port: int) -> None:
        telemetry = Telemetry("127.0.0.1", port, version="0.1.0")
        telemetry.emit(ANSWERED)
        await telemetry.start()
        telemetry.emit(PollFailed(ReconnectReason.CONFLICT))
        await telemetry.stop()
        await telemetry.stop()

    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as receiver:
        receiver.bind(("127.0.0.1", 0))
        asyncio.run(scenario(receiver.getsockname()[1]))
        lines = received(receiver)

    assert "crocbot.messages.text:1|c" in lines
    assert "crocbot.messages.media:0|c" in lines
    assert "crocbot.telegram.latency.text:1000.000000|ms" in lines
    assert "crocbot.telegram.reconnects.conflict:1|c" in lines
    assert "crocbot.build.0.1.0:1|g" in lines
    assert any(line.startswith("crocbot.uptime:") for line in lines)


def test_nobody_listening_hurts_nobody() -> None:
    """With no receiver everything returns as usual."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as gone:
        gone.bind(("127.0.0.1", 0))
        port = gone.getsockname()[1]

    async def scenario() -> int:
        telemetry = Telemetry("127.0.0.1", port, version="0.1.0")
        await telemetry.start()
        for _ in range(1000):
            telemetry.emit(ANSWERED)
        await telemetry.stop()
        return len(asyncio.all_tasks())

    assert asyncio.run(scenario()) == 1


def test_off_means_off() -> None:
    """No socket, no task, no callback; reporting is still allowed."""

    async def scenario() -> tuple[int, int]:
        callbacks = len(gc.callbacks)
        telemetry = Telemetry(OFF, 9125, version="0.1.0")
        telemetry.emit(ANSWERED)
        await telemetry.start()
        telemetry.emit(ANSWERED)
        tasks, hooked = len(asyncio.all_tasks()), len(gc.callbacks) - callbacks
        await telemetry.stop()
        return tasks, hooked

    assert asyncio.run(scenario()) == (1, 0)
