"""
Any server with OpenAI's chat completions, streamed, through the official SDK.

    system prompt, history, message, images  -->  POST {base URL}/chat/completions
    choices[0].delta.content ...             <--  server-sent events
    usage                                    <--  in the last event, if supported

The SDK sends the request; the answer is read here, because the SDK does not expect
errors with status 200, contents in parts, or one object in place of a stream.
`dialect.py` makes the requests, `completion.py` reads the objects of an answer,
`server_errors.py` the errors.

A completion has no side effects, so any error is safe to retry as long as no text
arrived.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crocbot import log
from crocbot.agents import sse
from crocbot.agents.answer import Accepts, Answer
from crocbot.agents.completion import (
    FinishReason,
    is_completion,
    read_completion,
)
from crocbot.agents.dialect import Dialect, Request
from crocbot.agents.responses import without_secrets
from crocbot.agents.rules import AgentClient
from crocbot.agents.server_errors import (
    MAX_READ_BYTES,
    MAX_SHOWN_CHARS,
    ServerError,
    error_words,
    read_error,
    shortened,
)
from crocbot.errors import AgentError, OperatorError, UnconfirmedError
from crocbot.model import Prompt, Usage
from crocbot.proxies import NO_PROXIES, Proxies
from crocbot.turn_outcomes import AgentErrorReason

if TYPE_CHECKING:
    from httpx2 import Response
    from openai import AsyncOpenAI

CHECK_SECONDS = 20.0
# The SDK requires a key; a self-hosted server usually ignores it.
NO_KEY = "none"
PATH = "/chat/completions"
SERVER = "the model's server"
MAX_QUOTED_CHARS = 80
# How a server-sent event can begin.
FIELDS = (b"data", b"event", b"id", b"retry", b"error", b":")
BLANK = b" \t\r\n\xef\xbb\xbf"
# What reading malformed JSON, or JSON of another shape, can raise.
SHAPE_ERRORS = (ValueError, TypeError, AttributeError, LookupError, RecursionError)

logger = log.logger(__name__)


class RefusedError(Exception):
    """The server sent an error in place of an answer, or of the rest of one."""

    def __init__(self, error: ServerError) -> None:
        super().__init__(error.words)
        self.error = error


class OpenAIAgent:
    """Asks one model of one server."""

    name = "openai"
    markdown = True
    remembers = True
    accepts = Accepts.IMAGES | Accepts.WORDS

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str | None,
        model: str,
        system_prompt: str | None,
        connect_seconds: float,
        extra: Mapping[str, Any] | None = None,
        proxies: Proxies = NO_PROXIES,
    ) -> None:
        self._base_url = base_url
        self._model = model
        self._dialect = Dialect(
            model=model, system_prompt=system_prompt, extra=extra or {}
        )
        # A completion does nothing twice, so it is sent again if the connection broke.
        client = AgentClient(
            base_url, connect_seconds, retry=True, reuse=True, proxies=proxies
        )
        self._client = _client(base_url, api_key, client)

    async def answer(self, prompt: Prompt) -> Answer:
        """Request a completion and yield its text as it arrives."""
        request: Request | None = self._dialect.request(prompt)
        while request is not None:
            began = False
            try:
                async with aclosing(self._ask(request)) as parts:
                    async for part in parts:
                        began = began or part != ""
                        yield part
                return
            except RefusedError as refused:
                error = refused.error
                request = None if began else self._dialect.adapt(request, error)
                if request is None:
                    raise self._agent_error(prompt, error) from refused

    async def check(self) -> str:
        """
        List the server's models.  Raise UnconfirmedError if it lists none or others.

        Not every server has a list, and some accept models that are not in it.
        """
        url = without_secrets(self._base_url)
        try:
            async with _translated_errors():
                models = await self._client.models.list(timeout=CHECK_SECONDS)
        except RefusedError as refused:
            if refused.error.status in {400, 404, 405, 501}:
                raise UnconfirmedError(
                    f"{url} is there, and lists no models ({refused.error.status}):"
                    " not every server does, or OPENAI_BASE_URL is wrong"
                ) from refused
            raise refused.error.agent_error(SERVER) from refused
        except AgentError as error:
            if error.reason is AgentErrorReason.TOO_LONG:
                return f"{url} is there, and lists more models than are read"
            raise
        names = [str(getattr(model, "id", "")) for model in models.data or ()]
        if self._model not in names:
            raise UnconfirmedError(
                f"{url} has {len(names)} models, without {self._model!r}:"
                " CROCBOT_MODEL may be wrong"
            )
        return f"{url} has {len(names)} models"

    async def close(self) -> None:
        """Close the session."""
        await self._client.close()

    async def _ask(self, request: Request) -> Answer:
        """Send one request and yield its answer.  Raise RefusedError, AgentError."""
        async with _translated_errors(), self._sent(request) as response:
            reading = _Reading(has_history=bool(request.prompt.history))
            async with aclosing(_values(response)) as values:
                async for value in values:
                    parts = reading.feed(value)
                    if not reading.accepted:
                        reading.accepted = True
                        self._dialect.accept(request)
                    for part in parts:
                        yield part
            reading.finish()

    @asynccontextmanager
    async def _sent(self, request: Request) -> AsyncIterator[Response]:
        import openai

        stream = await self._client.post(
            PATH,
            body=request.body(),
            cast_to=object,
            stream=True,
            stream_cls=openai.AsyncStream[object],
        )
        try:
            yield stream.response
        finally:
            await stream.close()

    def _agent_error(self, prompt: Prompt, error: ServerError) -> AgentError:
        # With less history the server may accept as many tokens as a field asks for.
        can_shorten = error.reason is AgentErrorReason.CONTEXT_LENGTH and prompt.history
        invalid = error.effective_status in {400, 422}
        if invalid and not can_shorten and self._dialect.names_extra(error):
            words = shortened(error.words, MAX_SHOWN_CHARS)
            return AgentError(
                f"{SERVER} refuses a field of CROCBOT_MODEL_EXTRA: {words}",
                AgentErrorReason.OPERATOR,
            )
        failure = error.agent_error(SERVER)
        if invalid and error.meaning is None:
            # An unknown word for a history that is too long.
            failure.may_be_history = True
        return failure


@dataclass(slots=True, kw_only=True)
class _Reading:
    """The state of one answer that is being read."""

    has_history: bool
    accepted: bool = False
    _began: bool = False
    _reasoned: bool = False
    _notice: object = None
    _finish: str | None = None
    _finish_reason: FinishReason | None = None

    def feed(self, value: object) -> list[str | Usage]:
        """Return text and usage of one object.  Raise RefusedError, ValueError."""
        completion = read_completion(value)
        if completion.error is not None:
            raise RefusedError(read_error(200, completion.error, {}))
        if completion.notice is not None:
            self._notice = completion.notice
        self._began = self._began or bool(completion.text.strip())
        self._reasoned = self._reasoned or completion.reasoning
        if completion.finish is not None:
            self._finish = completion.finish
            self._finish_reason = completion.finish_reason
        usage = [] if completion.usage is None else [completion.usage]
        # An empty text, such as that of reasoning, shows that the server is alive.
        return [completion.text, *usage]

    def finish(self) -> None:
        """Raise RefusedError, AgentError unless the answer is complete."""
        if not (self._began or self._reasoned or self._finish) and self._notice:
            raise RefusedError(read_error(200, self._notice, {}))
        finish = shortened(self._finish or "", MAX_SHOWN_CHARS)
        because = f"the model ended its answer with finish_reason {finish!r}"
        match self._finish_reason:
            case FinishReason.LENGTH:
                text = self._began or self._reasoned
                reason = AgentErrorReason.CUT_SHORT
                raise AgentError(
                    because, reason if text else AgentErrorReason.CONTEXT_LENGTH
                )
            case FinishReason.FILTERED:
                raise AgentError(because, AgentErrorReason.REFUSED)
            case FinishReason.FAILED:
                raise AgentError(because, AgentErrorReason.FAILED, retry=True)
            case FinishReason.OTHER:
                logger.warning("unknown finish_reason", finish_reason=finish)
        if self.has_history and not (self._began or self._reasoned or self._calls_tool):
            # LM Studio does so if the prompt is too long.
            full = "the model's answer is empty: its context may be full"
            raise AgentError(full, AgentErrorReason.CONTEXT_LENGTH)

    @property
    def _calls_tool(self) -> bool:
        return self._finish in {"tool_calls", "function_call", "tool_use"}


def _client(base_url: str, api_key: str | None, client: AgentClient) -> AsyncOpenAI:
    try:
        # Imported only when chosen: it is an extra, and takes half a second.
        import openai
    except ImportError as error:
        raise OperatorError(
            "CROCBOT_AGENT is 'openai': it needs the SDK, pip install 'crocbot[openai]'"
        ) from error
    from httpx2 import AsyncClient

    from crocbot.agents.transport import AgentTransport

    return openai.AsyncOpenAI(
        base_url=base_url,
        api_key=api_key or NO_KEY,
        max_retries=0,
        # AnswerReader has the timeouts of the answer.
        timeout=None,
        http_client=AsyncClient(transport=AgentTransport(client)),
    )


async def _values(response: Response) -> AsyncGenerator[object, None]:
    """Yield the objects of a response, whatever its Content-Type says it is."""
    chunks = response.aiter_bytes()
    async with aclosing(chunks):
        first = b""
        while not first:
            try:
                first = (await anext(chunks)).lstrip(BLANK)
            except StopAsyncIteration:
                return
        if first.startswith((b"{", b"[")):
            yield _whole(b"".join([first, *[chunk async for chunk in chunks]]))
        elif first.startswith(b"<"):
            raise _web_page(b"".join([first, *[chunk async for chunk in chunks]]))
        else:
            began = False
            async for event in sse.events(_joined(first, chunks)):
                began = True
                if event.is_error:
                    yield {"error": event.data or "no words"}
                elif _has_value(event):
                    yield _parsed(event.data)
            if not (began or first.startswith(FIELDS)):
                raise _malformed("no answer", first)


def _has_value(event: sse.ServerSentEvent) -> bool:
    """Return whether an event has JSON, or data where JSON is expected."""
    data = event.data.lstrip()
    if data.rstrip() == sse.DONE:
        return False
    return data.startswith(("{", "[")) or not event.is_control


async def _joined(
    first: bytes, chunks: AsyncIterator[bytes]
) -> AsyncGenerator[bytes, None]:
    yield first
    async for chunk in chunks:
        yield chunk


def _whole(body: bytes) -> object:
    """Return the object of an answer that is not streamed.  Raise AgentError."""
    value = _parsed(body)
    completion = read_completion(value)
    explained = completion.error is not None or completion.notice is not None
    if not explained and not is_completion(value):
        raise _malformed("JSON without an answer", body)
    return value


def _parsed(text: str | bytes) -> object:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _malformed("what is not JSON", text) from error
    return value


def _malformed(what: str, content: str | bytes) -> AgentError:
    """Return an error that quotes the beginning of what the server sent."""
    text = content if isinstance(content, str) else content.decode(errors="replace")
    quoted = shortened(text[:MAX_READ_BYTES], MAX_QUOTED_CHARS)
    return AgentError(
        f"{SERVER} sent {what}: {quoted!r}", AgentErrorReason.MALFORMED, retry=True
    )


def _web_page(page: bytes) -> AgentError:
    title = error_words(page[:MAX_READ_BYTES].decode(errors="replace"))
    return AgentError(
        f"{SERVER} sent a web page, {shortened(title, MAX_QUOTED_CHARS)!r}: set"
        " OPENAI_BASE_URL to the address of its API, which often ends with /v1",
        AgentErrorReason.OPERATOR,
    )


@asynccontextmanager
async def _translated_errors() -> AsyncIterator[None]:
    import httpx2
    import openai

    try:
        yield
    except openai.APIStatusError as error:
        response = error.response
        raise RefusedError(
            read_error(error.status_code, response.content, response.headers)
        ) from error
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
