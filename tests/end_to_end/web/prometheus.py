"""A real Prometheus, and its API."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.ports import free_port

PATIENCE = 90.0
"""Seconds."""

Found = TypeVar("Found")

Series = dict[tuple[Any, ...], str]
"""Values by name and pairs of a label and its value."""


class Server:
    """The API of a Prometheus."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1"

    def ask(self, path: str, **parameters: str) -> Any:
        """Return the data of a query."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self._url}/{path}?{query}") as response:
            return json.load(response)["data"]

    def targets(self, count: int = 1) -> dict[str, Any]:
        """Wait until each target was scraped; return them by job."""

        def scraped() -> dict[str, Any] | None:
            found = self.ask("targets", state="active")["activeTargets"]
            if len(found) != count or any(t["health"] == "unknown" for t in found):
                return None
            return {each["labels"]["job"]: each for each in found}

        return self.eventually(scraped)

    def series(self, job: str) -> Series:
        """Return the newest values of a job."""
        found = {}
        for each in self.ask("query", query=f'{{job="{job}"}}')["result"]:
            labels = each["metric"]
            for known in ("job", "instance"):
                del labels[known]
            name = labels.pop("__name__")
            found[name, *sorted(labels.items())] = each["value"][1]
        return found

    def value(self, query: str) -> float | None:
        """Return the only value of a query; None if it has none."""
        found = self.ask("query", query=query)["result"]
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else None

    def eventually(self, find: Callable[[], Found | None]) -> Found:
        """Wait until a function returns something, and return that."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                found = find()
            except (OSError, ValueError):
                found = None
            if found:
                return found
            time.sleep(0.1)
        pytest.fail(f"not within {PATIENCE:g} s: {find()}")


@contextmanager
def prometheus(home: Path, config: str, *flags: str) -> Iterator[Server]:
    """Run a Prometheus with a configuration; skip if there is none."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is missing: Debian's package of that name has it")
    (home / "prometheus.yml").write_text(config)
    port = free_port()
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={home / 'prometheus.yml'}",
                f"--storage.tsdb.path={home / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                *flags,
            ],
            stderr=log,
            cwd=home,
        )
    try:
        yield Server(port)
    finally:
        process.terminate()
        process.wait(PATIENCE)


def require(major: int, minor: int, feature: str) -> None:
    """Skip if Prometheus is older than a version."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is missing: Debian's package of that name has it")
    done = subprocess.run([program, "--version"], capture_output=True, check=True)
    version = re.search(rb"version (\d+)\.(\d+)", done.stdout + done.stderr)
    assert version is not None
    if (int(version[1]), int(version[2])) < (major, minor):
        pytest.skip(f"{feature} needs Prometheus {major}.{minor}; .ci/run has it")
