"""`crocbot send` and `POST /send`: messages that answer no update, beside answers."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from crocbot import pushed
from crocbot.delivery_outcomes import PushState
from crocbot.pushed import sql
from crocbot.sandbox import Person, faults
from crocbot.sandbox.faults import Slow
from crocbot.store import opened
from tests.crocbot.answer_files import png
from tests.crocbot.fakes import serving
from tests.end_to_end.programs import Run
from tests.end_to_end.world import World
from tests.ports import HOST

ADA, BOB = Person(7, "Ada"), Person(8, "Bob")
SECRET = "a-secret-that-is-long-enough"
SENT = "crocbot_pushed_rows"
LONG = "\n\n".join(f"Paragraph {number} " + "x" * 900 for number in range(12))

Crocbot = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def crocbot(world: World, run: Run) -> Crocbot:
    """Run `crocbot` with the gateway's settings; return exit code and outputs."""

    async def running(*words: str) -> tuple[int, str, str]:
        program = run("crocbot", *words, **world.settings())
        return await asyncio.to_thread(program.end)

    return running


def rows(world: World) -> Mapping[PushState, int]:
    """Return the messages by state, as the file has them."""
    with opened(world.database, [pushed.SCHEMA]) as connection:
        return sql.state(connection).rows


async def post(
    world: World, body: Any, secret: str = SECRET, **headers: str
) -> tuple[int, Any]:
    """Send a request to the door; return its status and answer."""
    if not isinstance(body, aiohttp.FormData | str | bytes):
        body, headers = json.dumps(body), {"Content-Type": "application/json"} | headers
    headers = {"Authorization": f"Bearer {secret}"} | headers
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{world.health_url}/send", data=body, headers=headers) as answer,
    ):
        text = await answer.text()
        return answer.status, json.loads(text) if text.startswith("{") else text


async def meet(world: World, *people: Person) -> None:
    """Let people write first: a bot cannot write to anyone else."""
    for person in people:
        world.server.send(person, "hello")
    for person in people:
        await world.eventually(lambda: world.replies.to(person))  # noqa: B023


async def test_the_command_beside_a_gateway(world: World, crocbot: Crocbot) -> None:
    """Texts are sent with their formatting and in order; the list shows them."""
    sent: list[Any] = []
    gateway = await world.start_gateway()
    await meet(world, ADA)
    world.server.listen(sent.append)
    code, output, errors = await crocbot("send", "7", "**done**")
    assert (code, output, errors) == (0, "stored: message 1 for chat 7\n", "")
    await world.eventually(lambda: sent)
    assert sent[0]["text"] == "done"
    assert sent[0]["entities"] == [{"type": "bold", "offset": 0, "length": 4}]

    assert (await crocbot("send", "7", "--plain", "**as it is**"))[0] == 0
    await world.eventually(lambda: world.replies.to(ADA)[2:] == ["**as it is**"])
    assert (await crocbot("send", "7", LONG))[0] == 0
    await world.eventually(lambda: len(world.replies.to(ADA)) == 6)
    assert "\n\n".join(world.replies.to(ADA)[3:]) == LONG
    await world.eventually(lambda: rows(world)[PushState.SENT] == 3)
    code, output, _ = await crocbot("send", "--list")
    assert output.startswith("open 0, sent 3, failed 0\n  message 3 for chat 7: sent, ")
    assert await gateway.stop() == 0


async def test_a_file(world: World, crocbot: Crocbot) -> None:
    """A picture is one, with the text below it; its bytes are deleted afterwards."""
    sent: list[Any] = []
    await world.start_gateway()
    await meet(world, ADA)
    world.server.listen(sent.append)
    picture = world.home / "chart.png"
    picture.write_bytes(png())
    code, _, errors = await crocbot("send", "7", "*June*", "--file", str(picture))
    assert (code, errors) == (0, "")
    await world.eventually(lambda: sent)
    assert sent[0]["photo"]
    assert sent[0]["caption"] == "June"
    await world.eventually(lambda: rows(world)[PushState.SENT] == 1)
    with opened(world.database, [pushed.SCHEMA]) as connection:
        assert sql.content(connection, 1) is None


