"""An HTTP service that answers, well or badly."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import random
import socket
from typing import Any

import pytest
from aiohttp import web

from crocbot.agents import Timeouts, http
from crocbot.agents.http import SIGNATURE, HttpAgent, request_payload
from crocbot.agents.rules import MAX_BODY_BYTES, MAX_EVENT_BYTES
from crocbot.content import Attachment, File, Image
from crocbot.errors import AgentError
from crocbot.model import ChatThread, Exchange, MessageType, Prompt, Usage
from crocbot.turn_outcomes import AgentErrorReason
from tests.crocbot.fakes import (
    Handler,
    Reading,
    a_message,
    read_answer,
    serving,
    streaming,
)

PROMPT = Prompt(
    a_message(
        "look",
        update_id=11,
        chat=ChatThread(-5, 4),
        type=MessageType.MEDIA,
        attachments=(Attachment("photo", "photo, 2x1"),),
    ),
    (Exchange("hi", "Hello."),),
    (Image("image/png", b"\0P"),),
    files=(
        File(
            type="voice",
            mime_type="audio/ogg",
            content=b"Ogg",
            name="a.ogg",
            duration=3,
        ),
    ),
)


async def read(
    service: Handler,
    secret: str | None = None,
    first_byte: float = 30.0,
    total: float = 30.0,
) -> tuple[Reading, int]:
    """Ask a service; return what came of it, and the number of requests."""
    requests = 0

    async def count(request: web.Request) -> web.StreamResponse:
        nonlocal requests
        requests += 1
        return await service(request)

    async with asyncio.timeout(30), serving({"POST /ask": count}) as place:
        agent = HttpAgent(f"http://{place}/ask", secret, 5.0)
        timeouts = Timeouts(first_byte=first_byte, total=total)
        reading = await read_answer(agent, PROMPT, timeouts)
        await agent.close()
    return reading, requests


def answering(text: str, content_type: str = "application/json") -> Handler:
    """Return a service with one answer."""

    async def service(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type=content_type)

    return service


@pytest.mark.parametrize("secret", ["hush", None])
async def test_request(secret: str | None) -> None:
    """A request has text, chat, history and images, and a signature with a secret."""
    posted: list[tuple[bytes, str | None]] = []

    async def service(request: web.Request) -> web.Response:
        posted.append((await request.read(), request.headers.get(SIGNATURE)))
        return web.json_response({"reply": "Nice."})

    assert (await read(service, secret))[0].text == "Nice."
    ((payload, signature),) = posted
    assert json.loads(payload) == {
        "message": "look\n[photo, 2x1]",
        "chat": "-5:4",
        "history": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "Hello."},
        ],
        "images": [{"mime_type": "image/png", "data": "AFA="}],
        "media": [{"kind": "photo", "description": "photo, 2x1"}],
        "command": None,
        "sender_id": 7,
        "message_id": 3,
        "update_id": 11,
        "sender_name": None,
        "reply_to": None,
        "forward": None,
        "links": [],
        "button": None,
        "edited": False,
        "files": [
            {
                "kind": "voice",
                "name": "a.ogg",
                "mime_type": "audio/ogg",
                "size": 3,
                "duration": 3,
                "quoted": False,
                "data": "T2dn",
            }
        ],
        "spoken": False,
    }
    digest = hmac.new(b"hush", payload, hashlib.sha256).hexdigest()
    assert signature == (f"sha256={digest}" if secret else None)


async def test_large_files() -> None:
    """Contents are posted whole, whatever their length, with the right signature."""
    sizes = [0, 1, 2, 3 * 256 * 1024, 3 * 256 * 1024 + 1, 2_000_000]
    contents = [random.Random(size).randbytes(size) for size in sizes]
    prompt = Prompt(
        a_message("x"),
        images=(Image("image/png", contents[0]),),
        files=tuple(
            File(type="document", mime_type="a/b", content=content)
            for content in contents[1:]
        ),
    )
    payload = await request_payload(prompt)
    question = json.loads(payload)
    posted = [*question["images"], *question["files"]]
    assert [base64.b64decode(each["data"]) for each in posted] == contents

    async def answer(request: web.Request) -> web.Response:
        digest = hmac.new(b"hush", await request.read(), hashlib.sha256).hexdigest()
        right = request.headers[SIGNATURE] == f"sha256={digest}"
        return web.json_response({"reply": "right" if right else "wrong"})

    async with serving({"POST /": answer}) as place:
        agent = HttpAgent(f"http://{place}/", "hush", 5.0)
        assert (await read_answer(agent, prompt)).text == "right"
        await agent.close()


TOKENS = {"input_tokens": 3, "output_tokens": 1}


@pytest.mark.parametrize(
    ("answer", "usage"),
    [
        ({"reply": "Yes."}, Usage()),
        ({"text": "Yes."}, Usage()),
        ({"response": "Yes."}, Usage()),
        ({"reply": "Yes.", "text": "No."}, Usage()),
        ({"reply": "Yes.", "usage": TOKENS}, Usage(3, 1)),
        ({"reply": "Yes.", "usage": {"prompt_tokens": 3}}, Usage(3, 0)),
        ({"reply": "Yes.", "usage": TOKENS | {"output_tokens": -1}}, Usage(3, 0)),
    ],
)
async def test_json(answer: dict[str, Any], usage: Usage) -> None:
    """An object has the reply, and the tokens if the service counts them."""
    reading, _ = await read(answering(json.dumps(answer)))

    assert (reading.text, reading.usage, reading.error) == ("Yes.", usage, None)


@pytest.mark.parametrize(
    "content_type", ["text/plain; charset=utf-8", "application/octet-stream"]
)
async def test_text(content_type: str) -> None:
    """Text arrives as it is written; a character may be split anywhere."""
    croc = "🐊".encode()
    reading, _ = await read(streaming(content_type, b"A ", croc[:2], croc[2:], b"!"))

    assert (reading.text, reading.error) == ("A 🐊!", None)
    assert len(reading.texts) > 1


@pytest.mark.parametrize(
    ("chunks", "text", "usage"),
    [
        ([b"data: Hel\n\nda", b"ta: lo\n\n"], "Hello", Usage()),
        ([b"data: one\ndata: two\r\n\r\ndata:  three\n\n"], "one\ntwo three", Usage()),
        ([b": comment\nevent: x\nid: 1\ndata: a\n\n"], "a", Usage()),
        (
            [
                b'data: {"text": "a"}\n\n',
                b'data: {"usage": {"input_tokens": 2, "output_tokens": 1}}\n\n',
                b"data: [DONE]\n\n",
            ],
            "a",
            Usage(2, 1),
        ),
        ([b'data: a\n\ndata: {"other": "keys"}\n\n'], "a", Usage()),
        ([b"data: {broken\n\n"], "{broken", Usage()),
        ([b'data: {"\n\ndata: a": \n\ndata: [1]\n\n'], '{"a": [1]', Usage()),
        ([b'data: [{"type": "text", "text": "a"}]\n\n'], "a", Usage()),
        ([b"event: token\ndata: a\n\nevent: result\ndata: b"], "ab", Usage()),
        ([b"data: a\n\ndata: b\n"], "ab", Usage()),
        ([b"data: a\n\ndata: b\ndata: c"], "ab\nc", Usage()),
        # Events without data, of more characters together than one may have.
        ([b": " + b"x" * 2**19 + b"\n\n"] * 3 + [b"data: a\n\n"], "a", Usage()),
    ],
)
async def test_events(chunks: list[bytes], text: str, usage: Usage) -> None:
    """Server-sent events have texts, or objects as in JSON."""
    reading, _ = await read(streaming("text/event-stream", *chunks))

    assert (reading.text, reading.usage, reading.error) == (text, usage, None)


def status(code: int, **headers: str) -> Handler:
    """Return a service that always answers with this status."""

    async def service(_: web.Request) -> web.Response:
        return web.Response(status=code, headers=headers)

    return service


@pytest.mark.parametrize(
    ("service", "reason", "requests"),
    [
        (status(400), AgentErrorReason.REFUSED, 1),
        (status(401), AgentErrorReason.UNAUTHORIZED, 1),
        (status(403), AgentErrorReason.UNAUTHORIZED, 1),
        (status(404), AgentErrorReason.OPERATOR, 1),
        (status(402), AgentErrorReason.OPERATOR, 1),
        # Asked again without the history.
        (status(413), AgentErrorReason.CONTEXT_LENGTH, 2),
        (status(429, **{"Retry-After": "432"}), AgentErrorReason.RATE_LIMITED, 1),
        (status(429, **{"Retry-After": "0"}), AgentErrorReason.RATE_LIMITED, 3),
        (status(500), AgentErrorReason.FAILED, 1),
        (status(502), AgentErrorReason.FAILED, 1),
        (status(503), AgentErrorReason.FAILED, 3),
        (status(302, Location="http://127.0.0.1:1/"), AgentErrorReason.OPERATOR, 1),
        (status(204), AgentErrorReason.FAILED, 1),
    ],
)
async def test_status(
    service: Handler, reason: AgentErrorReason, requests: int
) -> None:
    """Each status has its reason; only a service that is too busy is retried."""
    reading, asked = await read(service)

    assert (reading.reason, asked) == (reason, requests)


def json_of(size: int) -> str:
    """Return an object of exactly this many bytes, with a short reply."""
    return '{"reply": "Hi.", "x": "%s"}' % ("x" * (size - 25))


@pytest.mark.parametrize(
    ("text", "content_type", "reason"),
    [
        ("{", "application/json", AgentErrorReason.MALFORMED),
        ("[]", "application/json", AgentErrorReason.MALFORMED),
        ("{}", "application/json", AgentErrorReason.MALFORMED),
        ('{"reply": 7}', "application/json", AgentErrorReason.MALFORMED),
        ('{"reply": ""}', "application/json", AgentErrorReason.EMPTY),
        ("[" * 100_000, "application/json", AgentErrorReason.MALFORMED),
        (json_of(MAX_BODY_BYTES), "application/json", None),
        (json_of(MAX_BODY_BYTES + 1), "application/json", AgentErrorReason.TOO_LONG),
        ("<html>", "text/html", AgentErrorReason.OPERATOR),
        ("", "text/plain", AgentErrorReason.EMPTY),
        ("x" * 2**21, "text/plain", AgentErrorReason.TOO_LONG),
        ("x" * MAX_EVENT_BYTES, "text/event-stream", AgentErrorReason.EMPTY),
        ("x" * (MAX_EVENT_BYTES + 1), "text/event-stream", AgentErrorReason.TOO_LONG),
        ("data:\n" * 2**18, "text/event-stream", AgentErrorReason.TOO_LONG),
    ],
)
async def test_bodies(
    text: str, content_type: str, reason: AgentErrorReason | None
) -> None:
    """A body that is malformed, empty or too long has its reason."""
    reading, _ = await read(answering(text, content_type))

    assert reading.reason is reason


async def test_a_broken_connection() -> None:
    """The text before the connection broke is kept."""
    reading, _ = await read(streaming("text/plain", b"The answer is", cut=True))

    assert (reading.text, reading.reason) == ("The answer is", AgentErrorReason.FAILED)


async def test_a_slow_service() -> None:
    """A service that does not answer in time is not asked again."""

    async def service(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    reading, requests = await read(service, None, 0.2, 30)
    assert reading.reason is AgentErrorReason.TIMEOUT
    # None if the time was over before the service had the request.
    assert requests <= 1


async def test_no_service() -> None:
    """A port on which no service listens is unreachable, for `check` too."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        agent = HttpAgent(f"http://127.0.0.1:{unused.getsockname()[1]}/", None, 5.0)
        reading = await read_answer(agent, PROMPT)
        with pytest.raises(AgentError, match="cannot connect"):
            await agent.check()
        await agent.close()

    assert (reading.reason, len(reading.slept)) == (AgentErrorReason.UNREACHABLE, 2)


