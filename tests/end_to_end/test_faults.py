"""Every fault in the table of docs/operations.md is visible where the page says."""

from __future__ import annotations

import asyncio
import json
import re
import resource
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import web

from crocbot.botapi.bot import MAX_ANSWER_BYTES
from crocbot.sandbox import Chat, Person, faults, messages, metrics_page
from crocbot.sandbox.children import Child
from crocbot.sandbox.faults import Drop, Fault, Slow
from crocbot.sandbox.messages import Sent
from crocbot.store.sqlite import FORMAT
from crocbot.turn.messages import CRASH_ERROR
from tests.crocbot.answer_files import PDF, as_json, png
from tests.crocbot.fakes import serving
from tests.end_to_end.programs import Run
from tests.end_to_end.world import World
from tests.ports import HOST, free_port

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
SERIES = re.compile(r"`(crocbot_\w+)(?:\{(.*?)\})?`")
ADA, BOB = Person(7, "Ada"), Person(8, "Bob")
DRAFTED, HANGING = "a draft?", "a draft that hangs?"


@dataclass(frozen=True)
class Row:
    """One fault, as the page has it."""

    fault: str
    log: str
    ready: str
    metrics: tuple[tuple[str, dict[str, str]], ...]


def table(title: str = "Faults") -> Iterator[Row]:
    """Yield the rows of a section of the page."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(f"\n## {title}\n")
    rest, _, _ = rest.partition("\n## ")
    lines = [line for line in rest.splitlines() if line.startswith("| ")][1:]
    for line in lines:
        fault, _, log, ready, metrics = (cell.strip() for cell in line[1:-1].split("|"))
        named = [
            (name, dict(LABEL.findall(labels)))
            for name, labels in SERIES.findall(metrics)
        ]
        yield Row(fault, log.strip("`"), ready.strip("`"), tuple(named))


class Scene:
    """A world with a bridge and a gateway that reaches Telegram through `proxy`."""

    def __init__(self, world: World, gateway: Child, proxy: Proxy) -> None:
        self.world = world
        self.server = world.server
        self.gateway = gateway
        self.proxy = proxy
        self.received: list[tuple[int, str]] = []
        self.server.listen(self._receive)

    def _receive(self, sent: Sent) -> None:
        self.received.append((sent["chat"]["id"], sent.get("text", "")))

    @property
    def log(self) -> str:
        """The output of the gateway."""
        return self.gateway.output.read_text()

    async def ready(self) -> str:
        """Return the page of /readyz."""
        async with (
            aiohttp.ClientSession() as web,
            web.get(f"{self.world.health_url}/readyz") as answer,
        ):
            return await answer.text()

    async def values(self, row: Row) -> list[float]:
        """Return the values of the metrics that a row names."""
        series = metrics_page.read(await self.world.text())
        return [
            sum(one.value for one in series if one.name == name and one.labels == want)
            for name, want in row.metrics
        ]

    async def eventually(self, condition: Callable[[], Any]) -> None:
        """Wait until a condition is true."""
        await self.world.eventually(condition)

    async def answered(self, words: str) -> None:
        """Write a message and wait for its answer."""
        self.server.send(ADA, words)
        await self.eventually(lambda: (ADA.user_id, words) in self.received)


class Proxy:
    """A proxy to the sandbox that can be closed."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = parts.hostname, parts.port
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._port = free_port()

    async def open(self) -> str:
        """Listen, each time on the same port; return the URL."""
        self._server = await asyncio.start_server(self._serve, HOST, self._port)
        return f"http://{HOST}:{self._port}"

    async def close(self) -> None:
        """Refuse connections and abort the open ones."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        # Since Python 3.12 it is only closed when its connections are.
        await self._server.wait_closed()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            there, back = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        await asyncio.gather(_pump(reader, back), _pump(there, writer))
        self._writers -= {writer, back}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writer.transport.abort()


@asynccontextmanager
async def stage(world: World, **settings: str) -> AsyncIterator[Scene]:
    """Start everything that a fault needs."""
    proxy = Proxy(world.server.url)
    url = await proxy.open()
    await world.start_bridge()
    gateway = await world.start_gateway(
        CROCBOT_TELEGRAM_API_URL=url,
        CROCBOT_GROUPS="-5:always",
        **world.clock.settings,
        **settings,
    )
    scene = Scene(world, gateway, proxy)
    try:
        yield scene
    finally:
        await gateway.stop()
        await proxy.close()


# How each fault is caused.  A cause that lasts returns what ends it.

End = Callable[[], Awaitable[None]]
Cause = Callable[[Scene], Awaitable[End | None]]


def poll(fault: Fault) -> Cause:
    """Return the cause of a fault of the next poll."""

    async def cause(scene: Scene) -> None:
        scene.server.fault("getUpdates", fault)

    return cause


def send(fault: Fault) -> Cause:
    """Return the cause of a fault of the next reply."""

    async def cause(scene: Scene) -> None:
        scene.server.fault("sendMessage", fault)
        scene.server.send(ADA, "hello?")

    return cause


def send_file(method: str, *faults: Fault) -> Cause:
    """Return the cause of faults of the next calls that send a file, or buttons."""

    async def cause(scene: Scene) -> None:
        for fault in faults:
            scene.server.fault(method, fault)
        scene.server.send(ADA, "a file?")

    return cause


async def answer_with_files(request: web.Request) -> web.StreamResponse:
    """Answer like the agent `echo`, with a picture, a document and a button."""
    return web.json_response(
        {
            "text": (await request.json())["message"],
            "files": [as_json(png()), as_json(PDF)],
            "buttons": [[{"text": "Next", "data": "next"}]],
        }
    )


def draft(fault: Fault, message: str = DRAFTED, person: Person = ADA) -> Cause:
    """Return the cause of a fault of the next draft."""

    async def cause(scene: Scene) -> None:
        scene.server.fault("sendMessageDraft", fault)
        scene.server.send(person, message)

    return cause


def rich(fault: Fault) -> Cause:
    """Return the cause of a fault of the next rich message."""

    async def cause(scene: Scene) -> None:
        scene.server.fault("sendRichMessage", fault)
        scene.server.send(ADA, TABLE)

    return cause


def draft_writer(world: World) -> Callable[[web.Request], Awaitable[Any]]:
    """
    Return an agent `echo` that ends answers to DRAFTED once a draft was counted.

    It ends those to HANGING once there is a draft.
    """
    calls = world.server.calls

    async def count() -> float:
        return sum((await world.values("crocbot_drafts_total")).values())

    async def write(request: web.Request) -> web.StreamResponse:
        message = (await request.json())["message"]
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        called, counted = calls["sendmessagedraft"], await count()
        await response.write(message.encode())

        async def is_counted() -> bool:
            return await count() > counted

        if message in {DRAFTED, HANGING}:
            await world.eventually(lambda: calls["sendmessagedraft"] > called)
        if message == DRAFTED:
            await world.eventually(is_counted)
        return response

    return write


async def set_webhook(scene: Scene) -> None:
    """Set a webhook."""
    url = f"{scene.server.url}/bot{scene.server.token}/setWebhook"
    async with (
        aiohttp.ClientSession() as web,
        web.post(url, json={"url": "http://127.0.0.1:1/"}) as answer,
    ):
        assert answer.status == 200


async def refuse_connections(scene: Scene) -> End:
    """Refuse connections to Telegram."""
    await scene.proxy.close()

    async def end() -> None:
        await scene.proxy.open()

    return end


async def unreadable(scene: Scene) -> None:
    """Deliver an update that cannot be parsed."""
    scene.server.push({"message": {"chat": {"id": 7}, "text": ["?"]}})


async def a_wrong_part(scene: Scene) -> None:
    """Write a message that replies to a poll, with an entity that cannot be read."""
    wrong = {"entities": [{"type": "bold"}], "reply_to_message": {"poll": {}}}
    scene.server.send(ADA, {**messages.text("what?"), **wrong})


async def unknown_kind(scene: Scene) -> None:
    """Send a kind of media that Telegram adds tomorrow."""
    scene.server.send(ADA, {"hologram": {"file_id": "h", "depth": 3}})


async def closed_topic(scene: Scene) -> None:
    """Write in a forum topic that is closed before the reply."""
    forum = Chat(-5, "Friends", "supergroup")
    topic = {"is_topic_message": True, "message_thread_id": 4}
    closed = faults.api_error(400, "Bad Request: TOPIC_CLOSED")
    scene.server.fault("sendMessage", closed)
    scene.server.send(ADA, {**messages.text("is it closed?"), **topic}, forum)


async def without_id(scene: Scene) -> None:
    """Deliver an update without an id, which cannot be acknowledged."""
    body = '{"ok": true, "result": [{"message": {}}]}'
    scene.server.fault("getUpdates", faults.Answer(200, body))


async def too_many_bytes(scene: Scene) -> None:
    """Answer a poll with more bytes than the gateway reads."""
    page = " " * (MAX_ANSWER_BYTES + 1)
    scene.server.fault("getUpdates", faults.Answer(200, page))


async def half_requests(scene: Scene) -> End:
    """Open more connections to the health address than there may be."""
    port = scene.world.health_port
    pairs = [await asyncio.open_connection(HOST, port) for _ in range(2 * 128)]
    for _, writer in pairs:
        writer.write(b"GET /readyz HT")

    async def end() -> None:
        for _, writer in pairs:
            writer.close()

    return end


async def supergroup(scene: Scene) -> None:
    """Give a group another id while its reply is sent."""
    old, new = Chat(-5, "Friends"), Chat(-100500, "Friends", "supergroup")
    # The sandbox knows a chat once it has a message.
    scene.server.send(ADA, messages.sticker(), new)
    moved = faults.api_error(
        400,
        "Bad Request: group chat was upgraded to a supergroup chat",
        migrate_to_chat_id=new.chat_id,
    )
    scene.server.fault("sendMessage", moved)
    scene.server.send(ADA, "still here?", old)
    await scene.eventually(lambda: (new.chat_id, "still here?") in scene.received)
    # It has the access of the group.
    scene.server.send(ADA, "and now?", new)
    await scene.eventually(lambda: (new.chat_id, "and now?") in scene.received)


async def lock(scene: Scene) -> End:
    """Lock the database from another connection."""
    other = sqlite3.connect(scene.world.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    scene.server.send(ADA, "is it locked?")

    async def end() -> None:
        other.close()

    return end


async def fill_the_disk(scene: Scene) -> End:
    """Limit the size of the gateway's files."""
    process = scene.gateway.process.pid
    before = resource.prlimit(process, resource.RLIMIT_FSIZE)
    size = scene.gateway.output.stat().st_size
    # The log is a file as well: these bytes are for it.
    resource.prlimit(process, resource.RLIMIT_FSIZE, (size + 4000, before[1]))
    for _ in range(20):
        scene.server.send(ADA, "x" * 2000)

    async def end() -> None:
        resource.prlimit(process, resource.RLIMIT_FSIZE, before)

    return end


