"""What an agent is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Protocol
from urllib.parse import urlsplit

from crocbot.model import Prompt, Usage

LONGEST_WAIT = 60.0

Answer = AsyncGenerator[str | Usage, None]
"""
Pieces of a text, as they come; an empty one is a sign of life.

Usage is told once at most, at the end, by those who know it.
"""


class Agent(Protocol):
    """
    Whoever answers.

    `name` is one word, as in CROCBOT_AGENT.  `markdown` tells whether the answers are
    Markdown, `remembers` whether it wants to be told what was said before.
    """

    name: str
    markdown: bool
    remembers: bool

    def answer(self, prompt: Prompt) -> Answer:
        """Answer one question.  Raises AgentError."""

    async def check(self) -> str:
        """Try whether it can be asked, and tell what was found; raises AgentError."""

    async def close(self) -> None:
        """Let go of connections."""


def without_password(url: str) -> str:
    """A URL that may be shown."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def retry_after(headers: Mapping[str, str]) -> float | None:
    """How long to wait, if a server says so in seconds."""
    text = headers.get("Retry-After", "")
    return min(float(text), LONGEST_WAIT) if text.isascii() and text.isdigit() else None
