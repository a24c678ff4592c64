"""Programs with a supervisor: real processes, of which none is left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from crocbot import linux

pytestmark = pytest.mark.skipif(not linux.IS_LINUX, reason="the system is not Linux")

# Writes its process id to a file and lives on in a session of its own.
DAEMON = """
import os, pathlib, signal, sys, time
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        pathlib.Path({file!r}).write_text(str(os.getpid()))
        time.sleep(600)
    os._exit(0)
while not pathlib.Path({file!r}).exists() or not pathlib.Path({file!r}).read_text():
    time.sleep(0.01)
print("started", flush=True)
{then}
"""


@pytest.fixture
def pid_file(tmp_path: Path) -> Path:
    """Return the file of the daemon's process id."""
    return tmp_path / "pid"


def daemon(pid_file: Path, then: str) -> list[str]:
    """Return a program that starts a daemon, and then does something."""
    return [sys.executable, "-c", DAEMON.format(file=str(pid_file), then=then)]


def start(arguments: list[str]) -> subprocess.Popen[str]:
    """Start a program with its supervisor."""
    return subprocess.Popen(
        linux.supervised(arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ends(pid: int) -> bool:
    """Return whether a process ends, after waiting for it."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize(
    ("arguments", "code", "output", "errors"),
    [
        (["cat"], 0, "hello", ""),
        (["sh", "-c", "echo no >&2; exit 3"], 3, "", "no\n"),
        (["sh", "-c", "kill -KILL $$"], -signal.SIGKILL, "", ""),
        (["sh", "-c", "kill -TERM $$"], -signal.SIGTERM, "", ""),
        (["sh", "-c", "kill -TERM 0"], -signal.SIGTERM, "", ""),
        (
            ["/nowhere/program"],
            linux.NOT_STARTED_CODE,
            "",
            f"{linux.NOT_STARTED}No such file or directory",
        ),
        (
            [__file__],
            linux.NOT_STARTED_CODE,
            "",
            f"{linux.NOT_STARTED}Permission denied",
        ),
    ],
)
def test_it_is_like_the_program(
    arguments: list[str], code: int, output: str, errors: str
) -> None:
    """Input, output and exit code are the program's; a signal as well."""
    program = start(arguments)

    assert program.communicate("hello", timeout=60) == (output, errors)
    assert program.returncode == code


@pytest.mark.parametrize(
    ("then", "end"),
    [
        ("", lambda _: None),
        ("time.sleep(600)", lambda program: program.terminate()),
        ("os.close(1); time.sleep(600)", lambda program: program.terminate()),
    ],
)
def test_daemons_end(
    pid_file: Path,
    then: str,
    end: Callable[[subprocess.Popen[str]], None],
) -> None:
    """A process with a session of its own ends with the program, and at SIGTERM."""
    arguments = daemon(pid_file, then)
    with start(arguments) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "started\n"
        end(program)
        program.communicate(timeout=60)

    assert ends(int(pid_file.read_text()))


PARENT = """
import subprocess, sys, time
sys.path.insert(0, {root!r})
from crocbot import linux
subprocess.Popen(linux.supervised({arguments!r}))
time.sleep(600)
"""


def test_everything_ends_with_the_parent(pid_file: Path) -> None:
    """When the parent is killed, the program and its daemons end."""
    source = PARENT.format(
        root=str(Path(__file__).parents[2]),
        arguments=daemon(pid_file, "time.sleep(600)"),
    )
    with subprocess.Popen([sys.executable, "-c", source]) as parent:
        while not pid_file.exists() or not pid_file.read_text():
            time.sleep(0.02)
        running = psutil.Process(parent.pid).children(recursive=True)
        parent.kill()

    # The supervisor, the program, and the daemon unless it has not been counted yet.
    assert len(running) >= 2
    assert all(ends(each.pid) for each in running)
    assert ends(int(pid_file.read_text()))


def test_a_parent_that_ended_before() -> None:
    """A supervisor whose parent is another process starts nothing."""
    command = linux.supervised(["echo", "started"])
    command[command.index(str(os.getpid()))] = "1"
    ended = subprocess.run(command, capture_output=True, check=False)

    assert (ended.returncode, ended.stdout) == (-signal.SIGTERM, b"")


@pytest.fixture
def adopting() -> Iterator[None]:
    """Adopt orphans for the time of a test."""
    linux.adopt_orphans()
    yield
    linux.LIBC.prctl(linux.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)  # type: ignore[union-attr]


@pytest.mark.usefixtures("adopting")
def test_a_supervisor_that_is_killed(pid_file: Path) -> None:
    """The program ends with it; its daemons are orphans, which are killed."""
    with start(
        daemon(pid_file, "os.kill(os.getppid(), 9); time.sleep(600)")
    ) as program:
        other = start(["sleep", "600"])
        # Not communicate(): the daemon still holds the pipes.
        assert program.wait(60) == -signal.SIGKILL
        while psutil.pid_exists(int(pid_file.read_text())):
            linux.kill_orphans({other.pid})
            time.sleep(0.01)
        assert other.poll() is None
        other.terminate()
        other.communicate(timeout=60)


PRIVATE = """
import os, sys
sys.path.insert(0, {root!r})
from crocbot import linux
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
# Changing the user has an effect of its own.
linux.LIBC.prctl(linux.PR_SET_DUMPABLE, 1)
if {private}:
    linux.keep_memory_private()
files = [f"/proc/{{os.getpid()}}/{{name}}" for name in {names!r}]
if os.fork() == 0:
    os.execv({head!r}, ["head", "-c1", *files])
os.wait()
"""


@pytest.mark.parametrize("private", [True, False])
def test_private_memory(private: bool) -> None:
    """A program of the same user reads neither environment, memory nor files."""
    names = ["environ", "maps", "auxv", "fd/0"]
    source = PRIVATE.format(
        root=str(Path(__file__).parents[2]),
        names=names,
        private=private,
        head=shutil.which("head"),
    )
    ended = subprocess.run(
        [sys.executable, "-S", "-c", source],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={"LC_ALL": "C"},
    )

    denied = ended.stderr.count("Permission denied")
    assert denied == (len(names) if private else 0), ended.stderr