async def move_the_file(scene: Scene) -> End:
    """Move the database away."""
    file = scene.world.database
    elsewhere = file.with_name("elsewhere")
    file.rename(elsewhere)
    scene.server.send(ADA, "is it gone?")

    async def end() -> None:
        elsewhere.rename(file)

    return end


async def block(scene: Scene) -> None:
    """Let another person block the bot."""
    scene.server.send(BOB, "hello?")
    await scene.eventually(lambda: (BOB.user_id, "hello?") in scene.received)
    scene.server.change_member(BOB, "kicked")


async def press_too_late(scene: Scene) -> None:
    """Press a button, and let Telegram forget the press."""
    forgotten = faults.api_error(400, f"Bad Request: {TOO_OLD}")
    scene.server.fault("answerCallbackQuery", forgotten)
    sent = scene.server.send(ADA, "which one?")
    scene.server.press(ADA, sent, "this one")


async def unreadable_press(scene: Scene) -> None:
    """Press a button without a name."""
    message = {"message_id": 1, "chat": {"id": ADA.user_id}, "date": 1}
    query = {"id": "1", "from": {"id": "?"}, "message": message, "data": "yes"}
    scene.server.push({"callback_query": query})


async def step_the_clock(scene: Scene) -> None:
    """Step the clock by three days."""
    scene.world.clock.step(3 * 86_400.0)
    await scene.answered("what day is it?")


