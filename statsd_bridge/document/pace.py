"""Pauses of a long computation, in which other threads run."""

from __future__ import annotations

import time


class Pace:
    """
    Pauses the thread for some seconds after each so long computation; 0 for never.

    A thread that needs the interpreter's lock gets it in a pause, and keeps it until it
    waits for something itself; without pauses the two would take it from each other all
    the time, which costs each of them a wait for a CPU.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds
        self._pause_at = 0.0

    def step(self) -> None:
        """Pause if that is due; to be called after each small piece of work."""
        if self._seconds and time.monotonic() >= self._pause_at:
            time.sleep(self._seconds)
            self._pause_at = time.monotonic() + self._seconds


NO_PACE = Pace()
