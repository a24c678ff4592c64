"""Files of people on their way to each agent, with real processes."""

from __future__ import annotations

import asyncio
import base64
import random
import signal
import stat
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from crocbot.sandbox import Person, faults, messages
from crocbot.sandbox.faults import Drop
from crocbot.sandbox.messages import Content
from crocbot.turn.messages import FAILED_FILE, NOTHING_SPOKEN
from tests.crocbot.fakes import serving
from tests.crocbot.transcription_server import TranscriptionServer, words
from tests.end_to_end.world import World

ADA = Person(1001, "Ada")
EVE = Person(6666, "Eve")
OGG = b"OggS" + bytes(2000)
PDF = b"%PDF-1.7\n" + bytes(1000)
JPEG = b"\xff\xd8\xff\xe0" + bytes(1000)
LIMIT = 3000
TOO_LARGE = "Sorry, that file is too large: I can read files of at most 3 kB."
UNSUPPORTED = (
    "Sorry, I cannot read this kind of file, only images and text documents of at most"
    " 3 kB. Please write it as text."
)


class Service:
    """An agent `http` that keeps what it is asked, and answers with the message."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        return web.json_response({"reply": self.asked[-1]["message"] or "nothing"})

    def content(self, number: int) -> dict[str, bytes]:
        """Return the files of a question by their kind."""
        files = self.asked[number]["files"]
        return {file["kind"]: base64.b64decode(file["data"]) for file in files}


@asynccontextmanager
async def a_service(world: World, **settings: str) -> AsyncIterator[Service]:
    """Run a gateway with a service as its agent."""
    service = Service()
    async with serving({"POST /": service.answer}) as place:
        chosen = {
            "CROCBOT_AGENT": "http",
            "CROCBOT_AGENT_URL": f"http://{place}/",
            "CROCBOT_MEDIA_MAX_BYTES": str(LIMIT),
        }
        await world.start_gateway(**{**chosen, **settings})
        yield service


async def tell(world: World, content: str | Content, person: Person = ADA) -> str:
    """Send a message, and return the answer."""
    before = len(world.replies.to(person))
    world.server.send(person, content)
    await world.eventually(lambda: len(world.replies.to(person)) > before)
    return world.replies.to(person)[-1]


@pytest.mark.parametrize(
    ("content", "kind", "mime_type"),
    [
        (messages.voice(file_id="f", size=9), "voice", "audio/ogg"),
        (messages.audio(file_id="f"), "audio", "audio/ogg"),
        (messages.video_note(file_id="f"), "video_note", "audio/ogg"),
        (messages.video(file_id="f"), "video", "audio/ogg"),
        (
            messages.document("a.txt", "text/plain", file_id="f"),
            "document",
            "audio/ogg",
        ),
    ],
)
async def test_every_kind(
    world: World, content: Content, kind: str, mime_type: str
) -> None:
    """A service gets the bytes of every kind, and the type of the content."""
    world.server.upload("f", OGG)
    async with a_service(world) as service:
        await tell(world, content)

    ((file,),) = (question["files"] for question in service.asked)
    assert service.content(0) == {kind: OGG}
    assert (file["mime_type"], file["size"]) == (mime_type, len(OGG))


async def test_an_album(world: World) -> None:
    """The files of an album are one question; one that is too large gets a sentence."""
    world.server.upload("a", PDF)
    world.server.upload("b", b"Hi.")
    await world.start_bridge()
    async with a_service(world) as service:
        for name, size in (("a", None), ("b", None), ("c", LIMIT + 1)):
            caption = "Look" if name == "a" else ""
            document = messages.document(
                name, file_id=name, size=size, album="1", caption=caption
            )
            world.server.send(ADA, document)
        await world.eventually(lambda: world.replies.to(ADA))

    (question,) = service.asked
    assert [file["mime_type"] for file in question["files"]] == [
        "application/pdf",
        "text/plain",
    ]
    assert world.replies.to(ADA)[0].startswith(f"{TOO_LARGE}\n\nLook\n")
    assert question["media"][2]["note"] == "not loaded, it is too large"

    async def counted() -> bool:
        files = await world.values("crocbot_files_total")
        return (files.get("in ok"), files.get("in too_large")) == (2, 1)

    await world.eventually(counted)


async def test_a_large_file_alone(world: World) -> None:
    """It gets one sentence with the limit, and no agent is asked."""
    world.server.upload("f", bytes(LIMIT + 1))
    async with a_service(world) as service:
        # Once with its size, and once without.
        for size in (LIMIT + 1, None):
            content = messages.document(file_id="f", size=size)
            assert await tell(world, content) == TOO_LARGE

    assert service.asked == []


async def test_telegram_fails(world: World) -> None:
    """A download is tried again; one that does not succeed gets one sentence."""
    world.server.upload("f", PDF)
    async with a_service(world) as service:
        world.server.fault("getFile", faults.server_error(), times=2)
        world.server.fault("getFile", Drop())
        assert await tell(world, messages.document(file_id="f")) == FAILED_FILE
        world.server.fault("getFile", faults.flood_wait(1))
        await tell(world, messages.document(file_id="f"))
        assert await tell(world, messages.document(file_id="gone")) == FAILED_FILE

    assert len(service.asked) == 1


async def test_a_reply_to_a_file(world: World) -> None:
    """The file that a message replies to is a file of the question."""
    world.server.upload("f", PDF)
    async with a_service(world) as service:
        sent = world.server.send(ADA, messages.document(file_id="f"))
        await world.eventually(lambda: world.replies.to(ADA))
        await tell(world, {"text": "What is it?", "reply_to_message": sent})

    assert [file["quoted"] for file in service.asked[1]["files"]] == [True]


async def test_strangers(world: World) -> None:
    """No file of a stranger is loaded, stored, transcribed or given to an agent."""
    world.server.upload("voice", OGG)
    world.server.upload("document", PDF)
    async with TranscriptionServer() as transcriptions:
        settings = {
            "CROCBOT_ACCESS": "allowlist",
            "CROCBOT_ALLOW_FROM": str(ADA.user_id),
            "CROCBOT_TRANSCRIBE_URL": transcriptions.url,
        }
        async with a_service(world, **settings) as service:
            for content in (messages.voice(), messages.document(), messages.photo()):
                world.server.send(EVE, content)
            assert await tell(world, "hello") == "hello"
            await world.eventually(lambda: not world.server.pending)

    assert world.server.calls["getfile"] == 0
    assert transcriptions.requests == []
    assert [question["message"] for question in service.asked] == ["hello"]


class Model:
    """A server of a model that keeps the last message of each request."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((await request.json())["messages"][-1]["content"])
        message = {"role": "assistant", "content": "Hi."}
        choice = {"message": message, "finish_reason": "stop"}
        return web.json_response({"choices": [choice]})