TOO_OLD = "query is too old and response timeout expired or query ID is invalid"
BLOCKED = faults.api_error(403, "Forbidden: bot was blocked by the user")
TABLE = "| a | b |\n|---|---|\n| 1 | 2 |"
# The last one lasts until the next start.
DRAFT_CAUSES: dict[str, Cause] = {
    # Of another person, whose chat has no drafts for a second.
    "drafts meet a flood wait": draft(faults.flood_wait(1), person=BOB),
    "a draft is refused": draft(
        faults.api_error(400, "Bad Request: TEXTDRAFT_PEER_INVALID")
    ),
    "a draft has no answer": draft(Slow(3600), HANGING),
    "a rich message is refused": rich(
        faults.api_error(400, "Bad Request: RICH_MESSAGE_INVALID")
    ),
    "a rich message is not confirmed": rich(Drop(carried_out=True)),
    "the Bot API server has no drafts": draft(faults.api_error(404, "Not Found")),
}
TOO_LARGE = faults.Answer(413, "<html>Too large", "text/html")
NO_BUTTON = faults.api_error(400, "Bad Request: BUTTON_DATA_INVALID")
FILE_CAUSES: dict[str, Cause] = {
    "a picture is refused": send_file(
        "sendPhoto", faults.api_error(400, "Bad Request: IMAGE_PROCESS_FAILED")
    ),
    "a document is refused": send_file("sendDocument", TOO_LARGE),
    "a file meets a flood wait": send_file("sendPhoto", faults.flood_wait(1)),
    "buttons are refused": send_file("sendMessage", NO_BUTTON),
}
CAUSES: dict[str, Cause] = {
    "another program polls": poll(faults.other_poller()),
    "a webhook is set": set_webhook,
    "a poll meets a flood wait": poll(faults.flood_wait(1)),
    "connections are refused": refuse_connections,
    "the connection is cut": poll(Drop()),
    "500": poll(faults.server_error()),
    "502": poll(faults.bad_gateway()),
    "a page instead of JSON": poll(faults.garbage()),
    "an unreadable update": unreadable,
    "a part of an update that is not needed is wrong": a_wrong_part,
    "a message of a kind that is not known": unknown_kind,
    "more updates than requested": poll(
        faults.Answer(200, json.dumps({"ok": True, "result": [{}] * 1000}))
    ),
    "updates of more than 4 MiB": too_many_bytes,
    "half requests at the health address": half_requests,
    "an update without an id": without_id,
    "a reply meets a flood wait": send(faults.flood_wait(1)),
    "a reply meets a bad network": send(faults.bad_gateway()),
    "a firewall refuses a call": send(faults.Answer(403, "<html>No", "text/html")),
    "a reply is refused": send(faults.api_error(400, "Bad Request: no")),
    "a forum topic is closed": closed_topic,
    "the bot was blocked": send(BLOCKED),
    "a person blocks the bot": block,
    "the press of a button cannot be confirmed": press_too_late,
    "the press of a button is unreadable": unreadable_press,
    "a group became a supergroup": supergroup,
    "the inbox is locked": lock,
    "the inbox file is missing": move_the_file,
    "the disk is full": fill_the_disk,
    "the system's clock steps": step_the_clock,
}
CRASH = "a message crashes the process"
SLOW = "no answer to a poll"
# Only one poll fails.
ONCE = {"another program polls", "500", "502", "a page instead of JSON", SLOW}
LATER = "the inbox file is of a later version"
FATAL = {"Telegram refuses the token", "the inbox file is damaged", LATER}
ROWS = {row.fault: row for row in table()}


