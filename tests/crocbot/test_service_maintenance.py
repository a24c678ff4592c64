"""Periodic maintenance of the inbox."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from crocbot.errors import InboxError
from crocbot.service.maintenance import INTERVALS_PER_TIDY, Maintenance
from tests.crocbot.fakes import RecordedEvents


class FakeInbox:
    """An inbox that cannot be read at first, and counts how often it is tidied."""

    def __init__(self) -> None:
        self.error = True
        self.tidied = 0

    async def reopened(self) -> list[Any]:
        if self.error:
            self.error = False
            raise InboxError("disk full")
        return []

    async def state(self) -> Any:
        return "totals"

    async def tidy(self) -> None:
        self.tidied += 1


async def test_maintenance_goes_on_after_an_error() -> None:
    """The totals are emitted every second, old rows are deleted every minute."""
    inbox, events, seconds = FakeInbox(), RecordedEvents(), 0

    async def sleep(_: float) -> None:
        nonlocal seconds
        seconds += 1
        if seconds > 2 * INTERVALS_PER_TIDY:
            raise asyncio.CancelledError

    maintenance = Maintenance(
        inbox=cast(Any, inbox), dispatcher=cast(Any, None), events=events, sleep=sleep
    )
    with pytest.raises(asyncio.CancelledError):
        await maintenance.run()

    assert len(events) == 2 * INTERVALS_PER_TIDY
    assert inbox.tidied == 2
