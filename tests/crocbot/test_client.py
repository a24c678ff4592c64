"""The gateway's calls of the sandbox's Bot API, and the errors that they raise."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from crocbot.botapi import Client
from crocbot.botapi.bot import MAX_ANSWER_BYTES
from crocbot.content import Entity
from crocbot.errors import (
    AnswerTooLongError,
    ChatGoneError,
    ChatMovedError,
    CrocbotError,
    DeliveryError,
    FloodWaitError,
    OperatorError,
    TelegramError,
    WebhookSetError,
)
from crocbot.events import (
    ApiCall,
    CallOutcome,
    FloodWait,
    Method,
    PendingUpdates,
    UpdateReceived,
    UpdateType,
)
from crocbot.model import (
    ChatThread,
    ErrorEvent,
    ErrorType,
    MessagePart,
    ReconnectReason,
    Severity,
)
from crocbot.sandbox import Chat, Person, Server, faults
from crocbot.sandbox.faults import Answer, Drop, Fault, Slow
from tests.crocbot.fakes import RecordedEvents

ADA = Person(7, "Ada")
TOKEN = "123:a-very-secret-token"
BUG_COUNTED = ErrorEvent(ErrorType.PROCESSING, Severity.CRITICAL)
NOT_FOUND = faults.api_error(404, "Not Found")


def result(value: str) -> Answer:
    """Return a good answer with this result."""
    return Answer(200, f'{{"ok":true,"result":{value}}}')


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """Run the sandbox's Bot API."""
    async with Server(TOKEN) as server:
        yield server


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    """Return a client of the server that does not wait for updates."""
    async with Client(TOKEN, server.url, long_poll=0, margin=60.0) as client:
        yield client


async def test_a_conversation(client: Client, server: Server) -> None:
    """The calls do what they are named for."""
    sent: list[Any] = []

    server.listen(sent.append)
    me = await client.get_me()
    assert str(me.user_id)
    assert me.username
    # The sandbox has it, like any new bot.
    assert me.privacy_mode
    await client.delete_webhook()
    await client.set_my_commands({"start": "Say hello"})
    server.send(ADA, "hello")
    (update,) = await client.get_updates(0, 100)
    assert update["message"]["text"] == "hello"
    assert await client.get_updates(update["update_id"] + 1, 100) == []
    await client.send_message(ChatThread(7), MessagePart("hello, too"))
    assert [message["text"] for message in sent] == ["hello, too"]


async def test_how_a_message_looks(client: Client, server: Server) -> None:
    """A message has its entities, its topic and what it answers; an edit changes it."""
    sent: list[Any] = []

    server.listen(sent.append)
    server.send(ADA, "hello")
    bold = MessagePart("bold link", (Entity("bold", 0, 4),))
    link = MessagePart("bold link", (Entity("text_link", 5, 4, url="https://x.y"),))
    number = await client.send_message(ChatThread(7, 4), bold, 1)
    for _ in range(2):
        # The second time nothing changes, which is no error.
        await client.edit_message(ChatThread(7, 4), number, link)
    await client.delete_message(ChatThread(7, 4), number)
    with pytest.raises(DeliveryError):
        await client.edit_message(ChatThread(7, 4), number, bold)
    await client.send_typing(ChatThread(7, 4))
    assert server.calls["sendchataction"] == 1
    first, second = sent
    assert first["entities"] == [{"type": "bold", "offset": 0, "length": 4}]
    assert first["message_thread_id"] == 4
    assert first["reply_to_message"] == {"message_id": 1}
    assert second["entities"] == [
        {"type": "text_link", "offset": 5, "length": 4, "url": "https://x.y"}
    ]


async def test_a_download(client: Client, server: Server) -> None:
    """A file is loaded if it exists and is small enough; no error shows its URL."""
    server.upload("photo", b"x" * 100)
    assert await client.download("photo", 100) == b"x" * 100
    for file_id, most in (("photo", 99), ("other", 100)):
        with pytest.raises(DeliveryError) as refused:
            await client.download(file_id, most)
        assert "secret" not in f"{refused.value!r} {refused.value.__context__!r}"


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
async def test_files_that_cannot_be_loaded(
    client: Client, server: Server, found: str
) -> None:
    """A file that is gone, or has another kind of path, is one DeliveryError."""
    server.fault("getFile", result(found))
    with pytest.raises(DeliveryError):
        await client.download("photo", 100)


