"""The sandbox's Bot API: answers, errors, and faults on demand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest
import telegram

from crocbot.sandbox import Chat, Person, Server, faults, messages
from crocbot.sandbox.faults import Drop, Fault, Slow

ADA = Person(7, "Ada", "ada")
NOW = 1_700_000_000


class Client:
    """Calls methods with a JSON body."""

    def __init__(self, server: Server, session: aiohttp.ClientSession) -> None:
        self.url = f"{server.url}/bot{server.token}"
        self.session = session

    async def call(self, method: str, **parameters: Any) -> Any:
        async with self.session.post(
            f"{self.url}/{method}", json=parameters
        ) as response:
            answer = await response.json()
        assert answer.get("error_code", 200) == response.status
        return answer

    async def result(self, method: str, **parameters: Any) -> Any:
        return (await self.call(method, **parameters))["result"]


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server whose clock stands still."""
    async with Server(clock=lambda: NOW) as started:
        yield started


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    """A client of that server."""
    async with aiohttp.ClientSession() as session:
        yield Client(server, session)


async def polling(server: Server, client: Client) -> asyncio.Task[Any]:
    """Start a long poll; return its task when the server has it."""
    before = server.calls["getupdates"]
    poll = asyncio.create_task(client.call("getUpdates", timeout=30))
    async with asyncio.timeout(60):
        while server.calls["getupdates"] == before:
            await asyncio.sleep(0.005)
    # Its body may still be on the way; a later call comes after it.
    await client.result("getMe")
    return poll


async def test_a_bot_library_reads_every_object(server: Server) -> None:
    """python-telegram-bot parses the bot and each type of message."""
    server.send(ADA, "/start@sandbox_croc_bot now")
    server.send(ADA, messages.photo("Look"))
    server.send(ADA, messages.sticker())
    server.send(ADA, messages.voice())
    server.send(ADA, "hello", Chat(-5, "Friends"))
    async with telegram.Bot(server.token, base_url=f"{server.url}/bot") as bot:
        assert bot.username == "sandbox_croc_bot"
        assert bot.bot.is_bot
        updates = await bot.get_updates()
    start, photo, sticker, voice, group = [update.message for update in updates]

    assert start.date.timestamp() == NOW
    assert (start.entities[0].type, start.entities[0].length) == ("bot_command", 23)
    assert (photo.caption, photo.photo[-1].width) == ("Look", 1280)
    assert sticker.sticker.type == "regular"
    assert voice.voice.mime_type == "audio/ogg"
    assert (start.chat.type, start.chat.id) == ("private", 7)
    assert (group.chat.type, group.chat.title) == ("group", "Friends")


@pytest.mark.parametrize(
    ("content", "kind", "begins"),
    [
        (messages.photo(), "photo", b"\xff\xd8\xff"),
        (messages.voice(), "voice", b"OggS"),
        (messages.sticker(), "sticker", b"RIFF"),
    ],
)
async def test_what_users_send_can_be_fetched(
    server: Server, content: Mapping[str, Any], kind: str, begins: bytes
) -> None:
    """Photos, voice messages and stickers have a content of the size that they name."""
    server.send(ADA, content)
    urls = {"base_url": f"{server.url}/bot", "base_file_url": f"{server.url}/file/bot"}
    async with telegram.Bot(server.token, **urls) as bot:
        (update,) = await bot.get_updates()
        found = getattr(update.message, kind)
        for each in found if isinstance(found, tuple) else [found]:
            file = await bot.get_file(each.file_id)
            loaded = await file.download_as_bytearray()

            assert loaded.startswith(begins)
            assert len(loaded) == each.file_size == file.file_size


@pytest.mark.parametrize("encoding", ["query", "form", "multipart", "json", "get"])
async def test_parameters_come_in_every_encoding(
    server: Server, client: Client, encoding: str
) -> None:
    """Query, form, multipart and JSON mean the same; so does a method in any case."""
    server.send(ADA, "hello")
    fields = {"chat_id": "7", "text": "привет"}
    form = aiohttp.FormData(fields, default_to_multipart=encoding == "multipart")
    requests: dict[str, dict[str, Any]] = {
        "query": {"params": fields},
        "get": {"params": fields},
        "form": {"data": form},
        "multipart": {"data": form},
        "json": {"json": {"chat_id": 7, "text": "привет"}},
    }
    verb = "GET" if encoding == "get" else "POST"
    url = f"{client.url}/SENDmessage"
    async with client.session.request(verb, url, **requests[encoding]) as response:
        answer = await response.json()

    assert answer["ok"] is True
    assert (answer["result"]["text"], answer["result"]["chat"]["id"]) == ("привет", 7)


@pytest.mark.parametrize(
    ("path", "code", "description"),
    [
        ("/bot1:wrong/getMe", 401, "Unauthorized"),
        ("/bot{token}/danceForMe", 404, "Not Found: method not found"),
        ("/", 404, "Not Found"),
        ("/bot1:wrong", 404, "Not Found"),
    ],
)
async def test_a_wrong_path_is_refused(
    server: Server, client: Client, path: str, code: int, description: str
) -> None:
    """A wrong token, method or path is an error in Telegram's format."""
    url = server.url + path.replace("{token}", server.token)
    async with client.session.get(url) as response:
        status, answer = response.status, await response.json()

    assert status == code
    assert answer == {"ok": False, "error_code": code, "description": description}


