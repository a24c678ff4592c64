"""The agent that needs nothing: it answers with the same text."""

from __future__ import annotations

from crocbot.agents.answer import Accepts, Answer
from crocbot.model import Prompt
from crocbot.text import is_visible


class EchoAgent:
    """Answers with the text of the message; keeps no memory."""

    name = "echo"
    markdown = False
    remembers = False
    accepts = Accepts.NOTHING

    async def answer(self, prompt: Prompt) -> Answer:
        """Yield the text of the message, or the types of its attachments."""
        message = prompt.message
        types = [each.type.replace("_", " ") for each in message.attachments]
        if message.command is not None:
            yield f"/{message.command} {message.text}".rstrip()
        elif is_visible(message.text):
            yield message.text
        else:
            yield f"Received: {', '.join(types) or 'something'}, without words."

    async def check(self) -> str:
        """Return what it does; it cannot fail."""
        return "echo answers the same text"

    async def close(self) -> None:
        """Do nothing: there is no connection."""