async def test_check() -> None:
    """`check` needs any answer to HEAD, and shows no password."""
    async with serving({"POST /ask": answering("{}")}) as place:
        agent = HttpAgent(f"http://me:hush@{place}/ask", None, 5.0)
        assert await agent.check() == f"http://{place}/ask is there (HEAD: 405)"
        await agent.close()


NAMES = ("exception", "Error", "ERROR", "fatal", "thread.run.failed", "onError")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('event: error\ndata: {"error":"db password wrong"}', AgentErrorReason.FAILED),
        ("event: error\ndata: db is down", AgentErrorReason.FAILED),
        ("event: error\n\n", AgentErrorReason.FAILED),
        ('data: {"error": {"message": "no"}}', AgentErrorReason.FAILED),
        ('data: {"type": "error", "message": "no"}', AgentErrorReason.FAILED),
        ('data: {"status": "Failed", "message": "no"}', AgentErrorReason.FAILED),
        ('data: {"error": "x", "code": 429}', AgentErrorReason.RATE_LIMITED),
        ('data: {"error": "unknown model"}', AgentErrorReason.OPERATOR),
        ('data: {"ping": 1}', AgentErrorReason.EMPTY),
        *(
            (f"event: {name}\ndata: db is down", AgentErrorReason.FAILED)
            for name in NAMES
        ),
        ('event: Error\ndata: {"code": 429}\n\n', AgentErrorReason.RATE_LIMITED),
        ("event: failure\n\n", AgentErrorReason.FAILED),
        ("event: ping\ndata: keep-alive", AgentErrorReason.EMPTY),
        ("event: keepAlive\ndata: {\n\n", AgentErrorReason.EMPTY),
        ("event: message_stop\ndata: stop", AgentErrorReason.EMPTY),
        ('event: on_tool_error\ndata: "no file"', AgentErrorReason.EMPTY),
        ('data:  {"error": "db password wrong"}', AgentErrorReason.FAILED),
        ('data: [{"error": "db password wrong"}]', AgentErrorReason.FAILED),
        ('data: [{"key": "value"}]', AgentErrorReason.EMPTY),
        ('data: {"error":"db password wro', AgentErrorReason.MALFORMED),
        ('data:  [ { "error":"db password wro\n', AgentErrorReason.MALFORMED),
        ("data:  [DONE]", AgentErrorReason.EMPTY),
        ('data: {"success": false, "message": "no"}', AgentErrorReason.FAILED),
        ('data: {"event": "failed", "text": "db is down"}', AgentErrorReason.FAILED),
    ],
)
async def test_errors_in_events(body: str, reason: AgentErrorReason) -> None:
    """An error is no text: the person gets what came before, the log its words."""
    stream = streaming("text/event-stream", b"data: Half\n\n", body.encode())
    half, _ = await read(stream)
    alone, asked = await read(streaming("text/event-stream", body.encode()))

    is_error = reason is not AgentErrorReason.EMPTY
    assert (half.text, half.reason) == ("Half", reason if is_error else None)
    assert (alone.text, alone.reason, asked) == ("", reason, 1)


