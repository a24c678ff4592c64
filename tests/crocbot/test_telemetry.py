"""Telemetry as the gateway uses it: emit, start, stop."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from crocbot.events import PollFailed
from crocbot.model import (
    OFF,
    Disposition,
    HostPort,
    MessageType,
    Outcome,
    ReconnectReason,
)
from crocbot.telemetry import Telemetry

ANSWERED = Outcome(
    Disposition.ANSWERED, message_type=MessageType.TEXT, seconds=1.0, update_ids=(7,)
)


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    """A receiver on loopback."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as opened:
        opened.bind(("127.0.0.1", 0))
        opened.setblocking(False)
        yield opened


def telemetry_to(receiver: socket.socket) -> Telemetry:
    """Return telemetry that sends to a receiver."""
    return Telemetry(HostPort(*receiver.getsockname()), version="0.1.0")


def received(receiver: socket.socket) -> list[str]:
    """Return every line that has arrived."""
    lines: list[str] = []
    while True:
        try:
            lines += receiver.recv(2000).decode().split("\n")
        except BlockingIOError:
            return lines


async def test_events_arrive_as_lines(receiver: socket.socket) -> None:
    """Events from before the start and after it arrive, at the latest at the end."""
    telemetry = telemetry_to(receiver)
    telemetry.observer.emit(ANSWERED)
    await telemetry.start()
    telemetry.observer.emit(PollFailed(ReconnectReason.CONFLICT))
    await telemetry.stop()
    await telemetry.stop()
    lines = received(receiver)

    assert "crocbot.messages.text:1|c" in lines
    assert "crocbot.messages.media:0|c" in lines
    assert "crocbot.telegram.latency.text:1000.000000|ms" in lines
    assert "crocbot.telegram.reconnects.conflict:1|c" in lines
    assert "crocbot.build.0.1.0:1|g" in lines
    assert any(line.startswith("crocbot.uptime:") for line in lines)


async def test_without_a_receiver_nothing_fails(receiver: socket.socket) -> None:
    """Emitting and stopping return as usual, and no task is left."""
    tasks = len(asyncio.all_tasks())
    telemetry = telemetry_to(receiver)
    receiver.close()
    await telemetry.start()
    for _ in range(1000):
        telemetry.observer.emit(ANSWERED)
    await telemetry.stop()

    assert len(asyncio.all_tasks()) == tasks


async def test_off_starts_nothing() -> None:
    """No task and no callback; emitting is still allowed."""
    tasks, callbacks = len(asyncio.all_tasks()), len(gc.callbacks)
    telemetry = Telemetry(HostPort(OFF, 9125), version="0.1.0")
    telemetry.observer.emit(ANSWERED)
    await telemetry.start()
    telemetry.observer.emit(ANSWERED)

    assert (len(asyncio.all_tasks()), len(gc.callbacks)) == (tasks, callbacks)
    await telemetry.stop()
