"""
Signals of the process, from its first line on.

    SIGTERM, SIGINT            stop; exit code 0
    SIGHUP                     reload the mapping file
    SIGUSR1, SIGALRM, ...      ignored and logged

`__main__.py` installs the handlers before it imports the rest, which takes a quarter
of a second.  Until the bridge starts, SIGTERM and SIGINT end the process, and other
signals are recorded.  Commands that end by themselves have the system's handlers.
SIGPIPE is ignored by Python: every client that closes its connection causes one.
This module imports as little as it can, typing included.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

STOP = frozenset({signal.SIGTERM, signal.SIGINT})
RELOAD = signal.SIGHUP

IGNORED_NAMES = (
    "SIGUSR1",
    "SIGUSR2",
    "SIGALRM",
    "SIGVTALRM",
    "SIGPROF",
    "SIGIO",
    "SIGPWR",
    "SIGXCPU",
)
"""Signals that end a process by default, and that Go's runtime ignores."""

OTHER_COMMANDS = frozenset(
    {"explain", "--check-config", "-h", "--help", "--version"},
)
"""Arguments of command lines that do not start a bridge."""


class SignalListener:
    """What signals cause; called in the main thread, between any two instructions."""

    def stop(self) -> None:
        """Stop the bridge."""
        raise NotImplementedError

    def reload(self) -> None:
        """Reload the mapping file."""
        raise NotImplementedError

    def ignored(self, name: str) -> None:
        """Report a signal that is ignored."""
        raise NotImplementedError


class Signals:
    """
    The handlers of this process.

    Until there is a listener, signals that stop end the process, and other signals are
    recorded.
    """

    def __init__(self) -> None:
        self._is_installed = False
        self._listener: SignalListener | None = None
        # In the order of arrival, each once.  A handler may run between any two
        # instructions of this class, another handler's included.
        self._pending: list[int] = []
        self._is_delivering = False

    def install_for(self, arguments: list[str]) -> None:
        """Handle signals unless arguments are those of another command."""
        if OTHER_COMMANDS.isdisjoint(arguments):
            self.install()

    def install(self) -> None:
        """Handle all signals above, those that the parent process ignored included."""
        self._is_installed = True
        handled = [*STOP, RELOAD, *_ignored()]
        for number in handled:
            signal.signal(number, self._handle)
        # A parent that blocks signals leaves them blocked.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handled)

    def deliver_to(self, listener: SignalListener) -> None:
        """Call a listener for each signal, recorded ones first."""
        self._listener = listener
        self._deliver()

    def restore(self) -> None:
        """Restore Python's handlers, for a command that ends by itself."""
        if not self._is_installed:
            return
        for number in (*STOP, RELOAD, *_ignored()):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def ignore(self) -> None:
        """Ignore all signals above: the process is about to end."""
        for number in (*STOP, RELOAD, *_ignored()):
            signal.signal(number, signal.SIG_IGN)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if number not in self._pending:
            self._pending.append(number)
        self._deliver()

    def _deliver(self) -> None:
        if self._listener is None:
            if not STOP.isdisjoint(self._pending):
                _exit()
            return
        # A handler that interrupts this leaves its signal to it: in a flood of signals
        # handlers would interrupt each other until Python's stack is full.
        while self._pending and not self._is_delivering:
            self._is_delivering = True
            try:
                # Another handler may have interrupted this between the lines above.
                if self._pending:
                    self._deliver_one(self._listener, self._pending.pop(0))
            finally:
                self._is_delivering = False

    def _deliver_one(self, listener: SignalListener, number: int) -> None:
        if number in STOP:
            listener.stop()
        elif number == RELOAD:
            listener.reload()
        else:
            listener.ignored(_name(number))


def _exit() -> None:
    """End the process at once: no socket is open and no import can be unwound."""
    # It may be half imported.
    writer = getattr(sys.modules.get("statsd_bridge.stderr"), "WRITER", None)
    if writer is not None:
        writer.flush()
    os._exit(0)


def _ignored() -> list[int]:
    names = [getattr(signal, name) for name in IGNORED_NAMES if hasattr(signal, name)]
    real_time = hasattr(signal, "SIGRTMIN")
    return names + (
        list(range(signal.SIGRTMIN, signal.SIGRTMAX + 1)) if real_time else []
    )


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


SIGNALS = Signals()
"""The one object of the process."""
