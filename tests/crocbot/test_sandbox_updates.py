"""The queue of updates and its bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from crocbot.sandbox.updates import (
    ConflictingPollError,
    InterruptedPollError,
    Updates,
)


async def test_ids_are_consecutive() -> None:
    """Each update gets the next id, also after others were acknowledged."""
    updates = Updates(10)
    ids = [updates.put({}), updates.put({})]
    await updates.poll(12, 100, 0)

    assert [*ids, updates.put({})] == [10, 11, 12]


def test_pending_updates_are_bounded() -> None:
    """One update too many is an error, not a silent loss."""
    updates = Updates(1, max_pending=2)
    updates.put({})
    updates.put({})

    with pytest.raises(OverflowError, match="2 updates are pending"):
        updates.put({})


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (Updates.conflict, ConflictingPollError),
        (Updates.interrupt, InterruptedPollError),
    ],
)
async def test_a_poll_is_ended_early(
    end: Callable[[Updates], object], error: type[Exception]
) -> None:
    """A waiting poll raises the reason; the queue works on."""
    updates = Updates(1)
    poll = asyncio.create_task(updates.poll(0, 100, 30))
    await asyncio.sleep(0)
    end(updates)
    with pytest.raises(error):
        await poll
    end(updates)
    updates.put({})

    assert len(await updates.poll(0, 100, 30)) == 1


async def test_a_cancelled_poll_loses_no_update() -> None:
    """An update after the poll was cancelled waits for the next poll."""
    updates = Updates(1)
    poll = asyncio.create_task(updates.poll(0, 100, 30))
    await asyncio.sleep(0)
    poll.cancel()
    await asyncio.gather(poll, return_exceptions=True)
    updates.put({})

    assert len(await updates.poll(0, 100, 0)) == 1
