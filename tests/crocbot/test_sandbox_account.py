"""The methods of the sandbox's Bot API, without HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from crocbot.sandbox import faults, messages
from crocbot.sandbox.account import Account
from crocbot.sandbox.messages import Person
from crocbot.sandbox.parameters import BotApiError, Parameters

ADA = Person(7, "Ada", "ada")


def account(*texts: str) -> Account:
    """A bot to whom Ada has written."""
    ours = Account(1, lambda: 1_700_000_000)
    for text in texts:
        ours.send(ADA, messages.text(text), messages.private(ADA))
    return ours


async def call(ours: Account, method: str, **parameters: Any) -> Any:
    """Call a method; returns its result, or code and words of a refusal."""
    try:
        return await ours.methods[method.lower()](Parameters(parameters))
    except BotApiError as error:
        return error.status, error.description


def texts(updates: list[Any]) -> list[str]:
    """What is written in updates."""
    return [update["message"]["text"] for update in updates]


EMPTY = "message text is empty"


@pytest.mark.parametrize(
    ("method", "parameters", "problem"),
    [
        ("sendMessage", {"chat_id": 7}, EMPTY),
        ("sendMessage", {"chat_id": 7, "text": " \n"}, EMPTY),
        ("sendMessage", {"chat_id": 7, "text": "🐊" * 2049}, "message is too long"),
        ("sendMessage", {"chat_id": 8, "text": "a"}, "chat not found"),
        ("sendMessage", {"chat_id": "@ada", "text": "a"}, "chat not found"),
        ("sendMessage", {"text": "a"}, "chat_id is empty"),
        (
            "editMessageText",
            {"chat_id": 7, "message_id": 99, "text": "a"},
            "message to edit not found",
        ),
        (
            "editMessageText",
            {"chat_id": 7, "text": "a"},
            "message_id is not specified",
        ),
        (
            "sendChatAction",
            {"chat_id": 7, "action": "dance"},
            "wrong parameter action in request",
        ),
        (
            "setMyCommands",
            {"commands": "[{"},
            "can't parse commands JSON object",
        ),
        ("setMyCommands", {}, "can't parse commands"),
        ("setMyCommands", {"commands": [{"command": "a"}]}, "can't parse commands"),
        ("getUpdates", {"offset": "x"}, "offset is invalid"),
    ],
)
def test_it_refuses_what_telegram_refuses(
    method: str, parameters: dict[str, Any], problem: str
) -> None:
    """Each mistake is a bad request in Telegram's words."""
    answer = asyncio.run(call(account("hello"), method, **parameters))

    assert answer == (400, f"Bad Request: {problem}")


def test_the_longest_text_is_taken() -> None:
    """4096 UTF-16 units are not too long, and the space around them does not count."""
    text = f" {'🐊' * 2048} "
    sent = asyncio.run(call(account("hello"), "sendMessage", chat_id=7, text=text))

    assert sent["text"] == "🐊" * 2048


def test_an_offset_acknowledges() -> None:
    """Updates come again until a higher offset is sent; limit bounds an answer."""

    async def scene() -> list[list[str]]:
        ours = account("0", "1", "2")
        first = await call(ours, "getUpdates", limit=2)
        again = await call(ours, "getUpdates", offset=0)
        rest = await call(ours, "getUpdates", offset=first[-1]["update_id"] + 1)
        assert len(ours.updates) == 1
        return [texts(first), texts(again), texts(rest)]

    assert asyncio.run(scene()) == [["0", "1"], ["0", "1", "2"], ["2"]]


def test_a_negative_offset_keeps_the_newest() -> None:
    """Offset -1 forgets all but the last update."""
    updates = asyncio.run(call(account("0", "1", "2"), "getUpdates", offset=-1))

    assert texts(updates) == ["2"]


def test_a_webhook_forbids_polling() -> None:
    """A webhook ends a waiting poll and refuses new ones until it is deleted."""

    async def scene() -> list[Any]:
        ours = account()
        waiting = asyncio.create_task(call(ours, "getUpdates", timeout=30))
        await asyncio.sleep(0)
        await call(ours, "setWebhook", url="https://example.org/hook")
        info = await call(ours, "getWebhookInfo")
        refused = [await waiting, await call(ours, "getUpdates")]
        await call(ours, "deleteWebhook")
        return [info["url"], *refused, await call(ours, "getUpdates")]

    assert asyncio.run(scene()) == [
        "https://example.org/hook",
        (409, faults.TERMINATED_BY_WEBHOOK),
        (409, faults.WEBHOOK_ACTIVE),
        [],
    ]


@pytest.mark.parametrize(("drop", "left"), [("", 1), ("false", 1), ("True", 0)])
def test_pending_updates_can_be_dropped(drop: str, left: int) -> None:
    """deleteWebhook forgets what waits only if it was asked to."""
    ours = account("hello")
    asyncio.run(call(ours, "deleteWebhook", drop_pending_updates=drop))

    assert len(ours.updates) == left


def test_the_bot_is_heard() -> None:
    """Whoever listens gets each message and each edit, as the bot gets it back."""
    heard: list[Any] = []

    async def scene() -> list[Any]:
        ours = account("hello")
        ours.listen(heard.append)
        sent = await call(ours, "sendMessage", chat_id="7", text="hi")
        same = {"chat_id": 7, "message_id": sent["message_id"], "text": "ho"}
        edited = await call(ours, "editMessageText", **same)
        status, words = await call(ours, "editMessageText", **same)
        assert status == 400
        assert words.startswith("Bad Request: message is not modified")
        return [sent, edited]

    returned = asyncio.run(scene())

    assert heard == returned
    assert [message["text"] for message in heard] == ["hi", "ho"]
    assert heard[0]["from"]["is_bot"]


def test_the_menu_is_kept() -> None:
    """setMyCommands replaces the menu, getMyCommands shows it."""
    menu = [{"command": "help", "description": "What I can do"}]

    async def scene() -> Any:
        ours = account()
        await call(ours, "setMyCommands", commands=json.dumps(menu))
        assert ours.commands == menu
        return await call(ours, "getMyCommands")

    assert asyncio.run(scene()) == menu
