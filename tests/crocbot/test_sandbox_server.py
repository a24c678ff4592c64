"""The sandbox's Bot API: what it answers and refuses, what goes wrong on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
import telegram

from crocbot.sandbox import Chat, Person, Server, faults, messages
from crocbot.sandbox.faults import Drop, Fault, Slow

ADA = Person(7, "Ada", "ada")
NOW = 1_700_000_000


class Client:
    """Calls methods in one of the ways that Telegram allows."""

    def __init__(self, server: Server, session: aiohttp.ClientSession) -> None:
        self.url = f"{server.url}/bot{server.token}"
        self.session = session

    async def call(self, method: str, **parameters: Any) -> Any:
        """A call with a JSON body; returns the whole answer."""
        async with self.session.post(
            f"{self.url}/{method}", json=parameters
        ) as response:
            answer = await response.json()
        assert answer.get("error_code", 200) == response.status
        return answer

    async def result(self, method: str, **parameters: Any) -> Any:
        """What a call that works brings."""
        return (await self.call(method, **parameters))["result"]


def play(scene: Callable[[Server, Client], Awaitable[Any]]) -> Any:
    """Run a scene with a server and a client for it."""

    async def run() -> Any:
        async with Server(clock=lambda: NOW) as server, aiohttp.ClientSession() as web:
            return await scene(server, Client(server, web))

    return asyncio.run(run())


async def until(condition: Callable[[], Any]) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (what is awaited is in the server)
            await asyncio.sleep(0.005)


async def polling(server: Server, client: Client) -> asyncio.Task[Any]:
    """Begin a long poll; returns its task when the server has it."""
    before = server.calls["getupdates"]
    poll = asyncio.create_task(client.call("getUpdates", timeout=30))
    await until(lambda: server.calls["getupdates"] > before)
    # The body of the call may still be on its way; a later call comes after it.
    await client.result("getMe")
    return poll


def test_a_bot_library_reads_every_object() -> None:
    """python-telegram-bot can parse who we are and each kind of message."""

    async def scene(server: Server, _: Client) -> list[telegram.Update]:
        server.send(ADA, "/start@sandbox_croc_bot now")
        server.send(ADA, messages.photo("Look"))
        server.send(ADA, messages.sticker())
        server.send(ADA, messages.voice())
        server.send(ADA, "hello", Chat(-5, "Friends"))
        async with telegram.Bot(server.token, base_url=f"{server.url}/bot") as bot:
            assert bot.username == "sandbox_croc_bot"
            assert bot.bot.is_bot
            return list(await bot.get_updates())

    start, photo, sticker, voice, group = [update.message for update in play(scene)]

    assert start.date.timestamp() == NOW
    assert (start.entities[0].type, start.entities[0].length) == ("bot_command", 23)
    assert (photo.caption, photo.photo[-1].width) == ("Look", 1280)
    assert sticker.sticker.type == "regular"
    assert voice.voice.mime_type == "audio/ogg"
    assert (start.chat.type, start.chat.id) == ("private", 7)
    assert (group.chat.type, group.chat.title) == ("group", "Friends")


@pytest.mark.parametrize("how", ["query", "form", "multipart", "json", "get"])
def test_parameters_may_come_in_every_way(how: str) -> None:
    """Query, form, multipart and JSON mean the same; so does a method in any case."""

    async def scene(server: Server, client: Client) -> Any:
        server.send(ADA, "hello")
        url = f"{client.url}/SENDmessage"
        fields = {"chat_id": "7", "text": "привет"}
        form = aiohttp.FormData(fields, default_to_multipart=how == "multipart")
        ways: dict[str, dict[str, Any]] = {
            "query": {"params": fields},
            "get": {"params": fields},
            "form": {"data": form},
            "multipart": {"data": form},
            "json": {"json": {"chat_id": 7, "text": "привет"}},
        }
        verb = "GET" if how == "get" else "POST"
        async with client.session.request(verb, url, **ways[how]) as response:
            return await response.json()

    answer = play(scene)

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
def test_a_wrong_address_is_refused(path: str, code: int, description: str) -> None:
    """A wrong token, method or path is refused in Telegram's form."""

    async def scene(server: Server, client: Client) -> Any:
        url = server.url + path.replace("{token}", server.token)
        async with client.session.get(url) as response:
            return response.status, await response.json()

    refusal = {"ok": False, "error_code": code, "description": description}
    assert play(scene) == (code, refusal)


def test_a_body_that_is_no_object_is_refused() -> None:
    """JSON that is broken or no object is a mistake of the caller."""

    async def scene(_: Server, client: Client) -> list[int]:
        statuses = []
        for body in ("{", "[1]"):
            async with client.session.post(
                f"{client.url}/getMe",
                data=body,
                headers={"Content-Type": "application/json"},
            ) as response:
                statuses.append(response.status)
        return statuses

    assert play(scene) == [400, 400]


