"""The agent that needs nothing: it answers the same text."""

from __future__ import annotations

from crocbot.model import Message, Reply


class Echo:
    """Says what it was told.  Remembers nothing."""

    name = "echo"

    async def answer(self, message: Message) -> Reply:
        """Answer with the same words, or say what came when there were none."""
        if message.command is not None:
            return Reply(f"/{message.command} {message.text}".rstrip())
        if message.text.strip():
            return Reply(message.text)
        kinds = [medium.kind.replace("_", " ") for medium in message.media]
        return Reply(f"Received: {', '.join(kinds) or 'something'}, without words.")
