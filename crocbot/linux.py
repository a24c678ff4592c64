"""
Processes on Linux: one whose memory is private, and ones that end with their parent.

    keep_memory_private()        no other process of the same user reads this one's
    end_with_parent()            this process gets SIGTERM when its parent ends
    supervised(["program"])      the command line that runs a program supervised:

    gateway --> supervisor --> program --> children, also with sessions of their own

The supervisor is this file, run as a script.  It kills every process that the program
has started when the program ends, when it gets SIGTERM, and when the gateway ends,
even by SIGKILL.  It exits like the program, by a signal as well.  If a program kills
its supervisor it is killed, too; what it has started is left to the gateway, which
called `adopt_orphans`, and `kill_orphans` ends it.

On other systems `supervised` returns the program's own command line, and the others do
nothing.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Sequence, Set

IS_LINUX = sys.platform == "linux"
# Loaded before any fork.
LIBC = ctypes.CDLL(None) if IS_LINUX else None
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
PR_GET_CHILD_SUBREAPER = 37
NOT_STARTED = "\0cannot be started: "
"""How a line on stderr begins if the program could not be started."""

NOT_STARTED_CODE = 126
END_SECONDS = 3.0
END_PAUSE_SECONDS = 0.005


def keep_memory_private() -> None:
    """
    Keep /proc/PID/environ, mem and fd from programs of the same user.

    There is no core dump either.  Root still reads them.
    """
    _prctl(PR_SET_DUMPABLE, 0)


def end_with_parent() -> None:
    """Have this process get SIGTERM when the thread that started it ends."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def adopt_orphans() -> None:
    """Have the descendants whose parents end become children of this process."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def kill_orphans(supervisors: Set[int]) -> set[int]:
    """
    Kill the children that are no supervisors; return those that have not ended yet.

    `supervisors` are those that asyncio knows: only asyncio may wait for them.
    """
    if not _adopts_orphans():
        return set()
    orphans = set(_children()) - supervisors
    orphans = {child for child in orphans if not _is_supervisor(child)}
    for orphan in orphans:
        _kill(orphan)
    return {orphan for orphan in orphans if not _has_ended(orphan)}


def supervised(arguments: Sequence[str]) -> list[str]:
    """Return the command line that runs a program with its supervisor."""
    if not IS_LINUX:
        return list(arguments)
    # Isolated and without site-packages: it starts in 20 ms, whatever is installed.
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *arguments]


def supervise(parent: int, arguments: Sequence[str]) -> int:
    """
    Run a program until it, or the process `parent`, ends; return its wait status.

    Nothing that it has started runs afterwards.
    """
    # Blocked from here on, so that each waits until `sigwait`.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD})
    adopt_orphans()
    end_with_parent()
    if os.getppid() != parent:
        return signal.SIGTERM
    program = os.fork()
    if program == 0:
        _become(arguments)
    # The pipes are the program's: they close when it closes them.
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    status: int | None = None
    while status is None:
        if signal.sigwait({signal.SIGTERM, signal.SIGCHLD}) == signal.SIGTERM:
            status = signal.SIGTERM
        else:
            status = _reap().get(program)
    _end_descendants(program)
    return status


def _become(arguments: Sequence[str]) -> None:
    """Run the program in this process, which ends if its supervisor is killed."""
    try:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()
        for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(ignored, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGCHLD})
        os.execvp(arguments[0], [*arguments])  # noqa: S606 (no shell is wanted)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        os.write(2, f"{NOT_STARTED}{reason}".encode())
    finally:
        os._exit(NOT_STARTED_CODE)


def _reap() -> dict[int, int]:
    """Return the wait status of each child that has ended, by process id."""
    ended: dict[int, int] = {}
    try:
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            ended.update([found])
    except ChildProcessError:
        # None is left.
        pass
    return ended


def _end_descendants(program: int) -> None:
    """
    Kill all descendants, and the process group of the program.

    The children of one that is killed become this process's own, since it is their
    subreaper, and are killed in the next round.
    """
    _kill(-program)
    deadline = time.monotonic() + END_SECONDS
    while time.monotonic() < deadline:
        children = _children()
        for child in children:
            _kill(child)
        _reap()
        if not children:
            return
        time.sleep(END_PAUSE_SECONDS)


def _kill(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        # It has ended, or is another user's.
        pass


def _children() -> list[int]:
    """Return the process ids of the children of this process."""
    if not IS_LINUX:
        return []
    threads = _names("/proc/self/task")
    lists = [_read(f"/proc/self/task/{thread}/children") for thread in threads]
    if any(each is not None for each in lists):
        return [int(child) for each in lists if each for child in each.split()]
    # A kernel without CONFIG_PROC_CHILDREN.
    processes = [int(name) for name in _names("/proc") if name.isdigit()]
    return [process for process in processes if _is_child(process)]


def _is_supervisor(child: int) -> bool:
    """Return whether a child is a supervisor, which asyncio may not know yet."""
    words = (_read(f"/proc/{child}/cmdline") or b"").split(b"\0")
    return os.fsencode(__file__) in words[:4]


def _is_child(process: int) -> bool:
    # The name in parentheses may contain blanks; state and parent follow.
    fields = (_read(f"/proc/{process}/stat") or b"").rpartition(b")")[2].split()
    return len(fields) > 1 and int(fields[1]) == os.getpid()


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)  # noqa: PTH208 (see _read)
    except OSError:
        return []


def _read(file: str) -> bytes | None:
    """Return the content of a file of /proc; None if it does not exist any more."""
    # Without pathlib a supervisor starts in half the time, and is smaller.
    try:
        with open(file, "rb") as opened:  # noqa: PTH123
            return opened.read()
    except OSError:
        return None


def _has_ended(child: int) -> bool:
    try:
        return os.waitpid(child, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True


def _adopts_orphans() -> bool:
    """Return whether `adopt_orphans` was called, without which there are none."""
    found = ctypes.c_int(0)
    if LIBC is not None:
        LIBC.prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(found), 0, 0, 0)
    return bool(found.value)


def _prctl(option: int, value: int) -> None:
    if LIBC is not None:
        LIBC.prctl(option, value, 0, 0, 0)


def _exit_like(status: int) -> None:
    """End this process as another one ended, by its wait status."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        _prctl(PR_SET_DUMPABLE, 0)
        if number not in {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    _exit_like(supervise(int(sys.argv[1]), sys.argv[2:]))
