"""PgBouncer in transaction mode, before a cluster of the tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from typing import Self
from urllib.parse import urlsplit

from tests.ports import HOST, free_port
from tests.postgresql import (
    PASSWORD,
    POLL_SECONDS,
    START_SECONDS,
    USER,
    Cluster,
    die_with_parent,
    server_identity,
)

MISSING = "PgBouncer is not installed: apt install pgbouncer"
PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
CONFIGURATION = """
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = {host}
listen_port = {own_port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 100
ignore_startup_parameters = extra_float_digits
"""


class Pooler:
    """A process of PgBouncer that keeps at most `size` connections to a database."""

    def __init__(self, cluster: Cluster, *, size: int = 2) -> None:
        if PROGRAM is None:
            raise FileNotFoundError(MISSING)
        self._program = PROGRAM
        self._cluster = cluster
        self._size = size
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    def __enter__(self) -> Self:
        folder = self._cluster.folder
        users, file = folder / "users.txt", folder / "pgbouncer.ini"
        users.write_text(f'"{USER}" "{PASSWORD}"\n')
        file.write_text(
            CONFIGURATION.format(
                host=HOST,
                port=self._cluster.port,
                own_port=self.port,
                users=users,
                size=self._size,
            )
        )
        identity = server_identity()
        if identity:
            for each in (users, file):
                os.chown(each, identity["user"], identity["group"])
        self._process = subprocess.Popen(
            [self._program, "-q", str(file)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_parent(),  # noqa: PLW1509
            **identity,
        )
        self._wait()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(START_SECONDS)

    def url(self, url: str) -> str:
        """Return the URL of a database of the cluster, by way of PgBouncer."""
        parts = urlsplit(url)
        return parts._replace(
            netloc=parts.netloc.replace(f":{self._cluster.port}", f":{self.port}")
        ).geturl()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection((HOST, self.port)).close()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_SECONDS)
            else:
                return
