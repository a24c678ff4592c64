"""The end of a turn: its rows are closed, even if it is cancelled."""

from __future__ import annotations

import asyncio

import pytest

from crocbot.turn.completion import run_to_end


async def test_run_to_end_is_not_cancelled() -> None:
    """However often its caller is cancelled, work ends first; then the caller does."""
    done: list[str] = []
    go_on = asyncio.Event()

    async def work() -> None:
        await go_on.wait()
        done.append("work")

    caller = asyncio.create_task(run_to_end(work()))
    for _ in range(3):
        await asyncio.sleep(0)
        caller.cancel()
        await asyncio.sleep(0)
        assert not caller.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await caller

    assert done == ["work"]
