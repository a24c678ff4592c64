"""
Any server with OpenAI's chat completions, streamed, through the official SDK.

    system prompt, history, message, images  -->  POST {base URL}/chat/completions
    choices[0].delta.content ...             <--  server-sent events
    usage                                    <--  in the last event, if supported

A server that does not stream may answer with one JSON object.  A completion has no side
effects, so any error is safe to retry as long as no text arrived.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from crocbot.agents.answer import Answer
from crocbot.agents.responses import (
    chat_messages,
    retry_after,
    status_reason,
    token_usage,
    without_secrets,
)
from crocbot.agents.rules import AgentClient
from crocbot.errors import AgentError, OperatorError
from crocbot.events import AgentErrorReason
from crocbot.model import Prompt, Usage

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

CHECK_SECONDS = 20.0
# The SDK requires a key; a self-hosted server usually ignores it.
NO_KEY = "none"
JSON = "application/json"
# What reading malformed JSON, or JSON of another shape, can raise.
SHAPE_ERRORS = (ValueError, TypeError, AttributeError, LookupError, RecursionError)


class OpenAIAgent:
    """Asks one model of one server."""

    name = "openai"
    markdown = True
    remembers = True

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str | None,
        model: str,
        system_prompt: str | None,
        connect_seconds: float,
    ) -> None:
        self._base_url = base_url
        self._model = model
        self._system_prompt = system_prompt
        self._supports_usage = True
        self._client = _client(base_url, api_key, connect_seconds)

    async def answer(self, prompt: Prompt) -> Answer:
        """Request a completion and yield its text as it arrives."""
        messages = list(self._messages(prompt))
        async with _translated_errors():
            stream = await self._create(messages)
            try:
                if stream.response.headers.get("Content-Type", "").startswith(JSON):
                    for part in _completion(await stream.response.aread()):
                        yield part
                    return
                async for chunk in stream:
                    # Chunks without text, such as reasoning, show that it is alive.
                    yield _text(chunk)
                    if getattr(chunk, "usage", None) is not None:
                        for usage in token_usage(vars(chunk.usage)):
                            yield usage
            finally:
                await stream.close()

    async def check(self) -> str:
        """List the server's models; not every server supports that."""
        url = without_secrets(self._base_url)
        try:
            async with _translated_errors():
                models = await self._client.models.list(timeout=CHECK_SECONDS)
        except AgentError as error:
            if error.reason is AgentErrorReason.REFUSED:
                return f"{url} is there, and lists no models"
            if error.reason is AgentErrorReason.TOO_LONG:
                return f"{url} is there, and lists more models than are read"
            raise
        names = [str(getattr(model, "id", "")) for model in models.data or ()]
        missing = "" if self._model in names else f", without {self._model!r}"
        return f"{url} has {len(names)} models{missing}"

    async def close(self) -> None:
        """Close the session."""
        await self._client.close()

    async def _create(self, messages: list[Any]) -> Any:
        options = {"stream_options": {"include_usage": True}}
        create = self._client.chat.completions.create
        try:
            return await create(
                model=self._model,
                messages=messages,
                stream=True,
                **(options if self._supports_usage else {}),  # type: ignore[call-overload]
            )
        except Exception as error:
            if not (self._supports_usage and "stream_options" in str(error)):
                raise
            # An older server, which does not count tokens.
            self._supports_usage = False
            return await self._create(messages)

    def _messages(self, prompt: Prompt) -> Iterable[dict[str, Any]]:
        if self._system_prompt:
            yield {"role": "system", "content": self._system_prompt}
        yield from chat_messages(prompt)
        yield {"role": "user", "content": _content(prompt)}


def _content(prompt: Prompt) -> str | list[dict[str, Any]]:
    """Return a list only for images, because not every server accepts lists."""
    if not prompt.images:
        return prompt.text
    urls = [
        f"data:{image.mime_type};base64,{base64.b64encode(image.content).decode()}"
        for image in prompt.images
    ]
    return [
        {"type": "text", "text": prompt.text},
        *({"type": "image_url", "image_url": {"url": url}} for url in urls),
    ]


def _client(base_url: str, api_key: str | None, connect_seconds: float) -> AsyncOpenAI:
    try:
        # Imported only when chosen: it is an extra, and takes half a second.
        import openai
    except ImportError as error:
        raise OperatorError(
            "CROCBOT_AGENT is 'openai': it needs the SDK, pip install 'crocbot[openai]'"
        ) from error
    from httpx2 import AsyncClient

    from crocbot.agents.transport import AgentTransport

    # A completion does nothing twice, so it is sent again if the connection broke.
    client = AgentClient(base_url, connect_seconds, retry=True, reuse=True)
    return openai.AsyncOpenAI(
        base_url=base_url,
        api_key=api_key or NO_KEY,
        max_retries=0,
        # AnswerReader has the timeouts of the answer.
        timeout=None,
        http_client=AsyncClient(transport=AgentTransport(client)),
    )


def _text(chunk: Any) -> str:
    choices = getattr(chunk, "choices", None)
    delta = choices[0].delta if choices else None
    text = getattr(delta, "content", None) or getattr(delta, "refusal", None)
    return text if isinstance(text, str) else ""


def _completion(payload: bytes) -> list[str | Usage]:
    """Return the text and the token usage of a completion that was not streamed."""
    completion = json.loads(payload)
    message = completion["choices"][0]["message"]
    text = message.get("content") or message.get("refusal")
    usage = token_usage(completion.get("usage"))
    return [text if isinstance(text, str) else "", *usage]


@asynccontextmanager
async def _translated_errors() -> AsyncIterator[None]:
    import httpx2
    import openai

    try:
        yield
    except openai.APIStatusError as error:
        raise _status_error(error) from error
    except openai.APIConnectionError as error:
        if isinstance(error.__cause__, AgentError):
            raise error.__cause__ from error
        raise _broken_connection(error.__cause__ or error) from error
    except (openai.APIError, httpx2.HTTPError) as error:
        raise _broken_connection(error) from error
    except (*SHAPE_ERRORS, openai.OpenAIError) as error:
        text = f"the model's answer cannot be read: {type(error).__name__}"
        raise AgentError(text, AgentErrorReason.MALFORMED, retry=True) from error


def _broken_connection(error: BaseException) -> AgentError:
    text = f"the connection to the model broke: {type(error).__name__}"
    return AgentError(text, AgentErrorReason.FAILED, retry=True)


def _status_error(error: APIStatusError) -> AgentError:
    reason = status_reason(error.status_code)
    return AgentError(
        f"the model's server answered {error.status_code}: {error.message[:200]}",
        reason,
        retry=reason in (AgentErrorReason.RATE_LIMITED, AgentErrorReason.FAILED),
        wait=retry_after(error.response.headers),
    )
