"""An agent in Python that repeats messages, and gets the conversation of the chat."""

from __future__ import annotations

from collections.abc import AsyncIterator

from crocbot.agents import Question


async def answer(question: Question) -> AsyncIterator[str]:
    """Yield the text of the message."""
    yield question.message
