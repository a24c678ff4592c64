"""
A Message to a Reply: whoever answers.

An agent is asked for one message at a time per chat, for many chats at once.  It may
take minutes; it is cancelled when the gateway must stop.  If it has no answer it
raises `AgentError`; anything else that it raises is a bug and is counted as one.
"""

from __future__ import annotations

from typing import Protocol

from crocbot.agents.echo import Echo
from crocbot.model import Message, Reply

__all__ = ["Agent", "Echo"]


class Agent(Protocol):
    """Whoever answers.  `name` is shown by /status."""

    @property
    def name(self) -> str:
        """One word, as in CROCBOT_AGENT."""

    async def answer(self, message: Message) -> Reply:
        """Answer one message."""
