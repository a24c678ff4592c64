"""The calls of the gateway against the sandbox, and their errors in our words."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from crocbot.botapi import Client, Door
from crocbot.errors import (
    ChatGoneError,
    CrocbotError,
    DeliveryError,
    FloodWaitError,
    OperatorError,
    TelegramError,
    WebhookSetError,
)
from crocbot.events import ApiCall, CallOutcome, FloodWait, Method
from crocbot.model import ChatThread, Entity, MessagePart, ReconnectReason
from crocbot.sandbox import Person, Server, faults
from crocbot.sandbox.faults import Answer, Drop, Fault, Slow
from tests.crocbot.fakes import RecordedEvents

ADA = Person(7, "Ada")
TOKEN = "123:a-very-secret-token"
NOT_FOUND = faults.refusal(404, "Not Found")


def meet(
    scene: Callable[[Client, Server], Awaitable[None]], token: str = TOKEN
) -> None:
    """Play a scene with a client and the server that it talks to."""

    async def run() -> None:
        async with (
            Server(TOKEN) as server,
            Client(token, server.url, long_poll=0, margin=0.5) as client,
        ):
            await scene(client, server)

    asyncio.run(asyncio.wait_for(run(), 30))


def test_a_conversation() -> None:
    """The calls do what they are named for."""
    sent: list[Any] = []

    async def scene(client: Client, server: Server) -> None:
        server.listen(sent.append)
        me = await client.get_me()
        assert str(me.user_id)
        assert me.username
        await client.delete_webhook()
        await client.set_my_commands({"start": "Say hello"})
        server.say(ADA, "hello")
        (update,) = await client.get_updates(0, 100)
        assert update["message"]["text"] == "hello"
        assert await client.get_updates(update["update_id"] + 1, 100) == []
        await client.send_message(ChatThread(7), MessagePart("hello, too"))

    meet(scene)
    assert [message["text"] for message in sent] == ["hello, too"]


def test_how_a_message_looks() -> None:
    """A message has its entities, its topic and what it answers; an edit changes it."""
    sent: list[Any] = []

    async def scene(client: Client, server: Server) -> None:
        server.listen(sent.append)
        server.say(ADA, "hello")
        bold = MessagePart("bold link", (Entity("bold", 0, 4),))
        link = MessagePart("bold link", (Entity("text_link", 5, 4, "https://x.y"),))
        number = await client.send_message(ChatThread(7, 4), bold, 1)
        for _ in range(2):
            # The second time nothing changes, which is as good.
            await client.edit_message(ChatThread(7, 4), number, link)
        await client.delete_message(ChatThread(7, 4), number)
        with pytest.raises(DeliveryError):
            await client.edit_message(ChatThread(7, 4), number, bold)
        await client.send_typing(ChatThread(7, 4))
        assert server.calls["sendchataction"] == 1

    meet(scene)
    first, second = sent
    assert first["entities"] == [{"type": "bold", "offset": 0, "length": 4}]
    assert first["message_thread_id"] == 4
    assert first["reply_to_message"] == {"message_id": 1}
    assert second["entities"] == [
        {"type": "text_link", "offset": 5, "length": 4, "url": "https://x.y"}
    ]


def test_a_download() -> None:
    """A file is loaded if it is there and small enough; nobody sees its link."""

    async def scene(client: Client, server: Server) -> None:
        server.upload("photo", b"x" * 100)
        assert await client.download("photo", 100) == b"x" * 100
        for file_id, most in (("photo", 99), ("other", 100)):
            with pytest.raises(DeliveryError) as refused:
                await client.download(file_id, most)
            assert "secret" not in f"{refused.value!r} {refused.value.__context__!r}"

    meet(scene)


@pytest.mark.parametrize(
    "found",
    [
        "true",
        "{}",
        '{"file_path": "/var/lib/telegram-bot-api/photo"}',
        '{"file_path": "../../bot/getMe"}',
        '{"file_path": "files/gone"}',
    ],
)
def test_files_that_cannot_be_loaded(found: str) -> None:
    """A file that is gone, or is not where files are, fails no more than itself."""

    async def scene(client: Client, server: Server) -> None:
        server.fault("getFile", Answer(200, f'{{"ok":true,"result":{found}}}'))
        with pytest.raises(DeliveryError):
            await client.download("photo", 100)

    meet(scene)


def test_the_limit_is_kept() -> None:
    """A poll brings no more updates than there is room for."""

    async def scene(client: Client, server: Server) -> None:
        for word in "abc":
            server.say(ADA, word)
        assert len(await client.get_updates(0, 2)) == 2

    meet(scene)


def test_methods_that_are_not_there() -> None:
    """A server without a method of no need is no reason to doubt the token."""

    async def scene(client: Client, server: Server) -> None:
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "deleteWebhook": client.delete_webhook,
            "getWebhookInfo": client.get_webhook_info,
            "setMyCommands": lambda: client.set_my_commands({"start": "Hello"}),
            "editMessageText": lambda: client.edit_message(
                ChatThread(7), 1, MessagePart("x")
            ),
            "deleteMessage": lambda: client.delete_message(ChatThread(7), 1),
            "sendChatAction": lambda: client.send_typing(ChatThread(7)),
            "getFile": lambda: client.download("photo", 100),
        }
        for method, call in calls.items():
            server.fault(method, NOT_FOUND)
            with pytest.raises(DeliveryError, match=f"no: {method}: Not Found"):
                await call()

    meet(scene)


NETWORK, CONFLICT, TIMEOUT = ReconnectReason


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (
            faults.unauthorized(),
            OperatorError(
                "Telegram refused the token (Unauthorized):"
                " set TELEGRAM_BOT_TOKEN to the one that @BotFather shows"
            ),
        ),
        (
            NOT_FOUND,
            OperatorError(
                "Telegram refused the token (Not Found):"
                " set TELEGRAM_BOT_TOKEN to the one that @BotFather shows"
            ),
        ),
        (Answer(404, "<html>"), TelegramError("Not Found (404)", NETWORK)),
        (faults.flood_wait(3), FloodWaitError(3)),
        (Answer(429, "<html>"), FloodWaitError(1)),
        (
            faults.other_poller(),
            TelegramError(
                "another program polls with this token;"
                " only one of them gets the messages",
                CONFLICT,
            ),
        ),
        (
            faults.webhook_active(),
            WebhookSetError("a webhook is set for this bot"),
        ),
        (faults.server_error(), TelegramError("Internal Server Error", NETWORK)),
        (faults.bad_gateway(), TelegramError("Bad Gateway (502)", NETWORK)),
        (
            faults.garbage(),
            TelegramError("the answer is not a Bot API answer", NETWORK),
        ),
        (
            Answer(200, '{"ok":true}'),
            TelegramError("the answer is not a Bot API answer", NETWORK),
        ),
        (
            Answer(500, '{"parameters":[1]}'),
            TelegramError("the answer is not a Bot API answer", NETWORK),
        ),
        (Drop(), TelegramError("ServerDisconnectedError", NETWORK)),
        (Slow(20), TelegramError("no answer within 0.5 s", TIMEOUT)),
        (
            faults.refusal(400, "Bad Request: chat not found"),
            ChatGoneError("Telegram said no: Chat not found"),
        ),
        (
            faults.refusal(403, "Forbidden: bot was blocked by the user"),
            ChatGoneError("Telegram said no: Forbidden: bot was blocked by the user"),
        ),
        (
            faults.refusal(400, "Bad Request: can't parse entities"),
            DeliveryError("Telegram said no: Can't parse entities"),
        ),
        (
            faults.refusal(400, "upgraded", migrate_to_chat_id=-9),
            DeliveryError(
                "Telegram said no: Group migrated to supergroup. New chat id: -9"
            ),
        ),
    ],
)
def test_errors(fault: Fault, expected: CrocbotError) -> None:
    """Each way to fail gives one of our errors, with one line of words."""

    async def scene(client: Client, server: Server) -> None:
        server.fault("getUpdates", fault)
        with pytest.raises(type(expected)) as raised:
            await client.get_updates(0, 1)
        assert str(raised.value) == str(expected)
        if isinstance(expected, TelegramError):
            assert isinstance(raised.value, TelegramError)
            assert raised.value.reason is expected.reason
        # The next call is as good as any.
        assert await client.get_updates(0, 1) == []

    meet(scene)


@pytest.mark.parametrize("result", ["5", "null", '{"update_id":1}'])
def test_updates_that_are_no_list(result: str) -> None:
    """An answer without a list is no answer."""

    async def scene(client: Client, server: Server) -> None:
        server.fault("getUpdates", Answer(200, f'{{"ok":true,"result":{result}}}'))
        with pytest.raises(TelegramError, match="getUpdates gave no list"):
            await client.get_updates(0, 1)

    meet(scene)


@pytest.mark.parametrize("result", ["[]", "{}", '{"id":"7"}'])
def test_a_bot_without_a_name(result: str) -> None:
    """getMe must name a bot."""

    async def scene(client: Client, server: Server) -> None:
        server.fault("getMe", Answer(200, f'{{"ok":true,"result":{result}}}'))
        with pytest.raises(TelegramError, match="getMe names no bot"):
            await client.get_me()

    meet(scene)


def test_a_sent_message_is_sent_whatever_the_answer_shows() -> None:
    """What Telegram says about a sent message is not looked at."""

    async def scene(client: Client, server: Server) -> None:
        server.fault("sendMessage", Answer(200, '{"ok":true,"result":{"date":"?"}}'))
        await client.send_message(ChatThread(7), MessagePart("hello"))

    meet(scene)


def test_a_wrong_token() -> None:
    """A refused token is the operator's to change, and is not shown."""

    async def scene(client: Client, server: Server) -> None:
        with pytest.raises(OperatorError) as refused:
            await client.get_me()
        assert "other" not in str(refused.value)

    meet(scene, token="123:other-secret-token")