async def test_the_command_without_a_gateway(world: World, crocbot: Crocbot) -> None:
    """The message is kept, and sent by the next start."""
    gateway = await world.start_gateway()
    await meet(world, ADA)
    assert await gateway.stop() == 0
    code, output, _ = await crocbot("send", "7", "later")
    assert code == 0
    assert output == (
        "stored: message 1 for chat 7; no gateway runs, it is sent after the next"
        " start\n"
    )
    assert world.replies.to(ADA) == ["hello"]
    await world.start_gateway()
    await world.eventually(lambda: world.replies.to(ADA)[1:] == ["later"])


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["@channel", "hi"], "the chat must be the id"),
        (["0", "hi"], "the chat must be the id"),
        (["7", " "], "no visible character"),
        (["7", "x" * 70_000], "more than 65536 bytes"),
        (["7", "--file", "/no/such"], "cannot read /no/such: No such file"),
        (["7"], "CHAT, and TEXT or --file, are needed"),
        (["7", "--file", "a.png", "--file", "b.png"], "--file is given twice"),
    ],
)
async def test_mistakes(
    world: World, crocbot: Crocbot, words: list[str], error: str
) -> None:
    """Each is one sentence with exit code 2, and stores nothing."""
    await (await world.start_gateway()).stop()
    code, output, errors = await crocbot("send", *words)
    assert (code, output) == (2, "")
    assert error in errors
    assert rows(world)[PushState.OPEN] == 0


