"""docs/agent-http.schema.json describes what the agent `http` posts and accepts."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from crocbot.agents.answer import NO_SECRETS
from crocbot.agents.enclosures import MAX_READ_FILES, enclosures
from crocbot.agents.http import REPLY_KEYS, HttpAgent, request_payload
from crocbot.content import (
    Attachment,
    Context,
    File,
    ForwardOrigin,
    Image,
    Link,
    OriginType,
    Press,
    QuotedMessage,
)
from crocbot.model import ChatThread, Exchange, MessageType, Prompt
from crocbot.outgoing import MAX_CALLBACK_BYTES, AgentFile
from crocbot.turn.buttons import MAX_READ_BUTTONS, ReadButtons, read_buttons
from tests.crocbot.answer_files import PDF, as_json
from tests.crocbot.fakes import Reading, a_message, read_answer, serving, streaming

FILE = Path(__file__).parents[2] / "docs" / "agent-http.schema.json"
SCHEMA = json.loads(FILE.read_text())
CONTEXT = Context(
    sender="Ada",
    quoted=QuotedMessage(
        author="Bob",
        text="an iguana",
        part="iguana",
        attachments=(Attachment("dice", "dice x, showing 3"),),
        links=(Link("here", "https://a.example/"),),
        message_id=2,
    ),
    forward=ForwardOrigin(OriginType.HIDDEN_USER, "Eve", 1_700_000_000),
    links=(Link("there", "https://b.example/"),),
    press=Press("1", "yes", "Yes"),
)
EMPTY_CONTEXT = Context(
    quoted=QuotedMessage(),
    forward=ForwardOrigin(OriginType.CHANNEL),
    press=Press("1", "yes"),
)
PROMPTS = {
    "text": Prompt(a_message("hello")),
    "context": Prompt(a_message("hello", context=CONTEXT, edited=True)),
    "empty context": Prompt(a_message("hello", context=EMPTY_CONTEXT)),
    "command": Prompt(a_message("", command="weather", type=MessageType.COMMAND)),
    "media": Prompt(
        a_message(
            "look",
            chat=ChatThread(-1001234, 5),
            sender_id=None,
            type=MessageType.MEDIA,
            attachments=(Attachment("photo", "photo, 2x1"),),
        ),
        (Exchange("hi", "Hello."),),
        (Image("image/png", b"\0P"),),
    ),
    "files": Prompt(
        a_message(
            "turn it on",
            type=MessageType.MEDIA,
            spoken=True,
            attachments=(
                Attachment(
                    *("voice", "voice message, 3 s"),
                    mime_type="audio/ogg",
                    size=9,
                    duration=3.5,
                    note="spoken",
                ),
                Attachment("document", "document, a.pdf", name="a.pdf"),
            ),
        ),
        files=(
            File(
                type="document", mime_type="application/pdf", content=b"%PDF", name="a"
            ),
            File(type="voice", mime_type="audio/ogg", content=b"O", duration=3.5),
        ),
    ),
}
# What version 0.1.0 posted.  These fields keep their names and meanings for ever.
RECORDED = {
    "message": "look\n[photo, 2x1]",
    "chat": "-1001234:5",
    "history": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "Hello."},
    ],
    "images": [{"mime_type": "image/png", "data": "AFA="}],
    "media": [{"kind": "photo", "description": "photo, 2x1"}],
    "command": None,
    "sender_id": None,
    "message_id": 3,
    "update_id": 1,
}
ANSWERS: list[Any] = [
    *({key: "Hi."} for key in REPLY_KEYS),
    {"reply": [{"type": "text", "text": "Hi."}]},
    {"reply": ["Hi."], "usage": {"input_tokens": 9, "output_tokens": 2}},
    {"reply": "Hi.", "usage": {"prompt_tokens": 9}, "model": "other keys"},
    {"reply": "Hi.", "error": None},
    {"reply": "Hi.", "files": [], "buttons": []},
]
FILES: list[Any] = [
    as_json(PDF),
    as_json(PDF, name="a.pdf", kind="document", caption="*A*"),
    *(as_json(PDF, kind=kind) for kind in ("picture", "voice", "audio")),
    {"url": "https://files.example.org/a.pdf", "name": "a.pdf"},
]
NO_FILES: list[Any] = [
    "a.pdf",
    {},
    {"name": "a.pdf"},
    {"data": "no base64!"},
    {"data": 7},
    {"url": 7},
]
BUTTONS: list[Any] = [
    {"text": "Yes", "data": "x" * 64},
    {"text": "More", "url": "https://example.org/"},
    {"text": "Write", "url": "tg://user?id=7"},
]
NO_BUTTONS: list[Any] = [
    "Yes",
    {"text": "Yes"},
    {"text": "", "data": "yes"},
    {"data": "yes"},
    {"text": "Yes", "data": ""},
    {"text": "Yes", "data": "x" * 65},
    {"text": "Yes", "data": "yes", "url": "https://example.org/"},
    {"text": "Yes", "url": "javascript:alert(1)"},
]
NO_ANSWERS: list[Any] = [{}, [], "Hi.", {"reply": 7}, {"error": "db is down"}]
EVENTS: list[Any] = [
    {"text": "Hi."},
    {"reply": "Hi."},
    {"text": ["Hi."]},
    {"text": "Hi.", "file": as_json(PDF), "buttons": [[BUTTONS[0]]]},
    {"text": "Hi.", "files": [as_json(PDF)]},
]


def is_valid(name: str, value: Any) -> bool:
    """Return whether the schema of this name admits a value."""
    schema = {"$ref": f"#/$defs/{name}", "$defs": SCHEMA["$defs"]}
    return Draft202012Validator(schema).is_valid(value)


async def ask(content_type: str, body: str) -> Reading:
    """Return what comes of a service that answers this."""
    handler = streaming(content_type, body.encode())
    async with serving({"POST /": handler}) as place:
        agent = HttpAgent(f"http://{place}/", None, 5.0)
        reading = await read_answer(agent)
        await agent.close()
    return reading


def test_the_schema_is_one() -> None:
    """It is a JSON schema of draft 2020-12."""
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", PROMPTS)
async def test_questions(name: str) -> None:
    """Every question is valid, and has no field that the schema does not describe."""
    question = json.loads(await request_payload(PROMPTS[name]))

    assert is_valid("question", question)
    assert set(question) == set(SCHEMA["$defs"]["question"]["properties"])


async def test_a_recorded_question() -> None:
    """Fields are only added: those of version 0.1.0 are as they were."""
    question = json.loads(await request_payload(PROMPTS["media"]))

    assert {name: question[name] for name in RECORDED} == RECORDED
    assert SCHEMA["$defs"]["question"]["required"][: len(RECORDED)] == list(RECORDED)
    assert not is_valid("question", RECORDED | {"message": 7})


@pytest.mark.parametrize("answer", ANSWERS)
async def test_answers(answer: Any) -> None:
    """An answer that the schema admits is accepted."""
    reading = await ask("application/json", json.dumps(answer))

    assert is_valid("answer", answer)
    assert (reading.text, reading.error) == ("Hi.", None)


@pytest.mark.parametrize("answer", NO_ANSWERS)
async def test_refused_answers(answer: Any) -> None:
    """An answer that the schema refuses is an error."""
    reading = await ask("application/json", json.dumps(answer))

    assert not is_valid("answer", answer)
    assert (reading.text, reading.error is None) == ("", False)


@pytest.mark.parametrize("event", EVENTS)
async def test_events(event: Any) -> None:
    """An event that the schema admits is a part of the answer."""
    reading = await ask("text/event-stream", f"data: {json.dumps(event)}\n\n")

    assert is_valid("event", event)
    assert (reading.text, reading.error) == ("Hi.", None)


@pytest.mark.parametrize("file", FILES)
def test_files(file: Any) -> None:
    """A file that the schema admits has a content or an address."""
    (read,) = enclosures({"files": [file]})

    assert is_valid("answer", {"files": [file]})
    assert isinstance(read, AgentFile)
    assert (read.content or read.url, read.problem) == (
        PDF if "data" in file else file["url"],
        None,
    )


@pytest.mark.parametrize("file", NO_FILES)
def test_refused_files(file: Any) -> None:
    """A file that the schema refuses has a problem."""
    (read,) = enclosures({"files": [file]})

    assert not is_valid("answer", {"files": [file]})
    assert isinstance(read, AgentFile)
    assert read.problem


@pytest.mark.parametrize("button", BUTTONS)
def test_buttons(button: Any) -> None:
    """A button that the schema admits is sent."""
    ((read,),) = read_buttons([[button]], NO_SECRETS).rows

    assert is_valid("answer", {"reply": "Hi.", "buttons": [[button]]})
    sent = {name: value for name, value in asdict(read).items() if value is not None}
    assert sent == button


@pytest.mark.parametrize("button", NO_BUTTONS)
def test_refused_buttons(button: Any) -> None:
    """A button that the schema refuses is left out, and counted."""
    assert not is_valid("answer", {"reply": "Hi.", "buttons": [[button]]})
    assert read_buttons([[button]], NO_SECRETS) == ReadButtons((), 1)


@pytest.mark.parametrize(
    "data",
    ["+/+/", "-_-_", "+/+\n/", " -_-_ ", "data:image/png;base64,+/+/", "+/-_"],
)
def test_base64(data: str) -> None:
    """Both alphabets, line ends and data URLs are understood."""
    (read,) = enclosures({"file": {"data": data}})

    assert isinstance(read, AgentFile)
    assert read.content == b"\xfb\xff\xbf"


def test_very_many_files_and_buttons() -> None:
    """What is far beyond a bound takes no time."""
    many = [{}] * 1_000_000

    assert len(list(enclosures({"files": many}))) == MAX_READ_FILES
    assert read_buttons(many, NO_SECRETS).refused == MAX_READ_BUTTONS
    assert read_buttons([many], NO_SECRETS).refused == MAX_READ_BUTTONS


KEYS = st.sampled_from(["data", "url", "name", "kind", "caption", "text", "files"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=12,
)


@given(value=JSON)
def test_any_json(value: Any) -> None:
    """Whatever an agent sends as files and buttons, each is read or has a problem."""
    for each in enclosures({"files": value, "file": value, "buttons": value}):
        if isinstance(each, AgentFile):
            found = (each.content is not None) + (each.url is not None)
            assert found + (each.problem is not None) == 1
    for row in read_buttons(value, NO_SECRETS).rows:
        for button in row:
            assert button.text.strip()
            assert (button.data is None) != (button.url is None)
            assert len((button.data or "").encode()) <= MAX_CALLBACK_BYTES
