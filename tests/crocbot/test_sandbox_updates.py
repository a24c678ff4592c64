"""The queue of updates and its bounds."""

from __future__ import annotations

import asyncio

import pytest

from crocbot.sandbox.updates import (
    ConflictingPollError,
    InterruptedPollError,
    Updates,
)


def test_ids_follow_each_other() -> None:
    """Each update gets the next id, also after others were acknowledged."""

    async def run() -> list[int]:
        updates = Updates(10)
        ids = [updates.put({}), updates.put({})]
        await updates.poll(12, 100, 0)
        return [*ids, updates.put({})]

    assert asyncio.run(run()) == [10, 11, 12]


def test_what_waits_is_bounded() -> None:
    """One update too many is refused aloud, not lost in silence."""
    updates = Updates(1, most=2)
    updates.put({})
    updates.put({})

    with pytest.raises(OverflowError, match="2 updates wait"):
        updates.put({})


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (Updates.conflict, ConflictingPollError),
        (Updates.interrupt, InterruptedPollError),
    ],
)
def test_a_poll_ends_early(end, error) -> None:
    """A waiting poll learns why it must end; the queue works on."""

    async def run() -> list[int]:
        updates = Updates(1)
        poll = asyncio.create_task(updates.poll(0, 100, 30))
        await asyncio.sleep(0)
        end(updates)
        with pytest.raises(error):
            await poll
        end(updates)
        updates.put({})
        return [update["update_id"] for update in await updates.poll(0, 100, 30)]

    assert asyncio.run(run()) == [1]


def test_a_cancelled_poll_takes_nothing_with_it() -> None:
    """After the poller went away the next update waits for its successor."""

    async def run() -> int:
        updates = Updates(1)
        poll = asyncio.create_task(updates.poll(0, 100, 30))
        await asyncio.sleep(0)
        poll.cancel()
        await asyncio.gather(poll, return_exceptions=True)
        updates.put({})
        return len(await updates.poll(0, 100, 0))

    assert asyncio.run(run()) == 1
