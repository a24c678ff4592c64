"""Every dialect of the servers of models: an answer, or why there is none."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from crocbot.agents import ThinkingTags
from crocbot.agents.completion import is_completion, read_completion
from crocbot.agents.dialect import Change, Dialect
from crocbot.agents.server_errors import (
    MAX_SHOWN_CHARS,
    read_error,
)
from crocbot.content import Image
from crocbot.model import Exchange, Prompt
from crocbot.turn_outcomes import AgentErrorReason
from tests.crocbot.fakes import Reading, a_message, read_answer
from tests.crocbot.model_server import (
    DIALECTS,
    ModelServer,
    detail,
    error,
    model_server,
)

pytest.importorskip("openai", reason="the extra crocbot[openai] is not installed")

from crocbot.agents.openai import OpenAIAgent

EXCHANGES = tuple(Exchange(f"question {n}", f"answer {n}") for n in range(8))
PROMPTS = {
    "text": Prompt(a_message("hello")),
    "photo": Prompt(a_message("hello"), images=(Image("image/webp", b"RIFF"),)),
    "history": Prompt(a_message("hello"), EXCHANGES),
}


def an_agent(url: str, name: str, **fields: object) -> OpenAIAgent:
    """Return an agent whose server has this dialect."""
    return OpenAIAgent(
        base_url=f"{url}/{name}/v1",
        api_key=None,
        model="m",
        system_prompt="Be brief.",
        connect_seconds=5.0,
        **fields,  # type: ignore[arg-type]
    )


async def ask(
    name: str, times: int = 1, **fields: object
) -> tuple[list[Reading], ModelServer]:
    """Ask one agent several times in a row."""
    prompt, thinking = PROMPTS[DIALECTS[name].prompt], ThinkingTags()
    async with model_server() as (server, url):
        agent = an_agent(url, name, **fields)
        try:
            readings = [
                await read_answer(agent, prompt, thinking=thinking)
                for _ in range(times)
            ]
        finally:
            await agent.close()
    return readings, server


@pytest.mark.parametrize("name", DIALECTS)
async def test_dialects(name: str) -> None:
    """Each server gets its requests, and the person an answer or a part of one."""
    dialect = DIALECTS[name]
    (reading,), server = await ask(name)

    assert (reading.text, reading.reason) == (dialect.text, dialect.reason)
    assert len(server.requests[name]) == dialect.requests


LEARNED = [
    name
    for name, dialect in DIALECTS.items()
    if dialect.text == "Hi." and dialect.requests == 2 and dialect.prompt != "history"
]
PASSING = {"broken-image", "image-too-large", "blind-without-a-word"}


@pytest.mark.parametrize("name", LEARNED)
async def test_what_is_remembered(name: str) -> None:
    """The next request is right at once, but for what may be about one image."""
    _, server = await ask(name, times=2)

    assert len(server.requests[name]) == (4 if name in PASSING else 3)


async def test_a_model_that_refuses_every_image() -> None:
    """After three unclear refusals in a row no image is sent any more."""
    _, server = await ask("blind-without-a-word", times=5)

    assert len(server.requests["blind-without-a-word"]) == 3 * 2 + 2


WORDS = {
    Change.NO_STREAM: [
        "stream must be false",
        "streaming responses are disabled",
        "Set stream=false",
        "This endpoint does not stream",
        "we can't stream this model",
    ],
    Change.NO_SYSTEM_ROLE: [
        "Role 'system' is not supported",
        "system_instruction is not supported",
        "This model does not support system messages.",
        'Unexpected role "system".',
        "Only 'user' and 'assistant' roles are supported!",
    ],
    Change.NO_IMAGES: [
        "This model cannot process images.",
        "vision is disabled for this model",
        "m does not accept image inputs",
        "m has no support for images",
        "only text inputs are supported, not pictures",
        "The model does not have vision capabilities",
    ],
    Change.MAX_TOKENS: [
        "'max_tokens' is a required property",
        "Missing required parameter: max_tokens",
        "max_tokens must be set",
    ],
}


@pytest.mark.parametrize(
    ("change", "words"), [(change, one) for change in WORDS for one in WORDS[change]]
)
def test_words_of_a_refused_part(change: Change, words: str) -> None:
    """The part that a server refuses is recognised in many wordings."""
    dialect = Dialect(model="m", system_prompt="x")
    request = dialect.request(PROMPTS["photo"])
    adapted = dialect.adapt(request, read_error(400, error(words), {}))

    assert adapted is not None
    assert adapted.changes == {change}
    assert adapted.passing <= {Change.NO_IMAGES}


@pytest.mark.parametrize(
    "name", [n for n, d in DIALECTS.items() if d.prompt == "photo"]
)
async def test_a_photo_in_words(name: str) -> None:
    """A model without eyes gets the message as a text, and the system prompt."""
    _, server = await ask(name)

    assert server.requests[name][-1]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hello"},
    ]


async def test_a_model_without_the_role_system() -> None:
    """The system prompt is the beginning of the first message."""
    _, server = await ask("gemma-system")

    assert server.requests["gemma-system"][-1]["messages"] == [
        {"role": "user", "content": "Be brief.\n\nhello"}
    ]


async def test_the_words_of_a_server() -> None:
    """They are in the log when the gateway adapts, and in the error when it cannot."""
    with capture_logs() as logs:
        await ask("mistral-usage")
    (reading,), _ = await ask("unknown-400")

    (line,) = [line for line in logs if "refuses a part" in line["event"]]
    assert (line["change"], line["status"]) == ("without stream_options", 422)
    assert "Extra inputs are not permitted" in line["answer"]
    assert str(reading.error) == (
        'the model\'s server answered 400: {"fault": "flux too low"}'
    )


EXTRA = {"temperature": 0.2, "stop": ["x"]}


@pytest.mark.parametrize(
    ("extra", "sent"),
    [
        (EXTRA, {**EXTRA, "stream": True}),
        ({"stream": False}, {"stream": False, "stream_options": None}),
        ({"stream_options": None}, {"stream": True, "stream_options": None}),
        ({"max_tokens": 9}, {"max_tokens": 9}),
    ],
)
async def test_extra_fields(extra: dict[str, Any], sent: dict[str, Any]) -> None:
    """They are in every request, before the gateway's own; null leaves one out."""
    (reading,), server = await ask("fastapi-stream", extra=extra)
    first = server.requests["fastapi-stream"][0]

    assert reading.text == "Hi."
    assert {key: first.get(key) for key in sent} == sent


