"""
A server with the dialects of many servers of models, one a path.

    POST /{dialect}/v1/chat/completions     OPENAI_BASE_URL=http://HOST/{dialect}/v1

At the path BY_MESSAGE the message is the name of the dialect.
Each row of DIALECTS is one of them: what it answers, and what the person gets.  The
words are those of the real servers.  The next dialect is one row more.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from crocbot.turn_outcomes import AgentErrorReason as Reason
from tests.crocbot.fakes import serving

Body = Mapping[str, Any]
JSON = "application/json"
EVENTS = "text/event-stream"
BY_MESSAGE = "by-message"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server sends: a status, pieces of a body, headers."""

    pieces: tuple[bytes, ...]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON


Behaviour = Callable[[Body], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """
    One dialect: how the server answers, and what comes of it after `requests`.

    `prompt` is what is asked: "text", "photo", or "history", which has 8 exchanges.
    """

    answer: Behaviour
    text: str = "Hi."
    reason: Reason | None = None
    requests: int = 1
    prompt: str = "text"


def as_json(value: Any, status: int = 200, **headers: str) -> Behaviour:
    """Answer with JSON."""
    answer = Answer((json.dumps(value).encode(),), status, headers)
    return lambda _: answer


def page(text: str, status: int = 200, content_type: str = "text/html") -> Behaviour:
    """Answer with a text that is not JSON."""
    return lambda _: Answer((text.encode(),), status, {}, content_type)


def stream(*pieces: bytes | str | Body) -> Behaviour:
    """Answer with a stream: bytes as they are, texts and objects as chunks."""
    return lambda _: Answer(tuple(map(event, pieces)), content_type=EVENTS)


def event(piece: bytes | str | Body) -> bytes:
    """Return one event: a text is the content of a chunk."""
    if isinstance(piece, bytes):
        return piece
    value = chunk(piece) if isinstance(piece, str) else piece
    return f"data: {json.dumps(value)}\n\n".encode()


def chunk(content: Any, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """Return one chunk of a completion."""
    delta = {"content": content, **more}
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def whole(content: Any, finish: str = "stop") -> dict[str, Any]:
    """Return a completion that is not streamed."""
    message = {"role": "assistant", "content": content}
    return {"choices": [{"message": message, "finish_reason": finish}]}


def error(message: str, **more: Any) -> dict[str, Any]:
    """Return an error in OpenAI's form."""
    return {"error": {"message": message, **more}}


def detail(place: str, message: str, kind: str, given: Any = None) -> dict[str, Any]:
    """Return an error in FastAPI's form, which quotes the request."""
    one = {"type": kind, "loc": ["body", *place.split(".")], "msg": message}
    return {"detail": [{**one, "input": given}]}


DONE = b"data: [DONE]\n\n"
HI = stream("H", chunk("i.", "stop"), DONE)
HI_WHOLE = as_json(whole("Hi."))


def refuses(condition: Callable[[Body], bool], refusal: Behaviour) -> Behaviour:
    """Refuse what meets a condition, answer everything else, streamed if asked so."""

    def answer(body: Body) -> Answer:
        if condition(body):
            return refusal(body)
        return HI(body) if body.get("stream") else HI_WHOLE(body)

    return answer


def has_usage(body: Body) -> bool:
    """Return whether the server is asked to count tokens."""
    return "stream_options" in body


def streams(body: Body) -> bool:
    """Return whether a stream is asked for."""
    return bool(body.get("stream"))


def has_system(body: Body) -> bool:
    """Return whether there is a message of the role system."""
    return any(message["role"] == "system" for message in body["messages"])


def has_image(body: Body) -> bool:
    """Return whether the last message has an image."""
    return isinstance(body["messages"][-1]["content"], list)


def has_history(body: Body) -> bool:
    """Return whether there is an earlier answer."""
    return any(message["role"] == "assistant" for message in body["messages"])


def has_long_history(body: Body) -> bool:
    """Return whether there are more than 4 earlier answers."""
    roles = [message["role"] for message in body["messages"]]
    return roles.count("assistant") > 4


def no_limit(body: Body) -> bool:
    """Return whether the number of tokens has no limit."""
    return "max_tokens" not in body


def too_long(message: str, status: int = 400, **more: Any) -> Dialect:
    """Return a server for which any history is too long."""
    refusal = as_json(error(message, **more), status)
    return Dialect(answer=refuses(has_history, refusal), prompt="history", requests=3)


def blind(refusal: Any, status: int = 400) -> Dialect:
    """Return a server whose model takes no images."""
    answer = refuses(has_image, as_json(refusal, status))
    return Dialect(answer=answer, prompt="photo", requests=2)


def without(condition: Callable[[Body], bool], refusal: Any, status: int) -> Dialect:
    """Return a server that answers if a part of the request is left out."""
    answer = refuses(condition, as_json(refusal, status))
    return Dialect(answer=answer, requests=2)


def fails(answer: Behaviour, reason: Reason, requests: int = 1) -> Dialect:
    """Return a server that never answers."""
    return Dialect(answer=answer, text="", reason=reason, requests=requests)


def breaks(answer: Behaviour, text: str, reason: Reason) -> Dialect:
    """Return a server that answers with a part of a text."""
    return Dialect(answer=answer, text=text, reason=reason)


UNKNOWN_MODEL = "The model `m` does not exist or you do not have access to it."
DECLINES_STREAM = "Unsupported value: 'stream' does not support true with this model."
QUOTA = "You exceeded your current quota, please check your plan and billing details."
FORBIDDEN = "Extra inputs are not permitted"

DIALECTS: Mapping[str, Dialect] = {
    # A history that is too long.
    "openai-long": too_long(
        "This model's maximum context length is 4097 tokens.",
        code="context_length_exceeded",
    ),
    "llama.cpp-long": too_long(
        "the request exceeds the available context size, try increasing it",
        type="exceed_context_size_error",
        n_ctx=256,
    ),
    "llama.cpp-long-500": too_long(
        "the request exceeds the available context size. try increasing it",
        code=500,
        type="exceed_context_size_error",
        status=500,
    ),
    "anthropic-long": too_long("prompt is too long: 213462 tokens > 200000 maximum"),
    "gemini-long": too_long(
        "The input token count (1196265) exceeds the maximum number of tokens allowed"
    ),
    "groq-long": too_long("Please reduce the length of the messages or completion."),
    "mistral-long": too_long(
        "Prompt contains 40000 tokens and 0 draft tokens, too large for model with"
        " 32768 maximum context length"
    ),
    "lm-studio-long": too_long(
        "The number of tokens to keep from the initial prompt is greater than the"
        " context length."
    ),
    "ollama-long": too_long("prompt too long; exceeded max context length by 4 tokens"),
    "xai-long": too_long("This model's maximum prompt length is 131072 but ..."),
    "tokens-long": too_long("Total tokens 5000 exceed the limit of 4096"),
    "vllm-limit-long": too_long(
        "'max_tokens' is too large: 4096. This model's maximum context length is 8192"
        " tokens and your request has 5000 input tokens."
    ),
    "tgi-long": too_long("`inputs` must have less than 1024 tokens. Given: 5000", 422),
    "tokens-per-minute": too_long(
        "Request too large for model `m` on tokens per minute (TPM): Limit 6000,"
        " Requested 8000, please reduce your message size and try again.",
        413,
        code="rate_limit_exceeded",
    ),
    "openrouter-long": too_long(
        "Provider returned error",
        metadata={"raw": json.dumps(error("input is too long for requested model"))},
    ),
    "unknown-long": Dialect(
        answer=refuses(has_history, as_json({"fault": "flux too low"}, 400)),
        prompt="history",
        requests=5,
    ),
    "half-is-enough": Dialect(
        answer=refuses(has_long_history, as_json(error("too many tokens"), 400)),
        prompt="history",
        requests=2,
    ),
    "proxy-limit": Dialect(
        answer=refuses(
            has_history, page("<html><title>413 Request Entity Too Large", 413)
        ),
        prompt="history",
        requests=3,
    ),
    "llama.cpp-old-stream": Dialect(
        answer=refuses(
            has_history,
            stream(
                b'error: {"code":400,"message":"the request exceeds the available'
                b' context size"}\n\ndata: [DONE]\n\n'
            ),
        ),
        prompt="history",
        requests=3,
    ),
    "lm-studio-silent": Dialect(
        answer=refuses(has_history, stream(chunk("", "stop"))),
        prompt="history",
        requests=3,
    ),
    "no-room-for-an-answer": Dialect(
        answer=refuses(has_history, stream(chunk("", "length"))),
        prompt="history",
        requests=3,
    ),
    "message-too-long": fails(
        as_json(error("prompt is too long"), 400), Reason.CONTEXT_LENGTH
    ),
    # A part of the request that is refused.
    "mistral-usage": without(
        has_usage,
        {
            "object": "error",
            "message": detail("stream_options", FORBIDDEN, "extra_forbidden"),
            "type": "invalid_request_error",
        },
        422,
    ),
    "fastapi-usage": without(
        has_usage, detail("stream_options", FORBIDDEN, "extra_forbidden"), 422
    ),
    "usage-in-words": without(has_usage, error("unknown field: stream_options"), 400),
    "usage-without-a-word": without(has_usage, {"detail": "Bad Request"}, 400),
    "openai-o1-stream": without(
        streams, error(DECLINES_STREAM, param="stream", code="unsupported_value"), 400
    ),
    "openai-unverified": without(
        streams, error("Your organization must be verified to stream this model."), 400
    ),
    "fastapi-stream": without(
        streams, detail("stream", FORBIDDEN, "extra_forbidden", given=True), 422
    ),
    "no-streaming": without(streams, error("Streaming is not supported."), 501),
    "openai-o1-system": without(
        has_system,
        error(
            "Unsupported value: 'messages[0].role' does not support 'system' with this"
            " model.",
            param="messages[0].role",
        ),
        400,
    ),
    "gemma-system": without(has_system, error("System role not supported"), 400),
    "gemini-system": without(
        has_system, [error("Developer instruction is not enabled for models/m")], 400
    ),
    "template-system": without(
        has_system,
        error("Conversation roles must alternate user/assistant/user/assistant/..."),
        500,
    ),
    "fastapi-system": without(
        has_system,
        detail("messages.0.role", "Input should be 'user' or 'assistant'", "literal"),
        422,
    ),
    "anthropic-limit": without(no_limit, error("max_tokens: Field required"), 400),
    "fastapi-limit": without(
        no_limit, detail("max_tokens", "Field required", "missing"), 422
    ),
    # A model without eyes.
    "ollama-blind": blind(error("this model does not support image input")),
    "llama.cpp-blind": blind(
        error(
            "image input is not supported - hint: if this is unexpected, you may need"
            " to provide the mmproj",
            code=500,
            type="server_error",
        ),
        500,
    ),
    "openai-blind": blind(
        error("Invalid content type. image_url is only supported by certain models.")
    ),
    "deepseek-blind": blind(
        error(
            "Failed to deserialize the JSON body into the target type: messages[1]:"
            " unknown variant `image_url`, expected `text` at line 1 column 99"
        )
    ),
    "groq-blind": blind(error("'messages.1' : content must be a string")),
    "openrouter-blind": blind(
        error("No endpoints found that support image input", code=404), 404
    ),
    "mistral-blind": blind(error("Image input is not enabled for this model")),
    "vllm-blind": blind(
        error("At most 0 image(s) may be provided in one prompt.", code=400)
    ),
    "vllm-old-blind": blind(error("m is not a multimodal model")),
    "lm-studio-blind": blind({"error": "Model does not support images."}),
    "fastapi-blind": blind(
        detail("messages.1.content", "Input should be a valid string", "string_type"),
        422,
    ),
    "blind-without-a-word": blind("Internal Server Error", 500),
    "image-too-large": blind("", 413),
    "broken-image": blind(error("You uploaded an unsupported image."), 400),
    # Contents and thinking.
    "parts": Dialect(
        answer=as_json(
            whole([{"type": "text", "text": "H"}, {"type": "text", "text": "i."}])
        )
    ),
    "one-part": Dialect(answer=as_json(whole({"type": "text", "text": "Hi."}))),
    "one-part-in-a-stream": Dialect(
        answer=stream(chunk({"type": "text", "text": "H"}), "i.", DONE)
    ),
    "code-of-a-success": Dialect(
        answer=as_json(
            whole("Hi.") | {"code": 0, "message": "ok", "base_resp": {"status_code": 0}}
        )
    ),
    "message-before-an-answer": Dialect(
        answer=stream({"message": "waiting for a slot"}, "Hi.", DONE)
    ),
    "ping": Dialect(answer=stream(b"event: ping\ndata: keep-alive\n\n", "Hi.", DONE)),
    "parts-in-a-stream": Dialect(answer=stream(chunk(["H", {"text": "i."}]))),
    "magistral": Dialect(
        answer=stream(
            chunk([{"type": "thinking", "thinking": [{"type": "text", "text": "x"}]}]),
            chunk([{"type": "text", "text": "Hi."}]),
        )
    ),
    "think": Dialect(answer=stream("<think>A greet", "ing.</th", "ink>\n\nHi.")),
    "think-whole": Dialect(answer=as_json(whole("<think>Hm.</think>\n\nHi."))),
    "think-opened": Dialect(answer=stream("A greeting.", "\n</thi", "nk>\n\nHi.")),
    "reasoning": Dialect(
        answer=stream(chunk(None, reasoning_content="A greeting."), "Hi.")
    ),
    "message-in-a-stream": Dialect(answer=stream(whole("Hi."))),
    "text-completion": Dialect(answer=as_json({"choices": [{"text": "Hi."}]})),
    "json-called-a-stream": Dialect(
        answer=page(json.dumps(whole("Hi.")), content_type=EVENTS)
    ),
    "stream-called-json": Dialect(
        answer=page('data: {"choices":[{"delta":{"content":"Hi."}}]}\n\n')
    ),
    "cr-lines": Dialect(
        answer=stream(
            b'\xef\xbb\xbfdata: {"choices":[{"delta":', b'{"content":"Hi."}}]}\r\r'
        )
    ),
    "comments": Dialect(answer=stream(b": OPENROUTER PROCESSING\n\n", "Hi.")),
    # Reasons to stop.
    "cut-short": breaks(
        stream("Half a", chunk("", "length")), "Half a", Reason.CUT_SHORT
    ),
    "cut-short-whole": breaks(
        as_json(whole("Half a", "length")), "Half a", Reason.CUT_SHORT
    ),
    "cut-short-gemini": breaks(
        stream("Half a", chunk("", "MAX_TOKENS")), "Half a", Reason.CUT_SHORT
    ),
    "cut-short-mistral": breaks(
        stream("Half a", chunk("", "model_length")), "Half a", Reason.CUT_SHORT
    ),
    "filtered": breaks(
        stream("Half a", chunk("", "content_filter")), "Half a", Reason.REFUSED
    ),
    "filtered-whole": fails(as_json(whole("", "content_filter")), Reason.REFUSED),
    "no-resources": breaks(
        stream("Half a", chunk("", "insufficient_system_resource")),
        "Half a",
        Reason.FAILED,
    ),
    "thought-too-long": fails(
        stream(chunk("", reasoning="Hm"), chunk("", "length")), Reason.EMPTY
    ),
    "unknown-finish": Dialect(answer=stream("Hi.", chunk("", "because"))),
    # Errors with status 200.
    "error-200": fails(as_json(error("Overloaded", code=503)), Reason.FAILED, 3),
    "error-200-model": fails(
        as_json({"error": "No models loaded. Please load a model."}), Reason.OPERATOR
    ),
    "error-200-path": fails(
        as_json({"error": "Unexpected endpoint or method. (POST /chat/completions)"}),
        Reason.OPERATOR,
    ),
    "error-200-unknown": fails(as_json(error("flux too low")), Reason.FAILED, 3),
    "error-200-in-a-list": fails(
        as_json([error("API key not valid.", code=400)]), Reason.UNAUTHORIZED
    ),
    "error-200-code": fails(
        as_json({"code": 401, "msg": "token expired"}), Reason.UNAUTHORIZED
    ),
    "error-200-success": fails(
        as_json({"success": False, "message": "flux too low"}), Reason.FAILED, 3
    ),
    "error-200-status": fails(
        as_json({"status": "error", "message": "Invalid API key"}), Reason.UNAUTHORIZED
    ),
    "error-200-type": fails(
        as_json({"type": "rate_limit_error", "message": "Rate limit reached"}),
        Reason.RATE_LIMITED,
        3,
    ),
    "error-200-message": fails(as_json({"msg": "flux too low"}), Reason.FAILED, 3),
    "minimax-200": fails(
        as_json(
            {
                "choices": None,
                "base_resp": {"status_code": 1004, "status_msg": "flux too low"},
            }
        ),
        Reason.FAILED,
        3,
    ),
    "baidu-200": fails(
        as_json({"error_code": 336, "error_msg": "Invalid model: m"}), Reason.OPERATOR
    ),
    "code-in-a-stream": fails(
        stream({"code": 401, "msg": "token expired"}, DONE), Reason.UNAUTHORIZED
    ),
    "message-in-place-of-a-stream": fails(
        stream({"msg": "Invalid API key"}, DONE), Reason.UNAUTHORIZED
    ),
    "exception-event": fails(
        stream(b"event: exception\ndata: rate limit reached\n\n"),
        Reason.RATE_LIMITED,
        3,
    ),
    "error-in-a-stream": breaks(
        stream("Half a", {"error": {"message": "Provider disconnected", "code": 502}}),
        "Half a",
        Reason.FAILED,
    ),
    "error-event": fails(
        stream(b'event: error\ndata: {"message": "rate limit reached"}\n\n'),
        Reason.RATE_LIMITED,
        3,
    ),
    "error-in-a-choice": fails(
        stream(
            {"choices": [{"error": {"code": 402, "message": "Insufficient credits"}}]}
        ),
        Reason.OPERATOR,
    ),
    "plain-text": fails(
        page("Ollama is running", content_type="text/plain"), Reason.MALFORMED, 3
    ),
    "broken-json": fails(as_json({}), Reason.MALFORMED, 3),
    "calls-a-tool": Dialect(
        answer=stream(chunk(None, "tool_calls", tool_calls=[{"id": "1"}])),
        text="",
        reason=Reason.EMPTY,
        prompt="history",
    ),
    "not-an-answer": fails(as_json({"hello": "world"}), Reason.MALFORMED, 3),
    # The operator's faults.
    "openai-model": fails(
        as_json(error(UNKNOWN_MODEL, code="model_not_found"), 404), Reason.OPERATOR
    ),
    "ollama-model": fails(
        as_json(error("model 'm' not found", type="not_found_error"), 404),
        Reason.OPERATOR,
    ),
    "openrouter-model": fails(
        as_json(error("m is not a valid model ID", code=400), 400), Reason.OPERATOR
    ),
    "mistral-model": fails(
        as_json(
            {"object": "error", "message": "Invalid model: m", "code": "1500"}, 400
        ),
        Reason.OPERATOR,
    ),
    "deepseek-model": fails(as_json(error("Model Not Exist"), 400), Reason.OPERATOR),
    "litellm-model": fails(
        as_json(error("/chat/completions: Invalid model name passed in model=m"), 400),
        Reason.OPERATOR,
    ),
    "ollama-memory": fails(
        as_json(error("model requires more system memory than is available"), 500),
        Reason.OPERATOR,
    ),
    "azure-deployment": fails(
        as_json(
            error(
                "The API deployment for this resource does not exist.",
                code="DeploymentNotFound",
            ),
            404,
        ),
        Reason.OPERATOR,
    ),
    "deepseek-balance": fails(
        as_json(error("Insufficient Balance"), 402), Reason.OPERATOR
    ),
    "anthropic-balance": fails(
        as_json(error("Your credit balance is too low to access the API."), 400),
        Reason.OPERATOR,
    ),
    "openai-quota": fails(
        as_json(error(QUOTA, code="insufficient_quota"), 429), Reason.OPERATOR
    ),
    "litellm-budget": fails(
        as_json(error("Budget has been exceeded! Max budget: 1"), 400), Reason.OPERATOR
    ),
    "wrong-path": fails(page("404 page not found", 404), Reason.OPERATOR),
    "wrong-method": fails(
        as_json({"detail": "Method Not Allowed"}, 405), Reason.OPERATOR
    ),
    "web-page": fails(
        page("<!doctype html><html><title>Welcome</title>"), Reason.OPERATOR
    ),
    "https-expected": fails(
        page("<title>400 The plain HTTP request was sent to HTTPS port</title>", 400),
        Reason.OPERATOR,
    ),
    "redirect": fails(
        as_json({}, 301, Location="http://127.0.0.1:1/v1"), Reason.OPERATOR
    ),
    # Other refusals.
    "key": fails(
        as_json(error("Incorrect API key provided"), 401), Reason.UNAUTHORIZED
    ),
    "gemini-key": fails(
        as_json([error("API key not valid. Please pass a valid API key.")], 400),
        Reason.UNAUTHORIZED,
    ),
    "azure-filter": fails(
        as_json(
            error(
                "The response was filtered due to the prompt triggering Azure OpenAI's"
                " content management policy.",
                code="content_filter",
            ),
            400,
        ),
        Reason.REFUSED,
    ),
    "deepseek-filter": fails(
        as_json(error("Content Exists Risk"), 400), Reason.REFUSED
    ),
    "openrouter-filter": fails(
        as_json(error("Your input was flagged", code=403), 403), Reason.REFUSED
    ),
    "limit": fails(
        as_json(error("Rate limit reached for m"), 429, **{"Retry-After": "0"}),
        Reason.RATE_LIMITED,
        3,
    ),
    "long-limit": fails(
        as_json(error("Rate limit reached"), 429, **{"Retry-After": "432"}),
        Reason.RATE_LIMITED,
    ),
    "token-limit": fails(
        as_json(error("Token limit of your account exceeded"), 429),
        Reason.RATE_LIMITED,
        3,
    ),
    "long-limit-date": fails(
        as_json({}, 429, **{"Retry-After": "Fri, 31 Dec 2999 23:59:59 GMT"}),
        Reason.RATE_LIMITED,
    ),
    "groq-limit": fails(
        as_json(error("Rate limit reached for m. Please try again in 7m12.5s."), 429),
        Reason.RATE_LIMITED,
    ),
    "gemini-limit": fails(
        as_json([error(f"{QUOTA} Please retry in 900.1s.")], 429), Reason.RATE_LIMITED
    ),
    "long-overload": fails(as_json({}, 503, **{"Retry-After": "3600"}), Reason.FAILED),
    "refuses-temperature": fails(
        as_json(error("temperature: must be at most 2"), 400), Reason.REFUSED, 2
    ),
    "unknown-400": fails(as_json({"fault": "flux too low"}, 400), Reason.REFUSED, 2),
}


class ModelServer:
    """All dialects; `requests` has the bodies of each."""

    def __init__(self) -> None:
        self.requests: dict[str, list[dict[str, Any]]] = {}

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """Answer a request in the dialect of its path."""
        name = request.match_info["dialect"]
        body = await request.json()
        if name == BY_MESSAGE:
            name = body["messages"][-1]["content"]
        self.requests.setdefault(name, []).append(body)
        answer = DIALECTS[name].answer(body)
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        response.content_type = answer.content_type
        await response.prepare(request)
        for piece in answer.pieces:
            await response.write(piece)
            await asyncio.sleep(0)
        return response


@asynccontextmanager
async def model_server() -> AsyncIterator[tuple[ModelServer, str]]:
    """Run a server of all dialects; yield it and its URL, without the dialect."""
    server = ModelServer()
    handlers = {"POST /{dialect}/v1/chat/completions": server.complete}
    async with serving(handlers) as place:
        yield server, f"http://{place}"
