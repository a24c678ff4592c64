"""
Signals of the process, from its first line on.

    SIGTERM, SIGINT            stop; exit code 0
    SIGHUP                     reload the mapping file
    SIGUSR1, SIGALRM, ...      ignored and logged

`__main__.py` installs the handlers before it imports the rest, which takes half a
second.  A signal that arrives before its listener is recorded and then delivered.
SIGPIPE is ignored by Python: every client that closes its connection causes one.
This module imports as little as it can, typing included.
"""

from __future__ import annotations

import os
import signal

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
    """The handlers of this process; signals are recorded until there is a listener."""

    def __init__(self) -> None:
        self._is_installed = False
        self._listener: SignalListener | None = None
        self._exits_on_stop = False
        # In the order of arrival, each once.  A handler may run between any two
        # instructions of this class, another handler's included.
        self._pending: list[int] = []

    def install(self) -> None:
        """Handle all signals above, those that the parent process ignored included."""
        self._is_installed = True
        handled = [*STOP, RELOAD, *_ignored()]
        for number in handled:
            signal.signal(number, self._handle)
        # A parent that blocks signals leaves them blocked.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handled)

    def exit_on_stop(self) -> None:
        """Until there is a listener, let SIGTERM and SIGINT end the process."""
        self._exits_on_stop = True
        self._deliver()

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
        for number in {*self._pending} & {*STOP, RELOAD}:
            os.kill(os.getpid(), number)

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
            if self._exits_on_stop and not STOP.isdisjoint(self._pending):
                _exit()
            return
        while True:
            try:
                number = self._pending.pop(0)
            except IndexError:
                return
            if number in STOP:
                self._listener.stop()
            elif number == RELOAD:
                self._listener.reload()
            else:
                self._listener.ignored(_name(number))


def _exit() -> None:
    """End the process at once: no socket is open and no import can be unwound."""
    from statsd_bridge.stderr import WRITER

    WRITER.flush()
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