def test_the_page_has_every_fault() -> None:
    """The page and this file have the same faults."""
    causes = {*CAUSES, *DRAFT_CAUSES, *FILE_CAUSES}
    assert set(ROWS) == {*causes, SLOW, CRASH, *FATAL}


async def test_every_temporary_fault(world: World) -> None:
    """Each fault is visible where the page says; after it users are answered again."""
    async with stage(world) as s:
        await s.answered("before")
        for fault, cause in CAUSES.items():
            await meet(s, ROWS[fault], cause)
        assert "Traceback" not in s.log


async def test_every_fault_of_drafts_and_rich_messages(world: World) -> None:
    """Each is visible where the page says, and the next answer arrives."""
    async with serving({"POST /": draft_writer(world)}) as url:
        settings = {
            "CROCBOT_AGENT": "http",
            "CROCBOT_AGENT_URL": f"http://{url}/",
            "CROCBOT_RICH": "on",
        }
        async with stage(world, **settings) as s:
            await s.answered("before")
            for fault, cause in DRAFT_CAUSES.items():
                await meet(s, ROWS[fault], cause)
            assert "Traceback" not in s.log


async def test_every_fault_of_files(world: World) -> None:
    """Each is visible where the page says, and the text arrives."""
    async with serving({"POST /": answer_with_files}) as url:
        agent = {"CROCBOT_AGENT": "http", "CROCBOT_AGENT_URL": f"http://{url}/"}
        async with stage(world, **agent) as s:
            await s.answered("before")
            for fault, cause in FILE_CAUSES.items():
                await meet(s, ROWS[fault], cause)
            assert "Traceback" not in s.log


