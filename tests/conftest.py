"""What holds for every test."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

# No test asserts time: this machine may be busy with something else.
settings.register_profile("unhurried", settings(), deadline=None)
settings.load_profile("unhurried")

# What a script starts in the background ignores SIGINT, and so would every program that
# a test starts and then ends like Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run `async def` tests on asyncio only."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _logging_ends_with_the_test() -> Iterator[None]:
    """A program configures logging for its process; the next test shares it."""
    yield
    structlog.reset_defaults()