@pytest.mark.parametrize(
    ("value", "text", "reason"),
    [
        ({"error": "db is down"}, "", AgentErrorReason.FAILED),
        ({"error": "db is down", "reply": "Hi."}, "", AgentErrorReason.FAILED),
        ({"status": "error", "message": "no"}, "", AgentErrorReason.FAILED),
        ({"success": False, "message": "no"}, "", AgentErrorReason.FAILED),
        ({"ok": False, "message": "no"}, "", AgentErrorReason.FAILED),
        ({"code": 500, "message": "no"}, "", AgentErrorReason.FAILED),
        ({"code": "401", "message": "no"}, "", AgentErrorReason.UNAUTHORIZED),
        ({"statusCode": 429, "message": "no"}, "", AgentErrorReason.RATE_LIMITED),
        ({"status": 500, "message": "no"}, "", AgentErrorReason.FAILED),
        ({"code": -1, "message": "no"}, "", AgentErrorReason.FAILED),
        ({"error_code": 7, "message": "no"}, "", AgentErrorReason.FAILED),
        ({"errors": ["db"], "message": "no"}, "", AgentErrorReason.FAILED),
        ({"exception": "db", "message": "no"}, "", AgentErrorReason.FAILED),
        ({"type": "exception", "message": "no"}, "", AgentErrorReason.FAILED),
        ({"type": "AuthError", "message": "no"}, "", AgentErrorReason.FAILED),
        ({"level": "ERROR", "message": "no"}, "", AgentErrorReason.FAILED),
        ({"errorMessage": "db", "message": "no"}, "", AgentErrorReason.FAILED),
        ({"state": "failed", "message": "no"}, "", AgentErrorReason.FAILED),
        ({"failed": False, "state": "done", "message": "Hi."}, "Hi.", None),
        ([{"error": "db is down"}], "", AgentErrorReason.FAILED),
        ({"code": 0, "success": True, "message": "Hi."}, "Hi.", None),
        ({"code": 200, "errors": [], "message": "Hi."}, "Hi.", None),
        ({"code": 404, "reply": "No such page."}, "No such page.", None),
        ({"type": "message", "content": "Hi."}, "Hi.", None),
        ({"error": None, "reply": "Hi."}, "Hi.", None),
        ({"status": "ok", "reply": "Hi."}, "Hi.", None),
        (
            {"status": "failed", "reply": "Your payment failed."},
            "Your payment failed.",
            None,
        ),
        ({"content": [{"type": "text", "text": "Hi."}]}, "Hi.", None),
        ({"reply": {"text": "Hi."}}, "", AgentErrorReason.MALFORMED),
    ],
)
@pytest.mark.parametrize("content_type", ["application/json", "application/hal+json"])
async def test_errors_in_objects(
    value: Any, text: str, reason: AgentErrorReason | None, content_type: str
) -> None:
    """An object with an error is an error, whatever else it has."""
    reading, _ = await read(streaming(content_type, json.dumps(value).encode()))

    assert (reading.text, reading.reason) == (text, reason)


