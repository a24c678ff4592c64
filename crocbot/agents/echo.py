"""The agent that needs nothing: it answers the same text."""

from __future__ import annotations

from crocbot.agents.agent import Answer
from crocbot.model import Prompt
from crocbot.text import visible


class Echo:
    """Says what it was told.  Remembers nothing."""

    name = "echo"
    markdown = False
    remembers = False

    async def answer(self, prompt: Prompt) -> Answer:
        """Answer with the same words, or say what came when there were none."""
        message = prompt.message
        kinds = [medium.type.replace("_", " ") for medium in message.attachments]
        if message.command is not None:
            yield f"/{message.command} {message.text}".rstrip()
        elif visible(message.text):
            yield message.text
        else:
            yield f"Received: {', '.join(kinds) or 'something'}, without words."

    async def check(self) -> str:
        """Nothing can be wrong with it."""
        return "echo answers the same text"

    async def close(self) -> None:
        """There is nothing to let go of."""
