"""
The end, whatever happens: a process that was asked to stop is gone in time.

An agent may block the event loop, or a thread that Python would wait for at its exit.
All that must last is in the inbox by then, so leaving at once loses nothing.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from contextlib import suppress

STDERR = 2


def exit_within(seconds: float, code: int) -> None:
    """End the process with this code after so many seconds, unless it ended itself."""
    # Not a timer of the event loop: that may be what hangs.
    threading.Thread(target=_exit, args=(seconds, code), daemon=True).start()


def leave(code: int) -> None:
    """
    End the process now: files are closed, packets sent, nothing is left to be done.

    Python's own exit takes a second on a busy machine, and waits for every thread.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        # Whoever read it may be gone, which is no failure of ours.
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def lingering() -> bool:
    """Whether there are threads that Python would wait for at its exit."""
    return any(
        not thread.daemon and thread is not threading.main_thread()
        for thread in threading.enumerate()
    )


def _exit(seconds: float, code: int) -> None:
    time.sleep(seconds)
    # No lock, no buffer, no waiting: one of them may be what hangs.
    with suppress(OSError):
        os.set_blocking(STDERR, False)
        os.write(STDERR, b"crocbot: something did not end in time, left behind\n")
    os._exit(code)