async def test_the_limit_is_kept(client: Client, server: Server) -> None:
    """A poll returns no more updates than its limit."""
    for word in "abc":
        server.send(ADA, word)
    assert len(await client.get_updates(0, 2)) == 2


async def test_more_updates_than_requested(server: Server) -> None:
    """Only as many as the limit are looked at; the others count as one error."""
    many = [{"update_id": n} for n in range(1, 1000)]
    events = RecordedEvents()
    async with Client(TOKEN, server.url, events) as client:
        server.fault("getUpdates", result(json.dumps(many)))
        assert await client.get_updates(0, 2) == many[:2]

    assert events.of_type(ErrorEvent) == [BUG_COUNTED]


async def test_updates_with_too_many_bytes(server: Server) -> None:
    """Fewer are requested until their bytes fit; the answer counts as one error."""
    too_long = result(json.dumps([{"update_id": 1, "x": "x" * MAX_ANSWER_BYTES}]))
    events = RecordedEvents()
    server.send(ADA, "hello")
    async with Client(TOKEN, server.url, events, long_poll=0) as client:
        server.fault("getUpdates", too_long, times=2)
        assert len(await client.get_updates(0, 100)) == 1
        assert server.calls["getupdates"] == 3
        assert events.of_type(ErrorEvent) == [BUG_COUNTED]
        server.fault("getUpdates", too_long)
        with pytest.raises(AnswerTooLongError, match="more than 4194304 bytes"):
            await client.get_updates(0, 1)


async def test_usable_updates_are_returned_in_order(server: Server) -> None:
    """Others are dropped and counted; one of a type that was asked for is an event."""
    ids: list[Any] = ["3", None, True, -1, 2**63, 4.0]
    bad: list[Any] = [None, [], {}, 5, *({"update_id": each} for each in ids)]
    good = [{"update_id": 9, "message": {}}, {"update_id": 8}]
    events = RecordedEvents()
    async with Client(TOKEN, server.url, events) as client:
        server.fault("getUpdates", result(json.dumps([*bad, *good])))
        updates = await client.get_updates(0, 100)

    assert updates == good[::-1]
    assert events.of_type(ErrorEvent) == [BUG_COUNTED] * len(bad)
    assert events.of_type(UpdateReceived) == [
        UpdateReceived(UpdateType.MESSAGE),
    ]


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        (None, 2),
        (result('{"pending_update_count": 0}'), 0),
        (result('{"pending_update_count": -1}'), None),
        (result('{"pending_update_count": "2"}'), None),
        (result("{}"), None),
        (result("[]"), None),
        (faults.bad_gateway(), None),
        (faults.flood_wait(3), None),
        (faults.unauthorized(), None),
        (NOT_FOUND, None),
    ],
)
async def test_pending_updates(
    server: Server, answer: faults.Fault | None, count: int | None
) -> None:
    """The number of pending updates is an event; an error is an unknown number."""
    events = RecordedEvents()
    server.send(ADA, "a")
    server.send(ADA, "b")
    if answer is not None:
        server.fault("getWebhookInfo", answer)
    async with Client(TOKEN, server.url, events) as client:
        await client.count_pending_updates()

    assert events.of_type(PendingUpdates) == [PendingUpdates(count)]


async def test_methods_that_a_server_lacks(client: Client, server: Server) -> None:
    """A 404 to a method that the gateway can do without does not blame the token."""
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
        with pytest.raises(DeliveryError, match=f"call: {method}: Not Found"):
            await call()