def test_a_long_poll_waits_for_a_message() -> None:
    """A poll with nothing to bring ends when somebody writes."""

    async def scene(server: Server, client: Client) -> Any:
        poll = await polling(server, client)
        assert not poll.done()
        server.send(ADA, "at last")
        return (await poll)["result"]

    assert [update["message"]["text"] for update in play(scene)] == ["at last"]


def test_a_long_poll_ends_by_itself() -> None:
    """A poll to which nothing comes brings an empty list after its time-out."""

    async def scene(_: Server, client: Client) -> Any:
        return await client.call("getUpdates", timeout=1)

    assert play(scene) == {"ok": True, "result": []}


def test_a_second_poll_ends_the_first() -> None:
    """Of two pollers the older one is told of the conflict, the newer gets updates."""

    async def scene(server: Server, client: Client) -> tuple[Any, Any]:
        older = await polling(server, client)
        newer = await polling(server, client)
        refused = await older
        server.send(ADA, "hello")
        return refused, (await newer)["result"][0]["message"]["text"]

    refused, text = play(scene)

    assert (refused["error_code"], refused["description"]) == (409, faults.OTHER_POLLER)
    assert text == "hello"


def test_a_strange_update_is_delivered_as_it_is() -> None:
    """push queues what no person could do."""

    async def scene(server: Server, client: Client) -> Any:
        number = server.push({"message": 5})
        updates = await client.result("getUpdates")
        return updates == [{"update_id": number, "message": 5}]

    assert play(scene)


@pytest.mark.parametrize(
    ("fault", "status", "said"),
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
def test_a_fault_replaces_answers(fault: Fault, status: int, said: str) -> None:
    """A fault takes the place of as many answers as it was asked to, then no more."""

    async def scene(server: Server, client: Client) -> list[tuple[int, str]]:
        server.send(ADA, "hello")
        server.listen(lambda _: pytest.fail("a fault carried something out"))
        server.fault("sendMessage", fault, times=2)
        answers = []
        for _ in range(2):
            async with client.session.post(
                f"{client.url}/sendMessage", json={"chat_id": 7, "text": "hi"}
            ) as response:
                answers.append((response.status, await response.text()))
        assert (await client.call("getMe"))["ok"]
        assert server.calls == {"sendmessage": 2, "getme": 1}
        return answers

    for code, body in play(scene):
        assert code == status
        assert said in body


@pytest.mark.parametrize("carried_out", [False, True])
def test_a_connection_is_dropped(carried_out: bool) -> None:
    """A dropped call has no answer, whether or not it was carried out."""
    heard: list[Any] = []

    async def scene(server: Server, client: Client) -> None:
        server.send(ADA, "hello")
        server.listen(heard.append)
        server.fault("sendMessage", Drop(carried_out))
        with pytest.raises((aiohttp.ServerDisconnectedError, ConnectionResetError)):
            await client.call("sendMessage", chat_id=7, text="hi")
        assert (await client.call("sendMessage", chat_id=7, text="again"))["ok"]

    play(scene)

    said = ["hi", "again"] if carried_out else ["again"]
    assert [message["text"] for message in heard] == said


def test_an_answer_comes_late() -> None:
    """A slow call outlasts the caller's patience; a patient caller is answered."""

    async def scene(server: Server, client: Client) -> Any:
        server.fault("getMe", Slow(60))
        server.fault("getMe", Slow(0.01))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.call("getMe"), 0.2)
        return await client.call("getMe")

    assert play(scene)["ok"]


def test_a_fault_hits_a_poll_that_waits() -> None:
    """A poll that hangs already is the first call to go wrong; the next one works."""

    async def scene(server: Server, client: Client) -> tuple[Any, Any]:
        poll = await polling(server, client)
        server.fault("getUpdates", faults.other_poller())
        refused = await poll
        server.send(ADA, "hello")
        return refused["error_code"], (await client.call("getUpdates"))["ok"]

    assert play(scene) == (409, True)


def test_a_fault_needs_a_method() -> None:
    """A misspelt method is the test's mistake, told at once."""
    with pytest.raises(ValueError, match="no method getUpdate"):
        Server().fault("getUpdate", faults.garbage())


def test_the_server_leaves_at_once() -> None:
    """A poll that hangs does not keep the server from ending."""

    async def scene(server: Server, client: Client) -> Any:
        return await polling(server, client)

    async def run() -> None:
        async with asyncio.timeout(10), aiohttp.ClientSession() as web:
            async with Server() as server:
                poll = await scene(server, Client(server, web))
            with pytest.raises((aiohttp.ClientError, ConnectionResetError)):
                await poll

    asyncio.run(run())