async def test_a_web_page() -> None:
    """It is no service: the URL is wrong, which only the operator can change."""
    page = b"<!doctype html><title>Welcome</title>"
    reading, asked = await read(streaming("text/html", page))

    assert (reading.reason, asked) == (AgentErrorReason.OPERATOR, 1)
    assert str(reading.error) == "the agent sent a web page, 'Welcome'"


async def test_words_of_a_refusal() -> None:
    """The log line of a refused request has the words of the service."""

    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"detail": "no such tenant"}, status=400)

    reading, _ = await read(refuse)

    assert str(reading.error) == "the agent answered 400: no such tenant"


async def test_a_large_answer_that_stalls(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives the slot of large answers back, and the next one is read."""
    monkeypatch.setattr(http, "LARGE_ANSWER_SECONDS", 0.2)
    large = b'{"reply": "Hi.", "x": "' + b"x" * 2 * MAX_BODY_BYTES
    stalls = [True, False]

    async def service(request: web.Request) -> web.StreamResponse:
        headers = {"Content-Type": "application/json"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        await response.write(large)
        if stalls.pop(0):
            await asyncio.sleep(60)
        await response.write(b'"}')
        return response

    async with asyncio.timeout(30), serving({"POST /": service}) as place:
        url = f"http://{place}/"
        agent = HttpAgent(url, None, 5.0, max_file_bytes=4 * MAX_BODY_BYTES)
        first = await read_answer(agent, PROMPT)
        # The time of an answer that does not stall, which a busy machine needs.
        monkeypatch.setattr(http, "LARGE_ANSWER_SECONDS", 60.0)
        second = await read_answer(agent, PROMPT)
        await agent.close()

    assert (first.text, first.reason) == ("", AgentErrorReason.TIMEOUT)
    assert (second.text, second.error) == ("Hi.", None)


@pytest.mark.parametrize(
    ("beginning", "reason"),
    [
        (b'data: {"text": "Hi.", "x": "', None),
        (b'data: a\n\nevent: x\ndata: {"text": "Hi.", "x": "', None),
        (b"data: ", AgentErrorReason.TOO_LONG),
        (b": comment", AgentErrorReason.TOO_LONG),
        (b'data: {"text": "Hi."}\n\ndata: ', AgentErrorReason.TOO_LONG),
    ],
)
async def test_large_events(beginning: bytes, reason: AgentErrorReason | None) -> None:
    """Only an event with an object, which may have files, may be large."""
    body = beginning + b"x" * 2 * MAX_EVENT_BYTES + b'"}\n\n'
    service = streaming("text/event-stream", body)
    async with serving({"POST /": service}) as place:
        url = f"http://{place}/"
        agent = HttpAgent(url, None, 5.0, max_file_bytes=4 * MAX_EVENT_BYTES)
        reading = await read_answer(agent, PROMPT)
        await agent.close()

    assert reading.reason is reason
