"""Answers and pushed messages of a chat: never mixed, never stuck."""

from __future__ import annotations

import asyncio
import random

import pytest

from crocbot.reply import ChatOrder

CHAT = 7


async def settle() -> None:
    """Let all tasks run until they wait."""
    for _ in range(10):
        await asyncio.sleep(0)


async def push(order: ChatOrder, log: list[str], name: str = "push") -> None:
    """Deliver a message of two parts."""
    async with order.pushing(CHAT):
        for part in (1, 2):
            log.append(f"{name} {part}")
            await asyncio.sleep(0)


async def test_a_push_waits_for_an_answer() -> None:
    """It comes after the last part, and before the next answer."""
    order, log = ChatOrder(), ["answer"]
    first, second = order.answer(CHAT), order.answer(CHAT)
    await first.take()
    pushing = asyncio.create_task(push(order, log))
    await settle()
    assert log == ["answer"]
    first.leave()
    await second.take()
    assert log == ["answer", "push 1", "push 2"]
    second.leave()
    await pushing


async def test_a_stop_does_not_wait_for_a_push_that_waits() -> None:
    """The answer to /stop is what ends the answer that the push waits for."""
    order, log = ChatOrder(), list[str]()
    running, stop = order.answer(CHAT), order.answer(CHAT)
    await running.take()
    pushing = asyncio.create_task(push(order, log))
    await settle()
    await asyncio.wait_for(stop.take(), 60)
    running.leave()
    stop.leave()
    await asyncio.wait_for(pushing, 60)
    assert log == ["push 1", "push 2"]


async def test_other_chats_do_not_wait() -> None:
    """Each chat has an order of its own."""
    order = ChatOrder()
    await order.answer(8).take()
    await asyncio.wait_for(push(order, []), 60)


@pytest.mark.parametrize("seed", range(20))
async def test_any_order_ends(seed: int) -> None:
    """Answers and pushes that come and are cancelled at random never get stuck."""
    chance, order, inside = random.Random(seed), ChatOrder(), list[str]()

    async def pause() -> None:
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)

    async def answer() -> None:
        place = order.answer(CHAT)
        try:
            await pause()
            await place.take()
            assert "push" not in inside
            inside.append("answer")
            try:
                await pause()
            finally:
                inside.remove("answer")
        finally:
            place.leave()

    async def one_push() -> None:
        await pause()
        async with order.pushing(CHAT):
            assert inside == []
            inside.append("push")
            try:
                await pause()
            finally:
                inside.remove("push")

    tasks = [
        asyncio.create_task(answer() if chance.random() < 0.5 else one_push())
        for _ in range(30)
    ]
    for task in chance.sample(tasks, 8):
        await pause()
        task.cancel()
    async with asyncio.timeout(60):
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert not [each for each in results if isinstance(each, AssertionError)]
    assert order.is_idle