async def test_no_answer_to_a_poll(world: World) -> None:
    """A poll without an answer times out."""
    async with stage(world) as s:
        await s.answered("before")
        await meet(s, ROWS[SLOW], poll(Slow(600)))


async def meet(scene: Scene, row: Row, cause: Cause) -> None:
    """Cause a fault, check everything that the page names, and end it."""
    before, log_length = await scene.values(row), len(scene.log)
    end = await cause(scene)

    async def shown() -> bool:
        values = await scene.values(row)
        return all(new > old for new, old in zip(values, before, strict=True))

    async def ready() -> bool:
        return row.ready in await scene.ready()

    async def recovered() -> bool:
        return "\nready" in await scene.ready()

    try:
        await scene.eventually(lambda: row.log in scene.log[log_length:])
        await scene.eventually(ready)
        await scene.eventually(shown)
        if end is not None:
            await end()
        await scene.answered(f"after: {row.fault}")
        await scene.eventually(recovered)
        if row.fault in ONCE:
            assert await scene.values(row) == [value + 1 for value in before]
    except TimeoutError:
        pytest.fail(f"{row}: {await scene.values(row)}\n{scene.log[log_length:]}")


async def test_a_token_that_is_refused(world: World) -> None:
    """A refused token ends the gateway, and its metric is still sent."""
    row = ROWS["Telegram refuses the token"]

    async with stage(world) as s:
        s.server.fault("getUpdates", faults.unauthorized())
        assert await s.gateway.process.wait() == 2
        assert row.log in s.log
        assert "Traceback" not in s.log

        async def shown() -> bool:
            return all(await s.values(row))

        await s.eventually(shown)
        with pytest.raises(aiohttp.ClientConnectorError):
            await s.ready()


async def test_a_damaged_inbox(world: World, run: Run) -> None:
    """A damaged file is refused and not changed."""
    row = ROWS["the inbox file is damaged"]

    world.database.parent.mkdir()
    world.database.write_bytes(b"nonsense" * 1000)
    gateway = run("crocbot", "gateway", **world.settings())
    code, _, errors = await asyncio.to_thread(gateway.end)

    assert code == 2
    assert row.log in errors
    assert "move it away to start with an empty one" in errors
    assert world.database.read_bytes() == b"nonsense" * 1000


async def test_a_later_inbox(world: World, run: Run) -> None:
    """A file of a later version is refused."""
    world.database.parent.mkdir()
    connection = sqlite3.connect(world.database)
    connection.execute(f"PRAGMA user_version={FORMAT + 1}")
    connection.close()
    gateway = run("crocbot", "gateway", **world.settings())
    code, _, errors = await asyncio.to_thread(gateway.end)

    assert code == 2
    assert ROWS[LATER].log in errors


async def test_a_message_that_crashes_the_process(world: World) -> None:
    """The third crash sets it aside, and the gateway goes on."""
    row, fatal = ROWS[CRASH], ("tests.end_to_end.fatal_gateway", "kill")
    await world.start_bridge()
    world.server.send(ADA, "fatal")
    for _ in range(3):
        crashing = await world.start(*fatal, **world.settings())
        await crashing.process.wait()
    gateway = await world.start_gateway(*fatal)
    scene = Scene(world, gateway, Proxy(world.server.url))

    async def shown() -> bool:
        return all(await scene.values(row)) and row.ready in await scene.ready()

    await scene.eventually(lambda: row.log in scene.log)
    await scene.eventually(shown)
    await scene.eventually(lambda: CRASH_ERROR in world.replies.to(ADA))
    await scene.answered("after the crash")
    assert await gateway.stop() == 0


if sys.platform != "linux":
    # Only Linux can change the limits of another process.
    del CAUSES["the disk is full"], ROWS["the disk is full"]