NETWORK, CONFLICT, TIMEOUT = ReconnectReason
TOKEN_REFUSED = (
    "Telegram refused the token ({}):"
    " set TELEGRAM_BOT_TOKEN to the one that @BotFather shows"
)
OTHER = "another program polls with this token; only one of them gets the messages"
REFUSED = "Telegram refused the call: "
MOVED = f"{REFUSED}Group migrated to supergroup. New chat id: -9"
NO_ANSWER = "the answer is not a Bot API answer"
NO_LIST = "getUpdates returned no list"
NO_CHAT = faults.api_error(400, "Bad Request: chat not found")
BLOCKED = faults.api_error(403, "Forbidden: bot was blocked")


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (faults.unauthorized(), OperatorError, TOKEN_REFUSED.format("Unauthorized")),
        (NOT_FOUND, OperatorError, TOKEN_REFUSED.format("Not Found")),
        (Answer(404, "<html>"), NETWORK, "Not Found (404)"),
        # Of a firewall or a proxy in between.
        (Answer(403, "<html>"), NETWORK, "Forbidden (403)"),
        (Answer(400, "<html>"), NETWORK, "Bad Request (400)"),
        (Answer(403, '{"error":"no"}'), NETWORK, "Forbidden (403)"),
        (Answer(407, "<html>"), NETWORK, "Proxy Authentication Required (407)"),
        (faults.flood_wait(3), FloodWaitError, "Telegram asks to wait 3 s"),
        (Answer(429, "<html>"), FloodWaitError, "Telegram asks to wait 1 s"),
        (faults.other_poller(), CONFLICT, OTHER),
        (faults.webhook_active(), WebhookSetError, "a webhook is set for this bot"),
        (faults.server_error(), NETWORK, "Internal Server Error"),
        (faults.bad_gateway(), NETWORK, "Bad Gateway (502)"),
        (faults.garbage(), NETWORK, NO_ANSWER),
        (Answer(200, "null"), NETWORK, NO_ANSWER),
        (Answer(200, '{"ok":true}'), NETWORK, NO_ANSWER),
        (Answer(500, '{"parameters":[1]}'), NETWORK, NO_ANSWER),
        (result("5"), NETWORK, NO_LIST),
        (result("null"), NETWORK, NO_LIST),
        (result('{"update_id":1}'), NETWORK, NO_LIST),
        (Drop(), NETWORK, "ServerDisconnectedError"),
        (NO_CHAT, ChatGoneError, f"{REFUSED}chat not found"),
        (
            BLOCKED,
            ChatGoneError,
            f"{REFUSED}Forbidden: bot was blocked",
        ),
        (
            faults.api_error(400, "Bad Request: can't parse entities"),
            DeliveryError,
            f"{REFUSED}can't parse entities",
        ),
        (
            faults.api_error(400, "upgraded", migrate_to_chat_id=-9),
            ChatMovedError,
            MOVED,
        ),
    ],
)
async def test_errors(
    client: Client,
    server: Server,
    fault: Fault,
    error: type[CrocbotError] | ReconnectReason,
    message: str,
) -> None:
    """Each failure raises one of the gateway's errors, or TelegramError's reasons."""
    server.fault("getUpdates", fault)
    with pytest.raises(CrocbotError) as raised:
        await client.get_updates(0, 1)
    assert str(raised.value) == message
    assert error in (type(raised.value), getattr(raised.value, "reason", None))
    # The next call succeeds.
    assert await client.get_updates(0, 1) == []


async def test_no_answer_in_time(server: Server) -> None:
    """A poll that gets no answer is given up `margin` after it should have ended."""
    async with Client(TOKEN, server.url, long_poll=0, margin=0.5) as client:
        # However long the machine takes for a call, none is answered.
        server.fault("getUpdates", Slow(3600), times=9)
        for _ in range(2):
            with pytest.raises(TelegramError, match=r"^no answer within 0\.5 s$") as it:
                await client.get_updates(0, 1)
            assert it.value.reason is TIMEOUT


@pytest.mark.parametrize("value", ["[]", "{}", '{"id":"7"}'])
async def test_a_bot_without_an_id(client: Client, server: Server, value: str) -> None:
    """A result that is not a bot is an error."""
    server.fault("getMe", result(value))
    with pytest.raises(TelegramError, match="getMe returned no bot"):
        await client.get_me()


async def test_a_sent_message_is_sent_whatever_the_answer_shows(
    client: Client, server: Server
) -> None:
    """The result of sendMessage does not decide whether it was sent."""
    server.fault("sendMessage", result('{"date":"?"}'))
    await client.send_message(ChatThread(7), MessagePart("hello"))
    assert server.calls["sendmessage"] == 1


async def test_a_wrong_token(server: Server) -> None:
    """A refused token is the operator's to change, and is not shown."""
    async with Client("123:other-secret-token", server.url) as client:
        with pytest.raises(OperatorError) as refused:
            await client.get_me()
    assert "other" not in str(refused.value)