async def test_a_model(world: World) -> None:
    """It reads text documents as quoted words, and people hear of other files."""
    texts: Mapping[str, tuple[bytes, str]] = {
        "utf-8": ("\ufeffGrüße\r\nan alle".encode(), "> Grüße\n> an alle"),
        "utf-16": ("Grüße".encode("utf-16"), "> Grüße"),
        "latin-1": ("Grüße".encode("latin-1"), "> Grüße"),
    }
    others = {"pdf": PDF, "binary": b"text\0\1", "voice": OGG}
    model = Model()
    async with serving({"POST /v1/chat/completions": model.answer}) as place:
        await world.start_gateway(
            CROCBOT_AGENT="openai",
            OPENAI_BASE_URL=f"http://{place}/v1",
            CROCBOT_MODEL="m",
            CROCBOT_MEDIA_MAX_BYTES=str(LIMIT),
        )
        for name, (content, _) in texts.items():
            world.server.upload(name, content)
            document = messages.document(f"{name}.txt", "text/plain", file_id=name)
            assert await tell(world, document) == "Hi."
        for name, content in others.items():
            world.server.upload(name, content)
            document = messages.document(f"{name}.txt", "text/plain", file_id=name)
            sent = messages.voice() if name == "voice" else document
            assert await tell(world, sent) == UNSUPPORTED
        world.server.upload("jpeg", JPEG)
        image = messages.document("x.txt", "text/plain", file_id="jpeg")
        assert await tell(world, image) == "Hi."

    assert model.asked[:3] == [
        f"[document, {name}.txt, text/plain; its words are quoted:]\n{quoted}"
        for name, (_, quoted) in texts.items()
    ]
    assert model.asked[3][1]["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert len(model.asked) == 4


PROGRAM = """
import os, pathlib, sys, time
message = sys.stdin.read()
paths = list(map(pathlib.Path, os.environ["CROCBOT_FILES"].splitlines()))
assert all(f"[file {path}]" in message for path in paths)
print(*[f"{path.name} {path.stat().st_size}" for path in paths], flush=True)
pathlib.Path(sys.argv[1]).write_text("\\n".join(map(str, paths)))
if "wait" in message:
    time.sleep(600)
"""


async def a_program(world: World) -> tuple[dict[str, str], Path]:
    """Return the settings for PROGRAM, and the file that it writes paths to."""
    program, seen = world.home / "answer.py", world.home / "seen"
    program.write_text(PROGRAM)
    return {
        "CROCBOT_AGENT": "command",
        "CROCBOT_AGENT_COMMAND": f"{sys.executable} {program} {seen}",
        "CROCBOT_STATSD_HOST": "off",
    }, seen


async def test_a_program(world: World) -> None:
    """It gets private files with harmless names, which are gone after the turn."""
    settings, seen = await a_program(world)
    world.server.upload("f", PDF)
    await world.start_gateway(**settings)
    answer = await tell(world, messages.document("../../\0e\u202eil.pdf", file_id="f"))
    assert answer == f"1-e_il.pdf {len(PDF)}".replace("e_il", "eil")
    path = Path(seen.read_text())
    assert world.database.parent in path.parents
    await world.eventually(lambda: not path.parent.exists())
    assert stat.S_IMODE((world.database.parent / "turns").stat().st_mode) == 0o700


async def test_left_over_files(world: World) -> None:
    """Files of a gateway that was killed are removed at the next start."""
    settings, seen = await a_program(world)
    world.server.upload("f", PDF)
    gateway = await world.start_gateway(**settings)
    world.server.send(ADA, messages.document(file_id="f", caption="wait"))
    await world.eventually(lambda: seen.exists() and seen.read_text())
    gateway.process.send_signal(signal.SIGKILL)
    await gateway.process.wait()
    path = Path(seen.read_text())
    assert path in path.parent.iterdir()

    seen.unlink()
    await world.start_gateway(**settings)
    await world.eventually(lambda: not path.exists())
    # The turn runs again, with files of its own.
    await world.eventually(lambda: seen.exists() and seen.read_text())
    world.server.send(ADA, "/stop")
    await world.eventually(
        lambda: not list((world.database.parent / "turns").iterdir())
    )


CHATS, EACH, KILLS = 10, 12, 4
# A row is set aside if its third try crashes, which begins 10 s after a start or later.
QUICK_SECONDS = 4.0


async def test_crashes_with_files_in_flight(world: World) -> None:
    """Every document and voice message is answered, in order, however often it dies."""
    seed = random.randrange(10**9)
    chance = random.Random(seed)
    answers: dict[int, list[int]] = defaultdict(list)
    world.server.listen(
        lambda sent: answers[sent["chat"]["id"]].append(int(sent["text"].split()[0]))
    )

    async def answer(request: web.Request) -> web.StreamResponse:
        question = await request.json()
        await asyncio.sleep(0.02)
        texts = [base64.b64decode(file["data"]).decode() for file in question["files"]]
        return web.json_response({"reply": f"{' '.join(texts) or question['message']}"})

    async with (
        serving({"POST /": answer}) as place,
        TranscriptionServer() as transcriptions,
    ):
        transcriptions.default = words("7")
        for number in range(EACH):
            world.server.upload(f"f{number}", str(number).encode())
            for chat in range(1, CHATS + 1):
                person = Person(chat, "P")
                sent = messages.document("a.txt", "text/plain", file_id=f"f{number}")
                world.server.send(person, messages.voice() if number == 7 else sent)
        world.server.upload("voice", OGG)
        settings = {
            "CROCBOT_AGENT": "http",
            "CROCBOT_AGENT_URL": f"http://{place}/",
            "CROCBOT_TRANSCRIBE_URL": transcriptions.url,
        }
        await world.start_bridge()

        def count() -> int:
            return sum(len(set(numbers)) for numbers in answers.values())

        async def wait_for(goal: int) -> None:
            await world.eventually(lambda: count() >= goal)

        for _ in range(KILLS):
            gateway = await world.start_gateway(**settings)
            more = chance.randrange(1, CHATS * EACH // KILLS - 5)
            with suppress(TimeoutError):
                async with asyncio.timeout(QUICK_SECONDS):
                    await wait_for(count() + more)
            gateway.process.send_signal(signal.SIGKILL)
            await gateway.process.wait()
        gateway = await world.start_gateway(**settings)
        await world.eventually(lambda: count() == CHATS * EACH)
        assert await gateway.stop() == 0

    for numbers in answers.values():
        assert list(dict.fromkeys(numbers)) == list(range(EACH)), seed
    duplicates = sum(map(len, answers.values())) - CHATS * EACH
    assert duplicates <= KILLS * CHATS, seed


async def test_spoken_messages(world: World) -> None:
    """A voice message is a text for every agent, also for echo; its type is media."""
    world.server.upload("voice", OGG)
    await world.start_bridge()
    async with TranscriptionServer() as transcriptions:
        gateway = await world.start_gateway(
            CROCBOT_TRANSCRIBE_URL=f"{transcriptions.url}/audio/transcriptions",
            CROCBOT_TRANSCRIBE_MODEL="whisper-9",
        )
        assert await tell(world, messages.voice()) == "Turn on the light."
        transcriptions.default = words("")
        assert await tell(world, messages.voice()) == NOTHING_SPOKEN

    assert [upload.fields["model"] for upload in transcriptions.requests] == [
        "whisper-9"
    ] * 2
    assert transcriptions.requests[0].content == OGG
    assert "Traceback" not in gateway.output.read_text()

    async def counted() -> bool:
        outcomes = await world.values("crocbot_transcriptions_total")
        types = await world.values("crocbot_messages_total")
        seconds = await world.values("crocbot_transcription_seconds_count")
        return (
            (outcomes.get("ok"), outcomes.get("empty")) == (1, 1)
            and types.get("media") == 2
            and seconds.get("") == 2
        )

    await world.eventually(counted)
