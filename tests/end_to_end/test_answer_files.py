"""Files and buttons in answers of real programs, as people get them."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from crocbot.sandbox import Person, faults
from crocbot.sandbox.faults import Drop, Slow
from crocbot.turn.messages import ERROR_MESSAGES
from crocbot.turn_outcomes import AgentErrorReason as Reason
from tests.crocbot.answer_files import HTML, MP3, OPUS, PDF, as_json, png
from tests.crocbot.fakes import serving, streaming
from tests.end_to_end.world import World

ADA = Person(1001, "Ada")
KINDS = ("photo", "voice", "audio", "document")
ROWS = [[{"text": "Yes", "data": "yes"}, {"text": "More", "url": "https://a.example"}]]
KEYBOARD = {
    "inline_keyboard": [
        [
            {"text": "Yes", "callback_data": "yes"},
            {"text": "More", "url": "https://a.example"},
        ]
    ]
}


class Chat:
    """What the bot has sent to one person: the messages as they are now, in order."""

    def __init__(self, world: World, person: Person = ADA) -> None:
        self._world = world
        self._person = person
        self.messages: dict[int, Mapping[str, Any]] = {}
        world.server.listen(self._record)

    def _record(self, sent: Mapping[str, Any]) -> None:
        if sent["chat"]["id"] == self._person.user_id:
            self.messages[sent["message_id"]] = sent

    @property
    def sent(self) -> list[tuple[str, str, bytes]]:
        """Return kind, text or caption, and content of each message."""
        return [self._describe(message) for message in self.messages.values()]

    @property
    def kinds(self) -> list[str]:
        """Return the kind of each message."""
        return [kind for kind, *_ in self.sent]

    @property
    def names(self) -> list[str]:
        """Return the names of all files but photos."""
        files = [
            message.get(kind) for message in self.messages.values() for kind in KINDS
        ]
        return [file["file_name"] for file in files if isinstance(file, dict)]

    @property
    def keyboards(self) -> list[Any]:
        """Return the buttons below each message."""
        return [message.get("reply_markup") for message in self.messages.values()]

    def _describe(self, message: Mapping[str, Any]) -> tuple[str, str, bytes]:
        kind = next((each for each in KINDS if each in message), "text")
        if kind == "text":
            return kind, message["text"], b""
        file = message[kind][-1] if kind == "photo" else message[kind]
        content = self._world.server.content(file["file_id"])
        return kind, message.get("caption", ""), content


async def ask(world: World, agent: Any, count: int, **settings: str) -> Chat:
    """Let a gateway ask an agent `http`, and wait for this many messages."""
    chat = Chat(world)
    async with serving({"POST /": agent}) as place:
        await world.start_gateway(
            CROCBOT_AGENT="http", CROCBOT_AGENT_URL=f"http://{place}/", **settings
        )
        world.server.send(ADA, "go")
        await world.eventually(lambda: len(chat.messages) >= count)
    return chat


def answering(value: Any) -> Any:
    """Return a service with one answer in JSON."""
    return streaming("application/json", json.dumps(value).encode())


async def test_an_answer_with_files(world: World) -> None:
    """Text, pictures, sound and documents arrive in order, each as what it is."""
    picture = png()
    answer = {
        "text": "Here you **are**.",
        "files": [
            as_json(picture, name="a.png", kind="picture", caption="Sales of *May*"),
            as_json(OPUS, name="voice.ogg", kind="voice"),
            as_json(MP3, name="größe 🐊 [1].mp3"),
            as_json(PDF, name="../../etc/report\u202e.pdf", kind="document"),
            as_json(HTML, name="page.png", kind="picture"),
        ],
        "buttons": ROWS,
    }
    await world.start_bridge()
    chat = await ask(world, answering(answer), 6)

    assert chat.sent == [
        ("text", "Here you are.", b""),
        ("photo", "Sales of May", picture),
        ("voice", "", OPUS),
        ("audio", "", MP3),
        ("document", "", PDF),
        ("document", "", HTML),
    ]
    assert chat.names == ["voice.ogg", "größe 🐊 [1].mp3", "report.pdf", "page.png"]
    assert chat.keyboards == [KEYBOARD, *[None] * 5]

    async def counted() -> bool:
        files = await world.values("crocbot_files_total")
        issues = await world.values("crocbot_delivery_snags_total")
        buttons = await world.values("crocbot_buttons_total")
        return (
            files.get("out ok") == 5
            and issues.get("as_document") == 1
            and buttons.get("sent") == 2
        )

    await world.eventually(counted)


async def test_a_stream_with_files(world: World) -> None:
    """Files and buttons may come in any event; the text grows meanwhile."""
    picture = png()
    events = [
        {"text": "Grow"},
        {"file": as_json(picture, caption="one")},
        {"text": "ing"},
        {"buttons": ROWS},
        {"files": [as_json(PDF, name="b.pdf")]},
    ]
    chunks = [f"data: {json.dumps(event)}\n\n".encode() for event in events]
    chat = await ask(world, streaming("text/event-stream", *chunks), 3)

    assert chat.sent == [
        ("text", "Growing", b""),
        ("photo", "one", picture),
        ("document", "", PDF),
    ]
    assert chat.keyboards == [KEYBOARD, None, None]


async def test_buttons_after_a_growing_answer(world: World) -> None:
    """The last edit of an answer that was visible while it grew has the buttons."""

    async def slowly(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b'data: {"text": "Which"}\n\n')
        await world.eventually(lambda: world.server.calls["sendmessage"] > 0)
        await response.write(b'data: {"text": " one?"}\n\n')
        await response.write(f"data: {json.dumps({'buttons': ROWS})}\n\n".encode())
        return response

    # A server without drafts: the answer grows by edits.
    missing = faults.api_error(404, "Not Found: method not found")
    world.server.fault("sendMessageDraft", missing)
    chat = await ask(world, slowly, 1)
    await world.eventually(lambda: chat.keyboards == [KEYBOARD])

    assert chat.sent == [("text", "Which one?", b"")]


async def test_what_cannot_be_sent(world: World) -> None:
    """The rest of the answer arrives, with one sentence about what is missing."""
    answer = {
        "text": "Partly.",
        "files": [
            {"data": "no base64!", "name": "a"},
            {"url": "http://127.0.0.1:1/secret", "name": "b"},
            {"url": "file:///etc/passwd"},
            as_json(bytes(3000), name="large.bin"),
            as_json(PDF, name="good.pdf"),
        ],
        "buttons": [
            [{"text": "x", "data": "y" * 65}, {"text": "ok", "data": "z" * 64}]
        ],
    }
    await world.start_bridge()
    chat = await ask(world, answering(answer), 2, CROCBOT_FILES_MAX_BYTES="2000")

    assert chat.sent == [
        (
            "text",
            "Partly.\n\n(4 files and 1 button of this answer could not be sent.)",
            b"",
        ),
        ("document", "", PDF),
    ]
    keyboard = {"inline_keyboard": [[{"text": "ok", "callback_data": "z" * 64}]]}
    assert chat.keyboards == [keyboard, None]

    async def counted() -> bool:
        files = await world.values("crocbot_files_total")
        buttons = await world.values("crocbot_buttons_total")
        return (
            files.get("out unsupported") == 3
            and files.get("out too_large") == 1
            and files.get("out ok") == 1
            and buttons.get("refused") == 1
        )

    await world.eventually(counted)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_an_internal_address(world: World, host: str) -> None:
    """An address of this machine is not fetched, even if its host is listed."""
    fetched: list[str] = []

    async def internal(request: web.Request) -> web.Response:
        fetched.append(request.path)
        return web.Response(body=PDF)

    async with serving({"GET /secret": internal}) as place:
        port = place.rpartition(":")[2]
        answer = {"text": "x", "files": [{"url": f"http://{host}:{port}/secret"}]}
        hosts = f"{host}:{port}"
        chat = await ask(world, answering(answer), 1, CROCBOT_FETCH_HOSTS=hosts)

    assert chat.sent[0][1] == "x\n\n(1 file of this answer could not be sent.)"
    assert fetched == []


async def test_pictures_that_telegram_refuses(world: World) -> None:
    """A picture that is too large or too wide goes as a document, or in words."""
    large, wide = png(size=10_500_000), png(9000, 100)
    answer = {
        "text": "Pictures.",
        "files": [
            as_json(large, name="large.png", kind="photo"),
            as_json(wide, name="wide.png", kind="photo"),
            as_json(PDF, name="third.pdf", caption="the third"),
        ],
    }
    server = world.server
    no = faults.api_error(413, "Request Entity Too Large")
    for fault in (Slow(0), Slow(0), no, no):
        server.fault("sendDocument", fault)
    chat = await ask(world, answering(answer), 4)

    assert chat.sent == [
        ("text", "Pictures.", b""),
        ("document", "", large),
        ("document", "", wide),
        ("text", "the third\n\n(The file third.pdf could not be sent.)", b""),
    ]


async def test_flood_waits(world: World) -> None:
    """A flood wait between files is waited out; nothing is sent twice."""
    answer = {"text": "Two.", "files": [as_json(PDF), as_json(png())]}
    world.server.fault("sendDocument", faults.flood_wait(1))
    world.server.fault("sendPhoto", faults.flood_wait(1))
    chat = await ask(world, answering(answer), 3)

    assert chat.kinds == ["text", "document", "photo"]


PROGRAM = """
import json, os, pathlib, sys
out = pathlib.Path(os.environ["CROCBOT_OUT"])
word = sys.stdin.read()
(out / "2.pdf").write_bytes({pdf!r})
(out / "1.png").write_bytes({png!r})
(out / "captions.json").write_text(json.dumps({{"1.png": "first"}}))
(out / "buttons.json").write_text(json.dumps({rows!r}))
(out / "3-link").symlink_to("/etc/passwd")
os.mkfifo(out / "4-fifo")
(out / "5-folder").mkdir()
print("Done.")
"""


async def test_a_program_with_files(world: World, tmp_path: Path) -> None:
    """What a program leaves in CROCBOT_OUT is sent, if it is a regular file."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(pdf=PDF, png=png(), rows=ROWS))
    chat = Chat(world)
    await world.start_gateway(
        CROCBOT_AGENT="command", CROCBOT_AGENT_COMMAND=f"{sys.executable} {program}"
    )
    world.server.send(ADA, "go")
    await world.eventually(lambda: len(chat.messages) >= 3)

    assert chat.sent == [
        ("text", "Done.\n\n(3 files of this answer could not be sent.)", b""),
        ("photo", "first", png()),
        ("document", "", PDF),
    ]
    assert chat.keyboards == [KEYBOARD, None, None]
    turns = world.database.parent / "turns"
    await world.eventually(lambda: not list(turns.iterdir()))


