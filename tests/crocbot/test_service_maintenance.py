"""Periodic maintenance of the inbox."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from crocbot.errors import InboxError
from crocbot.service.maintenance import TIDY_EVERY_SECONDS, Maintenance
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


async def test_what_is_done_every_second_and_every_minute() -> None:
    """The totals are emitted, and old rows deleted; an error ends neither."""
    inbox, events, seconds = FakeInbox(), RecordedEvents(), 0

    async def sleep(_: float) -> None:
        nonlocal seconds
        seconds += 1
        if seconds > 2 * TIDY_EVERY_SECONDS:
            raise asyncio.CancelledError

    maintenance = Maintenance(
        inbox=cast(Any, inbox), dispatcher=cast(Any, None), events=events, sleep=sleep
    )
    with pytest.raises(asyncio.CancelledError):
        await maintenance.run()

    assert list(events) == ["totals"] * (2 * int(TIDY_EVERY_SECONDS))
    assert inbox.tidied == 2
