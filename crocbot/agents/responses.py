"""
Helpers of `http`, `openai` and `command`.

They decode responses, read token usage and errors, and build chat messages.
"""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from urllib.parse import urlsplit

from crocbot.events import AgentErrorReason
from crocbot.model import Prompt, Usage

MAX_RETRY_AFTER_SECONDS = 60.0
MAX_TOKENS = 2**53
STATUS_REASONS: Mapping[int, AgentErrorReason] = {
    401: AgentErrorReason.UNAUTHORIZED,
    403: AgentErrorReason.UNAUTHORIZED,
    408: AgentErrorReason.FAILED,
    409: AgentErrorReason.FAILED,
    429: AgentErrorReason.RATE_LIMITED,
}


async def decoded(chunks: AsyncIterable[bytes]) -> AsyncIterator[str]:
    """Yield UTF-8 text; a character may be split between two chunks."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    async for chunk in chunks:
        yield decoder.decode(chunk)
    yield decoder.decode(b"", final=True)


def token_usage(value: object) -> list[Usage]:
    """Return the token usage in an object, if there is one; no valid count is 0."""
    if not isinstance(value, Mapping):
        return []

    def count(*keys: str) -> int:
        found = (value.get(key) for key in keys)
        return next((n for n in found if type(n) is int and 0 <= n < MAX_TOKENS), 0)

    return [
        Usage(
            count("input_tokens", "prompt_tokens"),
            count("output_tokens", "completion_tokens"),
        )
    ]


def chat_messages(prompt: Prompt) -> list[dict[str, str]]:
    """Return the chat's history as OpenAI's chat messages."""
    return [
        {"role": role, "content": content}
        for exchange in prompt.history
        for role, content in (
            ("user", exchange.prompt),
            ("assistant", exchange.answer),
        )
    ]


def status_reason(status: int) -> AgentErrorReason:
    """Return what an HTTP status other than 200 means."""
    if status in STATUS_REASONS:
        return STATUS_REASONS[status]
    refused = 400 <= status < 500
    return AgentErrorReason.REFUSED if refused else AgentErrorReason.FAILED


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a Retry-After header, bounded; None for any other value."""
    text = headers.get("Retry-After", "")
    if not (text.isascii() and text.isdigit()):
        return None
    return min(float(text), MAX_RETRY_AFTER_SECONDS)


def without_secrets(url: str) -> str:
    """Return a URL without user, password and query, for output."""
    parts = urlsplit(url)
    netloc = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=netloc, query="", fragment="").geturl()