@pytest.mark.parametrize(
    ("events", "sent"),
    [
        (
            ['{"file": FILE}', 'event: error\ndata: {"error": "db is down"}'],
            [("document", PDF), ("text", ERROR_MESSAGES[Reason.FAILED])],
        ),
        (
            ['{"buttons": [[{"text": "a", "data": "b"}]]}'],
            [("text", ERROR_MESSAGES[Reason.EMPTY])],
        ),
        (['{"files": [FILE, FILE]}'], [("document", PDF), ("document", PDF)]),
        (
            ['{"file": {"data": "?"}}'],
            [("text", "(1 file of this answer could not be sent.)")],
        ),
    ],
)
async def test_half_answers(world: World, events: list[str], sent: Any) -> None:
    """What arrived is sent; buttons alone are no answer, files alone are one."""
    file = json.dumps(as_json(PDF))
    chunks = [
        (event if event.startswith("event") else f"data: {event}") + "\n\n"
        for event in events
    ]
    body = "".join(chunks).replace("FILE", file).encode()
    await world.start_bridge()
    chat = await ask(world, streaming("text/event-stream", body), len(sent))

    found = [(kind, text or content) for kind, text, content in chat.sent]
    assert found == sent
    buttons = await world.values("crocbot_buttons_total")
    assert not buttons.get("sent")