async def test_no_call_during_a_flood_wait(client: Client, server: Server) -> None:
    """During the flood wait of a chat no request about it is made."""
    for person in (ADA, Person(8, "Bob")):
        server.send(person, "hello")
    server.fault("sendMessage", faults.flood_wait(60))
    for _ in range(3):
        with pytest.raises(FloodWaitError):
            await client.send_message(ChatThread(7), MessagePart("hello"))
    assert server.calls["sendmessage"] == 1
    await client.send_message(ChatThread(8), MessagePart("hello"))
    assert server.calls["sendmessage"] == 2


async def test_a_chat_that_moved_is_recorded(client: Client, server: Server) -> None:
    """A call for the old id is repeated for the new one, which is recorded."""
    moves: list[tuple[int, int]] = []

    class Moves:
        async def record(self, old: int, new: int) -> None:
            moves.append((old, new))

    client.moves = Moves()
    server.send(ADA, "hello", Chat(-9, "Friends", "supergroup"))
    server.fault("sendMessage", faults.api_error(400, "moved", migrate_to_chat_id=-9))
    await client.send_message(ChatThread(-5), MessagePart("x"))

    assert moves == [(-5, -9)]
    assert server.calls["sendmessage"] == 2


async def test_a_flood_wait_after_a_chat_moved(client: Client, server: Server) -> None:
    """The second try notes a flood wait as well, for the old and the new id."""
    server.fault("sendMessage", faults.api_error(400, "moved", migrate_to_chat_id=-9))
    server.fault("sendMessage", faults.flood_wait(60))
    for chat_id in (7, 7, -9):
        with pytest.raises(FloodWaitError):
            await client.send_message(ChatThread(chat_id), MessagePart("hello"))
    assert server.calls["sendmessage"] == 2


async def test_a_chat_that_moved_into_a_flood_wait(
    client: Client, server: Server
) -> None:
    """No second try is made while the new id has to wait."""
    server.fault("sendMessage", faults.flood_wait(60))
    server.fault("sendMessage", faults.api_error(400, "moved", migrate_to_chat_id=-9))
    moved = faults.api_error(400, "moved", migrate_to_chat_id=-9)
    server.fault("sendMessage", moved)
    for chat_id in (-9, 7, 8):
        with pytest.raises(FloodWaitError):
            await client.send_message(ChatThread(chat_id), MessagePart("hello"))
    assert server.calls["sendmessage"] == 3
    # Only one flood wait was Telegram's: the other chats do not wait.
    server.send(Person(6, "Cy"), "hello")
    await client.send_message(ChatThread(6), MessagePart("hello"))


async def test_every_call_is_reported(server: Server) -> None:
    """Each call is an event with its method and outcome, a flood wait another one."""
    events = RecordedEvents()
    async with Client(TOKEN, server.url, events, clock=lambda: 0.0) as client:
        for fault in (
            faults.flood_wait(3),
            faults.unauthorized(),
            faults.other_poller(),
            faults.server_error(),
            faults.api_error(400, "Bad Request: no"),
        ):
            server.fault("getMe", fault)
            with pytest.raises(CrocbotError):
                await client.get_me()
        await client.get_me()
        server.fault("getMe", Slow(3600))
        call = asyncio.create_task(client.get_me())
        while server.calls["getme"] < 7:
            await asyncio.sleep(0.01)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    assert events.of_type(FloodWait) == [FloodWait(3.0)]
    assert events.of_type(ApiCall) == [
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
    ]


async def test_webhooks(client: Client) -> None:
    """A webhook can be set, read and deleted."""
    await client.set_webhook("https://example.org/x", "secret")
    assert (await client.get_webhook_info())["url"] == "https://example.org/x"
    await client.delete_webhook()
    assert (await client.get_webhook_info())["url"] == ""


async def test_connections_can_be_reset(client: Client, server: Server) -> None:
    """After a reset polls go on; a poll that was under way ends without an answer."""
    server.fault("getUpdates", Slow(3600))
    old = asyncio.create_task(client.get_updates(0, 1))
    while not server.calls["getupdates"]:
        await asyncio.sleep(0.01)
    await client.reset_connections()
    server.send(ADA, "hello")
    assert len(await client.get_updates(0, 1)) == 1
    with pytest.raises(TelegramError):
        await old
