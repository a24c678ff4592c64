"""
Helpers of `http`, `openai` and `command`.

They decode responses, read content and token usage, and build chat messages.
"""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from urllib.parse import urlsplit

from crocbot.model import Prompt, Usage

MAX_TOKENS = 2**53
# Types of the parts of a list that are text; a part without a type is text, too.
TEXT_TYPES = ("text", "output_text", "refusal")


async def decoded(chunks: AsyncIterable[bytes]) -> AsyncIterator[str]:
    """Yield UTF-8 text without a byte order mark; chunks may split a character."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
    async for chunk in chunks:
        yield decoder.decode(chunk)
    yield decoder.decode(b"", final=True)


def token_usage(value: object) -> list[Usage]:
    """Return the token usage in an object, if there is one; no valid count is 0."""
    if not isinstance(value, Mapping):
        return []

    def count(counts: Mapping[str, object], *keys: str) -> int:
        found = (counts.get(key) for key in keys)
        return next((n for n in found if type(n) is int and 0 <= n < MAX_TOKENS), 0)

    details = value.get("prompt_tokens_details") or value.get("input_tokens_details")
    # Servers like DeepSeek's have the count beside the others.
    cached = count(value, "cached_tokens", "prompt_cache_hit_tokens")
    if isinstance(details, Mapping):
        cached = count(details, "cached_tokens") or cached
    return [
        Usage(
            count(value, "input_tokens", "prompt_tokens"),
            count(value, "output_tokens", "completion_tokens"),
            cached,
        )
    ]


def content_text(value: object) -> str:
    """
    Return the text of a content, which is a text, a part, or a list of parts.

        [{"type": "thinking", ...}, {"type": "text", "text": "Hi."}] --> "Hi."
    """
    if isinstance(value, str):
        return value
    parts = value if isinstance(value, list) else [value]
    return "".join(_part_text(part) for part in parts)


def _part_text(part: object) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping) or part.get("type", "text") not in TEXT_TYPES:
        return ""
    text = part.get("text", part.get("refusal"))
    if isinstance(text, Mapping):
        text = text.get("value")
    return text if isinstance(text, str) else ""


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


def without_secrets(url: str) -> str:
    """Return a URL without user, password and query, for output."""
    parts = urlsplit(url)
    netloc = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=netloc, query="", fragment="").geturl()