async def test_secrets(world: World) -> None:
    """The token is replaced in captions, names and buttons."""
    token = world.server.token
    answer = {
        "text": f"It is {token}.",
        "files": [as_json(PDF, name=f"{token}.pdf", caption=f"It is {token}.")],
        "buttons": [[{"text": f"a {token}", "data": f"b {token}"}]],
    }
    chat = await ask(world, answering(answer), 2)

    assert token not in json.dumps(list(chat.messages.values()))
    assert [text for _, text, _ in chat.sent] == ["It is [redacted]."] * 2
    assert chat.names == ["[redacted].pdf"]
    button = {"text": "a [redacted]", "callback_data": "b [redacted]"}
    assert chat.keyboards == [{"inline_keyboard": [[button]]}, None]


async def test_folders_after_a_kill(world: World, tmp_path: Path) -> None:
    """What a program has left is removed at the next start."""
    program = tmp_path / "program.py"
    program.write_text(
        "import os, pathlib, time\n"
        "pathlib.Path(os.environ['CROCBOT_OUT'], 'a.pdf').write_text('x')\n"
        "time.sleep(600)\n"
    )
    turns = world.database.parent / "turns"
    gateway = await world.start_gateway(
        CROCBOT_AGENT="command", CROCBOT_AGENT_COMMAND=f"{sys.executable} {program}"
    )
    world.server.send(ADA, "go")
    await world.eventually(lambda: list(turns.glob("*/out/a.pdf")))
    gateway.process.send_signal(signal.SIGKILL)
    await gateway.process.wait()

    await world.start_gateway()
    assert not turns.exists()
    await world.eventually(lambda: world.replies.to(ADA) == ["go"])


