"""Rules and fixtures of all tests: markers, asyncio, logging reset, PostgreSQL."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.postgresql import MISSING, Cluster, find_programs

HERE = Path(__file__).parent
MARKERS = {"end_to_end": "end_to_end", "compose": "compose", "benchmarks": "bench"}
"""The marker of the tests in a folder."""

# No test asserts time: the machine may be busy with something else.
UNTIMED: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow],
}
# What is drawn depends on the test alone, so that a change is not refused by chance for
# a fault that was there before; `make properties` finds that.
settings.register_profile("fixed", derandomize=True, **UNTIMED)
settings.register_profile(
    "random", derandomize=False, max_examples=1000, print_blob=True, **UNTIMED
)
settings.load_profile("fixed")

# A shell lets its background commands ignore SIGINT; the programs that tests start
# would inherit that, and Ctrl-C could not stop them.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by its folder."""
    for item in items:
        folder = item.path.relative_to(HERE).parts[0]
        if folder in MARKERS:
            item.add_marker(MARKERS[folder])


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run `async def` tests on asyncio only."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _reset_logging() -> Iterator[None]:
    """Undo what a program configured for the process, which the next test shares."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Start PostgreSQL for the tests of this process; skip them if there is none."""
    if find_programs() is None:
        pytest.skip(MISSING)
    with Cluster() as started:
        yield started


@pytest.fixture
def database_url(cluster: Cluster) -> Iterator[str]:
    """Return the URL of a new, empty database, which is dropped after the test."""
    url = cluster.create_database()
    yield url
    cluster.drop_database(url)
