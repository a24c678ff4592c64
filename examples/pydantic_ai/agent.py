"""
An agent of Pydantic AI, with the history of the chat.

pip install 'pydantic-ai-slim[openai]'
MODEL=openai:gpt-4o-mini is any model that Pydantic AI knows.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

from pydantic_ai import Agent
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    UserPromptPart,
)

from crocbot.agents import Piece, Question, Usage

agent = Agent(os.environ.get("MODEL", "openai:gpt-4o-mini"))


@agent.tool_plain
def crocodile_facts() -> str:
    """Return what is known about crocodiles."""
    return "Crocodiles are 95 million years old."


async def answer(question: Question) -> AsyncIterator[Piece]:
    """Stream the answer of the model, then its tokens."""
    async with agent.run_stream(
        question.prompt, message_history=list(history(question))
    ) as result:
        async for text in result.stream_text(delta=True):
            yield text
        used = result.usage() if callable(result.usage) else result.usage
    yield Usage(used.input_tokens or 0, used.output_tokens or 0)


def history(question: Question) -> list[ModelMessage]:
    """Return the chat's history as messages of Pydantic AI."""
    return [
        ModelRequest(parts=[UserPromptPart(each.content)])
        if each.role == "user"
        else ModelResponse(parts=[TextPart(each.content)])
        for each in question.history
    ]