@pytest.mark.parametrize("carried_out", [False, True])
async def test_a_kill_between_files(world: World, carried_out: bool) -> None:
    """After a kill the delivery goes on: nothing is lost, no confirmed part doubled."""
    asked = 0

    async def agent(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        files = [as_json(png(), caption=str(number)) for number in range(4)]
        return web.json_response({"text": "Four.", "files": files, "buttons": ROWS})

    settings = {"CROCBOT_AGENT": "http"}
    chat = Chat(world)
    await world.start_bridge()
    async with serving({"POST /": agent}) as place:
        settings["CROCBOT_AGENT_URL"] = f"http://{place}/"
        gateway = await world.start_gateway(**settings)
        for fault in (Slow(0), Slow(0), Slow(60)):
            world.server.fault("sendPhoto", fault)
        world.server.send(ADA, "go")
        await world.eventually(lambda: world.server.calls["sendphoto"] == 3)
        gateway.process.send_signal(signal.SIGKILL)
        await gateway.process.wait()
        if carried_out:
            # The third one arrives although the gateway is gone.
            world.server.fault("sendPhoto", Drop(carried_out=True))
        await world.start_gateway(**settings)
        await world.eventually(lambda: chat.sent and chat.sent[-1][1] == "3")

    captions = [caption for _, caption, _ in chat.sent]
    assert captions == ["Four.", "0", "1", *["2"] * (1 + carried_out), "3"]
    assert asked == 1
    assert chat.keyboards[0] == KEYBOARD

    async def counted() -> bool:
        issues = await world.values("crocbot_delivery_snags_total")
        return issues.get("repeated") == 1

    await world.eventually(counted)


async def test_a_retry_sends_the_rest(world: World, run: Any) -> None:
    """An answer whose delivery failed goes on after `crocbot inbox retry`."""
    blocked = faults.api_error(403, "Forbidden: bot was blocked by the user")
    for fault in (Slow(0), blocked):
        world.server.fault("sendDocument", fault)
    answer = {"text": "Two.", "files": [as_json(PDF), as_json(PDF + b"2")]}
    async with serving({"POST /": answering(answer)}) as place:
        chat = Chat(world)
        gateway = await world.start_gateway(
            CROCBOT_AGENT="http", CROCBOT_AGENT_URL=f"http://{place}/"
        )
        world.server.send(ADA, "go")
        await world.eventually(lambda: "turn failed" in gateway.output.read_text())
        retry = run("crocbot", "inbox", "retry", **world.settings())
        assert (await asyncio.to_thread(retry.end))[:2] == (0, "reopened: 1\n")
        await world.eventually(lambda: len(chat.messages) == 3)
    assert [content for _, _, content in chat.sent] == [b"", PDF, PDF + b"2"]
