"""The interface of an agent."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from crocbot.model import Prompt, Usage

Answer = AsyncGenerator[str | Usage, None]
"""
The text of an answer, part by part as it is written, and its token usage.

An empty text shows that the agent is alive.  Usage is optional, comes once and last.
"""


class Agent(Protocol):
    """
    Answers prompts.

    `name` is the value of CROCBOT_AGENT.  `markdown` is True if its answers are in
    Markdown, `remembers` if it needs the chat's history and images in the prompt.
    """

    name: str
    markdown: bool
    remembers: bool

    def answer(self, prompt: Prompt) -> Answer:
        """Answer one prompt.  Raise AgentError."""

    async def check(self) -> str:
        """Return one line about a successful test of the agent, or raise AgentError."""

    async def close(self) -> None:
        """Release connections."""
