"""
Any server that speaks OpenAI's chat completions, streamed, through the official SDK.

    system prompt, history, message, images  -->  POST {base URL}/chat/completions
    choices[0].delta.content ...             <--  server-sent events
    usage                                    <--  the last of them, where known

A server that does not stream answers with one JSON object, which is as good.
A completion changes nothing in the world, so as long as nothing of it came it is safe
to ask again, after whatever failed.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from crocbot.agents.agent import Answer, retry_after, without_password
from crocbot.errors import AgentError, OperatorError
from crocbot.events import AgentErrorReason
from crocbot.model import Prompt, Usage

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

MOST_BYTES = 1024 * 1024
# The SDK refuses to start without one; a server of one's own does not look at it.
NO_KEY = "none"
JSON = "application/json"
# What comes of reading what is no JSON, or JSON of another shape.
SHAPES = (ValueError, TypeError, AttributeError, LookupError, RecursionError)


class OpenAI:
    """Asks one model of one server."""

    name = "openai"
    markdown = True
    remembers = True

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        model: str,
        system_prompt: str | None,
        connect_seconds: float,
    ) -> None:
        self._base_url = base_url
        self._model = model
        self._system_prompt = system_prompt
        self._usage_wanted = True
        self._client = _client(base_url, api_key, connect_seconds)

    async def answer(self, prompt: Prompt) -> Answer:
        """Ask for a completion and pass on what comes."""
        messages = list(self._messages(prompt))
        async with _translated():
            stream = await self._create(messages)
            try:
                if stream.response.headers.get("Content-Type", "").startswith(JSON):
                    for piece in _completion(await _whole(stream.response)):
                        yield piece
                    return
                async for chunk in stream:
                    # Reasoning and other parts are a sign of life, and no answer.
                    yield _words(chunk)
                    if getattr(chunk, "usage", None) is not None:
                        yield _usage(vars(chunk.usage))
            finally:
                await stream.close()

    async def check(self) -> str:
        """List the models; a server that cannot is there all the same."""
        url = without_password(self._base_url)
        try:
            async with _translated():
                listed = await self._client.models.list(timeout=20.0)
        except AgentError as error:
            if error.fault is AgentErrorReason.REFUSED:
                return f"{url} is there, and lists no models"
            raise
        names = [str(getattr(model, "id", "")) for model in listed.data or ()]
        known = "" if self._model in names else f", without {self._model!r}"
        return f"{url} has {len(names)} models{known}"

    async def close(self) -> None:
        """Close the pool."""
        await self._client.close()

    async def _create(self, messages: list[Any]) -> Any:
        options = {"stream_options": {"include_usage": True}}
        create = self._client.chat.completions.create
        try:
            return await create(
                model=self._model,
                messages=messages,
                stream=True,
                **(options if self._usage_wanted else {}),  # type: ignore[call-overload]
            )
        except Exception as error:
            if not (self._usage_wanted and "stream_options" in str(error)):
                raise
            # An older server; it will not tell how many tokens there were.
            self._usage_wanted = False
            return await self._create(messages)

    def _messages(self, prompt: Prompt) -> Iterable[dict[str, Any]]:
        if self._system_prompt:
            yield {"role": "system", "content": self._system_prompt}
        for exchange in prompt.history:
            yield {"role": "user", "content": exchange.prompt}
            yield {"role": "assistant", "content": exchange.answer}
        yield {"role": "user", "content": _content(prompt)}


def _content(prompt: Prompt) -> str | list[dict[str, Any]]:
    """A text; with images, parts: not every server takes those."""
    if not prompt.images:
        return prompt.text
    pictures = [
        f"data:{image.mime_type};base64,{base64.b64encode(image.content).decode()}"
        for image in prompt.images
    ]
    return [
        {"type": "text", "text": prompt.text},
        *({"type": "image_url", "image_url": {"url": url}} for url in pictures),
    ]


def _client(base_url: str, api_key: str | None, connect_seconds: float) -> AsyncOpenAI:
    try:
        # At need only: it takes half a second, and is an extra.
        import openai
    except ImportError as error:
        raise OperatorError(
            "CROCBOT_AGENT is 'openai': it needs the SDK, pip install 'crocbot[openai]'"
        ) from error
    return openai.AsyncOpenAI(
        base_url=base_url,
        api_key=api_key or NO_KEY,
        max_retries=0,
        timeout=openai.Timeout(None, connect=connect_seconds),
        http_client=openai.DefaultAioHttpClient(),
    )


def _words(chunk: Any) -> str:
    choices = getattr(chunk, "choices", None)
    delta = choices[0].delta if choices else None
    words = getattr(delta, "content", None) or getattr(delta, "refusal", None)
    return words if isinstance(words, str) else ""


async def _whole(response: Any) -> bytes:
    payload = bytearray()
    async for part in response.aiter_bytes():
        payload += part
        if len(payload) > MOST_BYTES:
            raise AgentError("the model's JSON is too long", AgentErrorReason.TOO_LONG)
    return bytes(payload)


def _completion(payload: bytes) -> list[str | Usage]:
    """The text of a completion that came in one piece, and the tokens."""
    completion = json.loads(payload)
    message = completion["choices"][0]["message"]
    words = message.get("content") or message.get("refusal")
    usage = completion.get("usage")
    tokens = [_usage(usage)] if isinstance(usage, Mapping) else []
    return [words if isinstance(words, str) else "", *tokens]


def _usage(usage: Mapping[str, Any]) -> Usage:
    """What a server counted; what is no count is none."""
    counts = (usage.get("prompt_tokens"), usage.get("completion_tokens"))
    return Usage(*(n if type(n) is int and 0 <= n < 2**53 else 0 for n in counts))


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    import httpx2
    import openai

    try:
        yield
    except openai.APIStatusError as error:
        raise _refused(error) from error
    except openai.APIConnectionError as error:
        # It names the time-out of a connection like any other.
        if "Connect" in type(error.__cause__).__name__:
            words = f"cannot connect to the model: {error.__cause__}"
            raise AgentError(words, AgentErrorReason.UNREACHABLE, retry=True) from error
        raise _broken(error.__cause__ or error) from error
    except (openai.APIError, httpx2.HTTPError) as error:
        raise _broken(error) from error
    except (*SHAPES, openai.OpenAIError) as error:
        words = f"the model's answer cannot be read: {type(error).__name__}"
        raise AgentError(words, AgentErrorReason.MALFORMED, retry=True) from error


def _broken(error: BaseException) -> AgentError:
    words = f"the model broke off: {type(error).__name__}"
    return AgentError(words, AgentErrorReason.FAILED, retry=True)


def _refused(error: APIStatusError) -> AgentError:
    status = error.status_code
    words = f"the model's server answered {status}: {error.message[:200]}"
    wait = retry_after(error.response.headers)
    if status in (401, 403):
        return AgentError(words, AgentErrorReason.UNAUTHORIZED)
    if status == 429:
        return AgentError(words, AgentErrorReason.RATE_LIMITED, retry=True, wait=wait)
    if status >= 500 or status in (408, 409):
        return AgentError(words, AgentErrorReason.FAILED, retry=True, wait=wait)
    return AgentError(words, AgentErrorReason.REFUSED)