async def test_an_extra_field_that_is_refused() -> None:
    """It is the operator's fault, and the log names the setting."""
    (reading,), _ = await ask("refuses-temperature", extra={"temperature": 9})

    assert reading.reason is AgentErrorReason.OPERATOR
    assert "refuses a field of CROCBOT_MODEL_EXTRA" in str(reading.error)


async def test_an_extra_field_that_leaves_no_room() -> None:
    """A history that is too long for it is shortened first."""
    (reading,), server = await ask("vllm-limit-long", extra={"max_tokens": 4096})

    assert (reading.text, len(server.requests["vllm-limit-long"])) == ("Hi.", 3)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("plain-text", "sent no answer: 'Ollama is running'"),
        ("not-an-answer", """sent JSON without an answer: '{"hello": "world"}'"""),
        ("error-200-unknown", "sent an error: flux too low"),
        ("error-200-message", "sent an error: flux too low"),
        ("minimax-200", "sent an error: flux too low"),
        ("baidu-200", "sent an error: Invalid model: m; 336"),
        ("web-page", "sent a web page, 'Welcome': set OPENAI_BASE_URL"),
    ],
)
async def test_words_of_an_answer(name: str, words: str) -> None:
    """What the server sent in place of an answer is in the error."""
    (reading,), _ = await ask(name)

    assert words in str(reading.error)


SECRET = "sk-" + "a" * 60


@pytest.mark.parametrize("before", range(MAX_SHOWN_CHARS - 70, MAX_SHOWN_CHARS + 9))
def test_no_half_of_a_secret(before: int) -> None:
    """Words are cut between two of them: a half could not be redacted."""
    text = ("word " * 200)[:before].rstrip() + " " + SECRET + " more" * 50
    words = str(read_error(400, text, {}).agent_error("it"))

    assert SECRET in words or "sk-" not in words
    assert len(words) < MAX_SHOWN_CHARS + 50


def test_a_body_that_quotes_the_request() -> None:
    """What a person wrote is no word of the server: it decides nothing."""
    quoted = {"detail": [{"msg": "no", "input": {"content": "maximum context length"}}]}

    error = read_error(400, json.dumps(quoted).encode(), {})
    assert (error.words, error.reason) == ("no", AgentErrorReason.REFUSED)


KEYS = st.sampled_from(
    "error message detail code type loc choices delta content text finish_reason usage"
    " metadata raw object status success status_code base_resp event msg".split()
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=4)
        | inner.map(json.dumps)
    ),
    max_leaves=20,
)


@given(VALUES, st.sampled_from([200, 301, 400, 404, 413, 429, 500, 503]))
def test_values_of_any_shape(value: Any, status: int) -> None:
    """Whatever JSON a server sends has a meaning; only malformed choices raise."""
    found = read_error(status, json.dumps(value).encode(), {})
    request = Dialect(model="m", system_prompt="x").request(PROMPTS["photo"])

    assert found.agent_error("it").reason in AgentErrorReason
    assert Dialect(model="m", system_prompt="x").adapt(request, found) != request
    with suppress(ValueError):
        assert isinstance(read_completion(value).text, str)
        assert is_completion(value) in {True, False}


def test_a_body_that_quotes_a_long_request() -> None:
    """The words are found in JSON whose end is not read; the request is not quoted."""
    body = json.dumps(
        detail("max_tokens", "Field required", "missing", "prompt " * 10**5)
    )
    error = read_error(422, body.encode(), {})
    dialect = Dialect(model="m", system_prompt=None)
    adapted = dialect.adapt(dialect.request(PROMPTS["text"]), error)

    assert "Field required" in error.words
    assert "prompt" not in error.words
    assert adapted is not None
    assert adapted.changes == {Change.MAX_TOKENS}


@pytest.mark.parametrize("body", [b"[" * 10_000, b"\xff\xfe", b"{}", b"null", b'"a"'])
def test_bodies_of_any_shape(body: bytes) -> None:
    """An error's body never raises, and its words are bounded."""
    assert read_error(500, body, {}).reason is AgentErrorReason.FAILED
