"""The interface of an agent, and what the agents that call a server share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Protocol
from urllib.parse import urlsplit

from crocbot.model import Prompt, Usage

MAX_RETRY_AFTER_SECONDS = 60.0

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


def without_password(url: str) -> str:
    """Return a URL without user and password, for output."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a Retry-After header, bounded; None for any other value."""
    text = headers.get("Retry-After", "")
    if not (text.isascii() and text.isdigit()):
        return None
    return min(float(text), MAX_RETRY_AFTER_SECONDS)
