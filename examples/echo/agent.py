"""Answer with the same text, part by part: the smallest agent in Python."""

from __future__ import annotations

from collections.abc import AsyncIterator

from crocbot.agents import Question


async def answer(question: Question) -> AsyncIterator[str]:
    """Yield the words of a message one after the other."""
    for word in question.message.split(" "):
        yield f"{word} "