@pytest.mark.parametrize("body", ["{", "[1]"])
async def test_a_body_that_is_no_json_object_is_refused(
    client: Client, body: str
) -> None:
    """It is a bad request."""
    headers = {"Content-Type": "application/json"}
    async with client.session.post(
        f"{client.url}/getMe", data=body, headers=headers
    ) as response:
        assert response.status == 400


async def test_a_long_poll_waits_for_a_message(server: Server, client: Client) -> None:
    """A poll without updates ends when a user writes."""
    poll = await polling(server, client)
    assert not poll.done()
    server.send(ADA, "at last")
    updates = (await poll)["result"]

    assert [update["message"]["text"] for update in updates] == ["at last"]


async def test_a_long_poll_ends_at_its_timeout(client: Client) -> None:
    """Without an update it returns an empty list."""
    answer = await client.call("getUpdates", timeout=1)

    assert answer == {"ok": True, "result": []}


async def test_a_second_poll_ends_the_first(server: Server, client: Client) -> None:
    """The older poller gets the conflict, the newer one the updates."""
    older = await polling(server, client)
    newer = await polling(server, client)
    refused = await older
    server.send(ADA, "hello")

    assert (refused["error_code"], refused["description"]) == (409, faults.OTHER_POLLER)
    assert (await newer)["result"][0]["message"]["text"] == "hello"


async def test_an_invalid_update_is_delivered_as_it_is(
    server: Server, client: Client
) -> None:
    """push queues what no user could send."""
    update_id = server.push({"message": 5})

    assert await client.result("getUpdates") == [{"update_id": update_id, "message": 5}]


@pytest.mark.parametrize(
    ("fault", "status", "part"),
    [
        (faults.other_poller(), 409, "terminated by other getUpdates request"),
        (faults.webhook_active(), 409, "while webhook is active"),
        (faults.flood_wait(3), 429, '"retry_after": 3'),
        (faults.unauthorized(), 401, "Unauthorized"),
        (faults.server_error(), 500, "Internal Server Error"),
        (faults.bad_gateway(), 502, "<html>"),
        (faults.garbage(), 200, "Wi-Fi"),
    ],
)
async def test_a_fault_replaces_answers(
    server: Server, client: Client, fault: Fault, status: int, part: str
) -> None:
    """It replaces as many answers as it was asked to, and nothing is carried out."""
    server.send(ADA, "hello")
    server.listen(lambda _: pytest.fail("a fault carried out the call"))
    server.fault("sendMessage", fault, times=2)
    for _ in range(2):
        async with client.session.post(
            f"{client.url}/sendMessage", json={"chat_id": 7, "text": "hi"}
        ) as response:
            assert response.status == status
            assert part in await response.text()

    assert (await client.call("getMe"))["ok"]
    assert server.calls == {"sendmessage": 2, "getme": 1}


@pytest.mark.parametrize(
    ("carried_out", "texts"), [(False, ["again"]), (True, ["hi", "again"])]
)
async def test_a_connection_is_dropped(
    server: Server, client: Client, carried_out: bool, texts: list[str]
) -> None:
    """A dropped call has no answer, whether or not it was carried out."""
    received: list[Any] = []
    server.send(ADA, "hello")
    server.listen(received.append)
    server.fault("sendMessage", Drop(carried_out))
    with pytest.raises((aiohttp.ServerDisconnectedError, ConnectionResetError)):
        await client.call("sendMessage", chat_id=7, text="hi")

    assert (await client.call("sendMessage", chat_id=7, text="again"))["ok"]
    assert [message["text"] for message in received] == texts


async def test_an_answer_comes_late(server: Server, client: Client) -> None:
    """A slow call exceeds the caller's timeout; one without a timeout is answered."""
    server.fault("getMe", Slow(60))
    server.fault("getMe", Slow(0.01))
    late = asyncio.create_task(client.call("getMe"))
    # The first fault is used up once the server has the call.
    async with asyncio.timeout(60):
        while not server.calls["getme"]:
            await asyncio.sleep(0.005)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(late, 0.2)

    assert (await client.call("getMe"))["ok"]


async def test_a_fault_replaces_a_waiting_poll(server: Server, client: Client) -> None:
    """A long poll in progress is the first call that fails; the next one works."""
    poll = await polling(server, client)
    server.fault("getUpdates", faults.other_poller())
    refused = await poll
    server.send(ADA, "hello")

    assert refused["error_code"] == 409
    assert (await client.call("getUpdates"))["ok"]


def test_a_fault_needs_a_known_method() -> None:
    """A misspelt method is an error of the test."""
    with pytest.raises(ValueError, match="no method getUpdate"):
        Server().fault("getUpdate", faults.garbage())


async def test_a_waiting_poll_does_not_delay_the_end() -> None:
    """The server closes its connection."""
    # Less than the 30 s of the poll.
    async with asyncio.timeout(25), aiohttp.ClientSession() as session:
        async with Server() as server:
            poll = await polling(server, Client(server, session))
        with pytest.raises((aiohttp.ClientError, ConnectionResetError)):
            await poll