async def test_a_closed_standard_input(world: World) -> None:
    """A job without a standard input gets one sentence with exit code 2."""
    await (await world.start_gateway()).stop()
    shell = f"exec {sys.executable} -m crocbot send 7 - <&-"
    program = await asyncio.create_subprocess_exec(
        *("sh", "-c", shell),
        env={**os.environ, **world.settings()},
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await program.communicate()
    assert program.returncode == 2
    assert errors.decode() == "crocbot: -: the standard input is closed\n"


async def test_a_chat_that_is_refused(world: World, crocbot: Crocbot) -> None:
    """Its message is closed as failed with the reason; other chats are not affected."""
    gone = faults.api_error(403, "Forbidden: bot was blocked by the user")
    await world.start_bridge()
    await world.start_gateway()
    await meet(world, ADA, BOB)
    world.server.fault("sendMessage", gone)
    assert (await crocbot("send", "7", "to nobody"))[0] == 0
    await world.eventually(lambda: rows(world)[PushState.FAILED] == 1)
    assert (await crocbot("send", "8", "to Bob"))[0] == 0
    await world.eventually(lambda: world.replies.to(BOB)[1:] == ["to Bob"])
    _, output, _ = await crocbot("send", "--list")
    assert re.search(
        r"message 1 for chat 7: failed, \d+ s ago: .*bot was blocked by the", output
    )

    async def counted() -> bool:
        found = await world.values(SENT)
        return found == {"open": 0, "sent": 1, "failed": 1}

    await world.eventually(counted)


async def test_the_door(world: World) -> None:
    """Stored messages are confirmed and sent; everything else has its status."""
    gateway = await world.start_gateway(CROCBOT_SEND_SECRET=SECRET)
    await meet(world, ADA)
    assert await post(world, {"chat": 7, "text": "by JSON"}) == (202, {"id": 1})
    form = aiohttp.FormData({"chat": "7", "text": "by form"})
    form.add_field("file", png(), filename="a.png")
    assert await post(world, form) == (202, {"id": 2})
    await world.eventually(lambda: world.replies.to(ADA)[1:2] == ["by JSON"])
    await world.eventually(lambda: rows(world)[PushState.SENT] == 2)

    for body, status in (
        ({"chat": "@x", "text": "hi"}, 400),
        ({"chat": 7, "text": ""}, 400),
        ({"chat": 7, "text": 5}, 400),
        ({"chat": True, "text": "hi"}, 400),
        ({"chat": 7, "txet": "hi"}, 400),
        ({"chat": 7, "text": "hi", "markdown": "no"}, 400),
        ([7, "hi"], 400),
        ("chat=7&text=hi", 400),
        ("{", 400),
        ({"chat": 7, "text": "x" * 70_000}, 413),
        ({"chat": 7, "text": "x" * 900_000}, 413),
    ):
        found, answer = await post(world, body)
        assert (found, list(answer)) == (status, ["error"]), body
    for secret in ("", "wrong", f"{SECRET}x", SECRET[:-1]):
        assert (await post(world, {"chat": 7, "text": "hi"}, secret))[0] == 401
    basic = {"Authorization": f"Basic {SECRET}"}
    assert (await post(world, {"chat": 7, "text": "hi"}, **basic))[0] == 401
    assert sum(rows(world).values()) == 2
    assert SECRET not in gateway.output.read_text()


def part(headers: bytes, content: bytes = b"x") -> bytes:
    """Return a part of a form with the boundary `b`."""
    return b"--b\r\n" + headers + b"\r\n\r\n" + content + b"\r\n"


FIELD = b'Content-Disposition: form-data; name="%s"'
CHAT = part(FIELD % b"chat", b"7")
HOSTILE_FORMS = {
    "no end": CHAT,
    "garbage": b"\x00\xff" * 50,
    "nested": part(b"Content-Type: multipart/mixed; boundary=c", b"--c\r\n\r\nx--c--"),
    "not UTF-8": CHAT + part(FIELD % b"text", b"\xff\xfe") + b"--b--\r\n",
    "a long header": part(b"X: " + b"y" * 20_000) + b"--b--\r\n",
    "a name with control characters": CHAT
    + part(FIELD % b"file" + b'; filename="a\x01.png"')
    + b"--b--\r\n",
    "two files": CHAT
    + part(FIELD % b"file" + b'; filename="a"')
    + part(FIELD % b"file" + b'; filename="b"')
    + b"--b--\r\n",
    "two texts": CHAT + part(FIELD % b"text") * 2 + b"--b--\r\n",
    "many parts": part(FIELD % b"text") * 10 + b"--b--\r\n",
}


async def test_hostile_requests(world: World) -> None:
    """Each has an answer of one sentence; none makes a traceback, or costs much."""
    gateway = await world.start_gateway(CROCBOT_SEND_SECRET=SECRET)
    for body in HOSTILE_FORMS.values():
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        status, answer = await post(world, body, **headers)
        assert (status, list(answer)) == (400, ["error"]), body[:80]
    reader, writer = await asyncio.open_connection(HOST, world.health_port)
    head = f"POST /send HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    writer.write(head.encode())
    await writer.drain()
    await asyncio.sleep(0.2)
    writer.transport.abort()
    reader, writer = await asyncio.open_connection(HOST, world.health_port)
    writer.write(b"POST /send HTTP/1.1\r\nHost: x\r\nContent-Length: 40000000\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
    writer.close()
    assert (await post(world, {"chat": 7, "text": "still there"}))[0] == 202
    assert "Traceback" not in gateway.output.read_text()
    assert rows(world)[PushState.OPEN] + rows(world)[PushState.FAILED] == 1


async def test_no_door_without_a_secret(world: World) -> None:
    """There is no such page then."""
    await world.start_gateway()
    assert (await post(world, {"chat": 7, "text": "hi"}))[0] == 404


async def test_a_browser_is_not_allowed(world: World) -> None:
    """The question that a browser asks before another site's request is refused."""
    await world.start_gateway(CROCBOT_SEND_SECRET=SECRET)
    headers = {
        "Origin": "https://evil.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    async with (
        aiohttp.ClientSession() as session,
        session.options(f"{world.health_url}/send", headers=headers) as answer,
    ):
        assert answer.status == 405
        assert not [name for name in answer.headers if "access-control" in name.lower()]


async def test_a_full_table(world: World) -> None:
    """More messages than may wait are refused, and counted."""
    world.server.fault("sendMessage", faults.flood_wait(600), times=100)
    await world.start_bridge()
    await world.start_gateway(CROCBOT_SEND_SECRET=SECRET)
    text = {"chat": 7, "text": "x"}
    assert (await post(world, text))[0] == 202
    with opened(world.database, [pushed.SCHEMA]) as connection:
        message = pushed.new_message(7, "x")
        for _ in range(sql.MAX_OPEN_ROWS - 1):
            pushed.add(connection, message, 0.0)
    assert (await post(world, text))[0] == 429

    async def counted() -> bool:
        found = await world.values("crocbot_push_requests_total")
        return (found.get("stored"), found.get("full")) == (1, 1)

    await world.eventually(counted)


class Chats:
    """What the bot has sent, by chat: parts of answers and of pushed messages."""

    def __init__(self, world: World) -> None:
        self.texts: dict[int, list[str]] = defaultdict(list)
        world.server.listen(self._record)

    def _record(self, sent: Any) -> None:
        if "edit_date" not in sent:
            self.texts[sent["chat"]["id"]].append(sent["text"])

    def kinds(self, chat: int) -> list[str]:
        """Return the first word of each text, its name, without repeats."""
        words = [text.split(maxsplit=1)[0] for text in self.texts[chat]]
        return [
            word
            for index, word in enumerate(words)
            if words[index - 1 : index] != [word]
        ]


def parts(name: str, count: int = 3) -> str:
    """Return a text of several messages; each begins with its name."""
    return "\n\n".join(f"{name} {number} " + "x" * 3500 for number in range(count))


async def stream(request: web.Request) -> web.StreamResponse:
    """Answer a message with several, which grow."""
    question = await request.json()
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    for paragraph in parts(f"answer{question['message']}").split("\n\n"):
        await response.write(f"{paragraph}\n\n".encode())
        await asyncio.sleep(0.4)
    return response


async def test_parts_are_not_mixed(world: World) -> None:
    """Pushes beside answers of several parts under load; both ledgers close."""
    await world.start_bridge()
    people = [Person(number, "A") for number in range(1, 9)]
    async with serving({"POST /": stream}) as place:
        gateway = await world.start_gateway(
            CROCBOT_SEND_SECRET=SECRET,
            CROCBOT_AGENT="http",
            CROCBOT_AGENT_URL=f"http://{place}/",
        )
        await meet(world, *people)
        chats = Chats(world)
        world.server.fault("sendMessage", Slow(0.01), times=10_000)
        for number in range(5):
            for person in people:
                world.server.send(person, str(number))
                body = {"chat": person.user_id, "text": parts(f"push{number}")}
                assert (await post(world, body))[0] == 202
            await asyncio.sleep(0.3)

        async def closed() -> bool:
            sent = await world.values(SENT)
            found = await world.values("crocbot_inbox_closed_rows")
            return sent.get("sent") == 40 and found.get("answered") == 48

        await world.eventually(closed)
        assert await gateway.stop() == 0
    for person in people:
        kinds = [each for each in chats.kinds(person.user_id) if each != "answerhello"]
        assert len(kinds) == len(set(kinds)) == 10, kinds
        assert [kind for kind in kinds if kind.startswith("push")] == [
            f"push{number}" for number in range(5)
        ]


async def test_kills_lose_no_message(world: World) -> None:
    """Five kills while messages are pushed: each part arrives, few of them twice."""
    seed = random.randrange(10**9)
    chance = random.Random(seed)
    gateway = await world.start_gateway(CROCBOT_SEND_SECRET=SECRET)
    await meet(world, *(Person(number, "A") for number in range(1, 11)))
    chats, kills, count = Chats(world), 5, 120
    world.server.fault("sendMessage", Slow(0.02), times=10_000)
    for number in range(count):
        body = {"chat": 1 + number % 10, "text": parts(f"push{number}", 2)}
        assert (await post(world, body))[0] == 202
    for _ in range(kills):
        await asyncio.sleep(chance.uniform(0.05, 0.3))
        gateway.process.send_signal(signal.SIGKILL)
        await gateway.process.wait()
        gateway = await world.start_gateway(CROCBOT_SEND_SECRET=SECRET)
    await world.eventually(lambda: rows(world)[PushState.OPEN] == 0)
    texts = [text for chat in chats.texts.values() for text in chat]
    assert len(set(texts)) == 2 * count, seed
    assert len(texts) - 2 * count <= kills * 10, seed
    for chat in chats.texts.values():
        firsts = [
            int(text.split()[0].removeprefix("push")) for text in dict.fromkeys(chat)
        ]
        assert firsts == sorted(firsts), seed
    assert await gateway.stop() == 0
