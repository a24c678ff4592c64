"""Signals are recorded until there is a listener, then delivered in order."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import pytest

from statsd_bridge.signals import SignalListener, Signals

FLOOD = 10 * sys.getrecursionlimit()


@pytest.fixture
def signals() -> Iterator[Signals]:
    """Install handlers; the previous ones are restored."""
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    signals = Signals()
    signals.install()
    yield signals
    for number, handler in before.items():
        if handler is not None and number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, handler)


class Recorder(SignalListener):
    """Keeps what it is called for; `then` is a signal that the first call causes."""

    def __init__(self, then: int = 0) -> None:
        self.calls: list[str] = []
        self._then = then

    def stop(self) -> None:
        self._add("stop")

    def reload(self) -> None:
        self._add("reload")

    def ignored(self, name: str) -> None:
        self._add(name)

    def _add(self, call: str) -> None:
        self.calls.append(call)
        then, self._then = self._then, 0
        if then:
            send(then)


def send(*numbers: int) -> None:
    """Send signals to this process."""
    for number in numbers:
        os.kill(os.getpid(), number)


def test_signals_are_recorded_until_there_is_a_listener(signals: Signals) -> None:
    """Each once, in the order of arrival; later ones are delivered at once."""
    listener = Recorder()
    send(signal.SIGHUP, signal.SIGUSR1, signal.SIGHUP)
    signals.deliver_to(listener)
    assert listener.calls == ["reload", "SIGUSR1"]
    send(signal.SIGTERM, signal.SIGINT, signal.SIGRTMIN + 2)

    assert listener.calls[2:] == ["stop", "stop", "SIGRTMIN+2"]


@pytest.mark.parametrize("then", [signal.SIGHUP, signal.SIGUSR2, signal.SIGTERM])
def test_a_signal_during_a_delivery_loses_none(signals: Signals, then: int) -> None:
    """A handler that interrupts another one delivers what is left."""
    listener = Recorder(then)
    send(signal.SIGUSR2, signal.SIGHUP)
    signals.deliver_to(listener)
    send(signal.SIGTERM)

    assert {"SIGUSR2", "reload", "stop"} == {*listener.calls}
    assert listener.calls[0] == "SIGUSR2"


def test_a_flood_of_signals_is_delivered(signals: Signals) -> None:
    """However many come while one is delivered, the stack does not grow."""

    class Flooded(Recorder):
        def _add(self, call: str) -> None:
            self.calls.append(call)
            if len(self.calls) < FLOOD:
                send(signal.SIGUSR1)

    listener = Flooded()
    signals.deliver_to(listener)
    send(signal.SIGUSR1)

    assert listener.calls == ["SIGUSR1"] * FLOOD


def test_the_end_ignores_signals(signals: Signals) -> None:
    """Nothing is delivered any more."""
    listener = Recorder()
    signals.deliver_to(listener)
    signals.ignore()
    send(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)

    assert listener.calls == []


def test_a_command_has_the_default_handlers(signals: Signals) -> None:
    """An interrupt is raised, also after the handlers were installed."""
    signals.restore()
    with pytest.raises(KeyboardInterrupt):
        send(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("word", ["explain", "--check-config", "--help"])
def test_another_command_gets_no_handlers(word: str) -> None:
    """The handlers are those that were there before."""
    before = signal.getsignal(signal.SIGTERM)
    Signals().install_for(["--log.level=debug", word])

    assert signal.getsignal(signal.SIGTERM) is before