def test_a_chat_that_has_to_wait_is_not_written_to() -> None:
    """During a flood wait Telegram is not asked again about this chat."""

    async def scene(client: Client, server: Server) -> None:
        for person in (ADA, Person(8, "Bob")):
            server.say(person, "hello")
        server.fault("sendMessage", faults.flood_wait(60))
        for _ in range(3):
            with pytest.raises(FloodWaitError):
                await client.send_message(ChatThread(7), MessagePart("hello"))
        assert server.calls["sendmessage"] == 1
        await client.send_message(ChatThread(8), MessagePart("hello"))
        assert server.calls["sendmessage"] == 2

    meet(scene)


def test_every_call_is_told() -> None:
    """Each call is reported with its method and how it ended, a flood wait as well."""
    events = RecordedEvents()

    async def scene() -> None:
        async with (
            Server(TOKEN) as server,
            Client(TOKEN, server.url, events, clock=lambda: 0.0) as client,
        ):
            for fault in (
                faults.flood_wait(3),
                faults.unauthorized(),
                faults.other_poller(),
                faults.server_error(),
                faults.refusal(400, "Bad Request: no"),
            ):
                server.fault("getMe", fault)
                with pytest.raises(CrocbotError):
                    await client.get_me()
            await client.get_me()
            server.fault("getMe", Slow(3600))
            asking = asyncio.create_task(client.get_me())
            while server.calls["getme"] < 7:
                await asyncio.sleep(0.01)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    asyncio.run(asyncio.wait_for(scene(), 30))
    assert events == [
        FloodWait(3.0),
        *(
            ApiCall(Method.GET_ME, outcome, 0.0)
            for outcome in (
                CallOutcome.FLOOD_WAIT,
                CallOutcome.UNAUTHORIZED,
                CallOutcome.CONFLICT,
                CallOutcome.NETWORK,
                CallOutcome.REFUSED,
                CallOutcome.OK,
                CallOutcome.CANCELLED,
            )
        ),
    ]


def test_webhooks() -> None:
    """A webhook can be set, looked at and deleted."""

    async def scene(client: Client, _: Server) -> None:
        await client.set_webhook(
            Door("https://example.org/x", "secret", "127.0.0.1", 1)
        )
        assert (await client.get_webhook_info())["url"] == "https://example.org/x"
        await client.delete_webhook()
        assert (await client.get_webhook_info())["url"] == ""

    meet(scene)


def test_renewed_connections_work() -> None:
    """After a renewal polls go on; a poll of before ends without an answer."""

    async def scene(client: Client, server: Server) -> None:
        server.fault("getUpdates", Slow(3600))
        old = asyncio.create_task(client.get_updates(0, 1))
        while not server.calls["getupdates"]:
            await asyncio.sleep(0.01)
        await client.renew_polling()
        server.say(ADA, "hello")
        assert len(await client.get_updates(0, 1)) == 1
        with pytest.raises(TelegramError):
            await old

    meet(scene)
