"""The sandbox: people reply, forward, edit, press buttons, block and add the bot."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import ClientSession

from crocbot.botapi import Client
from crocbot.errors import ChatGoneError, DeliveryError
from crocbot.model import ChatThread, MessagePart
from crocbot.sandbox import messages
from crocbot.sandbox.messages import Chat, Person
from crocbot.sandbox.presses import BUSY_SECONDS, TOO_OLD
from crocbot.sandbox.server import Server
from tests.crocbot.fakes import Clock

ADA = Person(7, "Ada")
GROUP = Chat(-5, "Cats")
KINDS = ["message", "edited_message", "callback_query", "my_chat_member"]


async def updates(client: Client) -> list[Any]:
    """Return the pending updates without their ids."""
    found = await client.get_updates(0, 100, wait=False)
    return [
        {name: value for name, value in update.items() if name != "update_id"}
        for update in found
    ]


async def test_what_people_do() -> None:
    """Each is an update of its kind, with what Telegram sends in it."""
    async with Server() as server, Client(server.token, server.url) as client:
        first = server.send(ADA, "an iguana")
        second = server.send(ADA, messages.reply(messages.text("what?"), first, "ig"))
        server.send(ADA, messages.forwarded(messages.text("news"), ADA, hidden=True))
        server.edit(first, "two iguanas")
        server.press(ADA, second, "yes")
        server.change_member(ADA, "kicked")
        server.change_member(ADA, "member", GROUP)
        found = await updates(client)

    kinds = [next(iter(update)) for update in found]
    assert kinds == [*KINDS[:1] * 3, *KINDS[1:], KINDS[3]]
    replied, forward, edited, pressed, blocked, added = (
        next(iter(update.values())) for update in found[1:]
    )
    assert replied["reply_to_message"] == first
    assert replied["quote"]["text"] == "ig"
    assert forward["forward_origin"]["sender_user_name"] == "Ada"
    assert (edited["message_id"], edited["text"]) == (1, "two iguanas")
    assert (pressed["data"], pressed["message"]) == ("yes", second)
    statuses = [
        [change[f"{when}_chat_member"]["status"] for when in ("old", "new")]
        for change in (blocked, added)
    ]
    assert statuses == [["member", "kicked"], ["left", "member"]]


async def test_updates_that_the_bot_does_not_want() -> None:
    """They are not delivered, from the first poll that names others on."""
    async with (
        Server() as server,
        Client(server.token, server.url) as client,
        ClientSession() as session,
    ):
        url = f"{server.url}/bot{server.token}/getUpdates"
        async with session.post(url, json={"allowed_updates": ["message"]}):
            sent = server.send(ADA, "hello")
            server.edit(sent, "hi")
        found = await updates(client)

    assert [next(iter(update)) for update in found] == ["message"]


@pytest.mark.parametrize("status", ["left", "kicked"])
@pytest.mark.parametrize("chat", [messages.private(ADA), GROUP])
async def test_a_chat_that_the_bot_lost(status: str, chat: Chat) -> None:
    """Telegram refuses each message, until the bot is back."""
    async with Server() as server, Client(server.token, server.url) as client:
        server.send(ADA, "hello", chat)
        place, part = ChatThread(chat.chat_id), MessagePart("hi")
        server.change_member(ADA, status, chat)
        with pytest.raises(ChatGoneError):
            await client.send_message(place, part)
        server.change_member(ADA, "member", chat)
        assert await client.send_message(place, part)


async def test_a_press_is_answered_once_and_in_time() -> None:
    """Then the button is no longer busy; later the press is forgotten."""
    clock = Clock()
    async with (
        Server(clock=clock) as server,
        Client(server.token, server.url) as client,
    ):
        sent = server.send(ADA, "hello")
        server.press(ADA, sent, "yes")
        server.press(ADA, sent, "no")
        await client.confirm_press("1")
        clock.now += BUSY_SECONDS + 1
        for query_id in ("1", "2", "3"):
            with pytest.raises(DeliveryError, match=TOO_OLD[13:30]):
                await client.confirm_press(query_id)

    assert server.answered_presses == ["1"]
