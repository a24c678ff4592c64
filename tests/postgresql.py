"""
A PostgreSQL cluster of the tests: its own folder, port and process.

    with Cluster() as cluster:
        url = cluster.create_database()     postgresql://crocbot:...@127.0.0.1:...
        cluster.restart()                   also stop, start, kill, pause, resume

It needs the programs of PostgreSQL, such as those of Debian's package `postgresql`.  As
root the server runs as another user, since it refuses root.  It ends with its context,
or with the process that started it.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

import psutil
import psycopg

from tests.ports import HOST, free_port

USER = "crocbot"
PASSWORD = "correct-horse"
USERS = ("postgres", "nobody")
"""The users of whom the first that exists runs the server if the tests run as root."""
START_SECONDS = 60.0
POLL_SECONDS = 0.02
PR_SET_PDEATHSIG = 1
TEMPLATE = "template1"
FAST = {"fsync": "off", "full_page_writes": "off"}
"""Without these a commit waits for the disk, which only a power cut needs."""
MISSING = "PostgreSQL is not installed: apt install postgresql"

_libc = ctypes.CDLL(None, use_errno=True)


def find_programs() -> Path | None:
    """Return the folder with `initdb` of the newest version; None if there is none."""
    folders = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version)]
    for name in ("pg_config", "initdb"):
        if (found := shutil.which(name)) is None:
            continue
        folder = Path(found).resolve().parent
        if name == "pg_config":
            shown = subprocess.run(
                [found, "--bindir"], capture_output=True, text=True, check=False
            )
            folder = Path(shown.stdout.strip())
        folders.insert(0, folder)
    usable = [each for each in folders if (each / "initdb").exists()]
    return usable[-1] if usable else None


def _version(folder: Path) -> float:
    try:
        return float(folder.parent.name)
    except ValueError:
        return 0.0


class Cluster:
    """
    A server of PostgreSQL with a superuser, USER, that connects with PASSWORD.

    `settings` are those of postgresql.conf.  With `durable` commits wait for the disk,
    as in production.
    """

    def __init__(
        self, *, durable: bool = False, settings: Mapping[str, str] | None = None
    ) -> None:
        programs = find_programs()
        if programs is None:
            raise FileNotFoundError(MISSING)
        self._programs = programs
        self._settings = {
            "listen_addresses": HOST,
            "max_connections": "200",
            "logging_collector": "off",
            **({} if durable else FAST),
            **(settings or {}),
        }
        # Short: the path of a Unix socket has at most 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        self.port = free_port()
        self._identity = server_identity()
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        try:
            self._initialize()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def log(self) -> str:
        """Return what the server has logged."""
        return (self.folder / "log").read_text(errors="replace")

    @property
    def running(self) -> bool:
        """Return whether the server's process runs."""
        return self._process is not None and self._process.poll() is None

    def url(self, database: str = "postgres", **changes: str) -> str:
        """Return the URL of a database; `changes` replace user, password or port."""
        user = changes.get("user", USER)
        password = changes.get("password", PASSWORD)
        port = changes.get("port", str(self.port))
        return f"postgresql://{user}:{password}@{HOST}:{port}/{database}"

    def create_database(self, template: str = TEMPLATE) -> str:
        """Return the URL of a new database; start the server if it does not run."""
        if not self.running:
            self.start()
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop the database of a URL, and end its connections."""
        if self.running:
            name = url.rpartition("/")[2]
            self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """Return a connection in autocommit mode, by the Unix socket."""
        return psycopg.connect(
            host=str(self.folder),
            port=self.port,
            user=USER,
            dbname=database,
            autocommit=True,
        )

    def execute(self, statement: str, database: str = "postgres") -> list[Any]:
        """Return the rows of a statement, which runs in autocommit mode."""
        with self.connect(database) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        """Start the server; return when it accepts connections."""
        settings = [f"--{name}={value}" for name, value in self._settings.items()]
        with (self.folder / "log").open("ab") as log:
            self._process = self._popen(
                "postgres",
                "-D",
                str(self.folder / "data"),
                f"--port={self.port}",
                f"--unix_socket_directories={self.folder}",
                *settings,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._accepts():
            if not self.running or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{self.log}")
            time.sleep(POLL_SECONDS)

    def stop(self, mode: str = "fast") -> None:
        """Stop the server, if it runs; `smart`, `fast` or `immediate` as of pg_ctl."""
        process = self._process
        if process is None:
            return
        signals = {"smart": signal.SIGTERM, "fast": signal.SIGINT}
        process.send_signal(signals.get(mode, signal.SIGQUIT))
        # One that is paused ends as well.
        self.resume()
        process.wait(START_SECONDS)
        self._process = None

    def restart(self, mode: str = "fast") -> None:
        """Stop and start the server on the same port."""
        self.stop(mode)
        self.start()

    def kill(self) -> None:
        """End all processes of the server by SIGKILL, as if the machine had ended."""
        killed = self._processes()
        for each in killed:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        if self._process is not None:
            self._process.wait(START_SECONDS)
            self._process = None
        # A server that starts beside one of these would refuse the folder.
        psutil.wait_procs(killed, START_SECONDS)

    def pause(self) -> None:
        """Stop all processes by SIGSTOP: connections stay, and nothing answers."""
        for each in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                each.suspend()

    def resume(self) -> None:
        """Let paused processes go on."""
        for each in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                each.resume()

    def _processes(self) -> list[psutil.Process]:
        if self._process is None:
            return []
        try:
            server = psutil.Process(self._process.pid)
            # The server first, so that it starts no other process.
            return [server, *server.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _accepts(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _initialize(self) -> None:
        password = self.folder / "password"
        password.write_text(PASSWORD)
        if self._identity:
            for each in (self.folder, password):
                os.chown(each, self._identity["user"], self._identity["group"])
        process = self._popen(
            "initdb",
            *("-D", str(self.folder / "data"), "--no-sync", "--encoding=UTF8"),
            *("--locale=C", f"--username={USER}", f"--pwfile={password}"),
            *("--auth-local=trust", "--auth-host=scram-sha-256"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        shown, _ = process.communicate()
        if process.returncode:
            raise RuntimeError(f"initdb failed:\n{shown.decode(errors='replace')}")

    def _popen(
        self, program: str, *arguments: str, **streams: Any
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(self._programs / program), *arguments],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            # Ctrl-C is for the tests, which then stop the server.
            start_new_session=True,
            # After the change of the user, which would undo it.
            preexec_fn=die_with_parent(),  # noqa: PLW1509
            **self._identity,
            **streams,
        )


def server_identity() -> dict[str, Any]:
    """Return the user and group that run the server; empty for those of the tests."""
    if os.geteuid():
        return {}
    for name in USERS:
        with contextlib.suppress(KeyError):
            found = pwd.getpwnam(name)
            return {
                "user": found.pw_uid,
                "group": found.pw_gid,
                "extra_groups": [],
            }
    raise RuntimeError("there is no user who could run PostgreSQL")


def die_with_parent() -> Callable[[], object]:
    """Return what lets the kernel end a child process with this one, by SIGQUIT."""
    return partial(_libc.prctl, PR_SET_PDEATHSIG, signal.SIGQUIT, 0, 0, 0)
