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
    """Return the account of a bot to which Ada has written."""
    ours = Account(1, lambda: 1_700_000_000)
    for text in texts:
        ours.send(ADA, messages.text(text), messages.private(ADA))
    return ours


async def call(ours: Account, method: str, **parameters: Any) -> Any:
    """Call a method; return its result, or status and description of an error."""
    try:
        return await ours.methods[method.lower()](Parameters(parameters))
    except BotApiError as error:
        return error.status, error.description


def texts(updates: list[Any]) -> list[str]:
    """Return the texts of updates."""
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
async def test_errors_are_those_of_telegram(
    method: str, parameters: dict[str, Any], problem: str
) -> None:
    """An invalid parameter is a bad request, in Telegram's words."""
    answer = await call(account("hello"), method, **parameters)

    assert answer == (400, f"Bad Request: {problem}")


async def test_the_longest_text_is_accepted() -> None:
    """4096 UTF-16 units are not too long; surrounding white space does not count."""
    text = f" {'🐊' * 2048} "
    sent = await call(account("hello"), "sendMessage", chat_id=7, text=text)

    assert sent["text"] == "🐊" * 2048


async def test_an_offset_acknowledges() -> None:
    """Updates come again until a higher offset is sent; limit bounds an answer."""
    ours = account("0", "1", "2")
    first = await call(ours, "getUpdates", limit=2)
    again = await call(ours, "getUpdates", offset=0)
    rest = await call(ours, "getUpdates", offset=first[-1]["update_id"] + 1)

    assert [texts(first), texts(again), texts(rest)] == [
        ["0", "1"],
        ["0", "1", "2"],
        ["2"],
    ]
    assert len(ours.updates) == 1


async def test_a_negative_offset_keeps_the_newest() -> None:
    """Offset -1 drops all but the last update."""
    updates = await call(account("0", "1", "2"), "getUpdates", offset=-1)

    assert texts(updates) == ["2"]


async def test_a_webhook_forbids_polling() -> None:
    """It ends a waiting poll and refuses new ones until it is deleted."""
    ours = account()
    waiting = asyncio.create_task(call(ours, "getUpdates", timeout=30))
    await asyncio.sleep(0)
    await call(ours, "setWebhook", url="https://example.org/hook")

    assert (await call(ours, "getWebhookInfo"))["url"] == "https://example.org/hook"
    assert await waiting == (409, faults.TERMINATED_BY_WEBHOOK)
    assert await call(ours, "getUpdates") == (409, faults.WEBHOOK_ACTIVE)
    await call(ours, "deleteWebhook")
    assert await call(ours, "getUpdates") == []


@pytest.mark.parametrize(("drop", "left"), [("", 1), ("false", 1), ("True", 0)])
async def test_pending_updates_can_be_dropped(drop: str, left: int) -> None:
    """deleteWebhook drops pending updates only if asked to."""
    ours = account("hello")
    await call(ours, "deleteWebhook", drop_pending_updates=drop)

    assert len(ours.updates) == left


async def test_listeners_get_messages_and_edits() -> None:
    """A listener gets each Message that the bot gets back."""
    received: list[Any] = []
    ours = account("hello")
    ours.listen(received.append)
    sent = await call(ours, "sendMessage", chat_id="7", text="hi")
    same = {"chat_id": 7, "message_id": sent["message_id"], "text": "ho"}
    edited = await call(ours, "editMessageText", **same)
    status, description = await call(ours, "editMessageText", **same)

    assert status == 400
    assert description.startswith("Bad Request: message is not modified")
    assert received == [sent, edited]
    assert [message["text"] for message in received] == ["hi", "ho"]
    assert received[0]["from"]["is_bot"]


async def test_the_menu_is_kept() -> None:
    """setMyCommands replaces the menu, getMyCommands returns it."""
    menu = [{"command": "help", "description": "What I can do"}]
    ours = account()
    await call(ours, "setMyCommands", commands=json.dumps(menu))

    assert ours.commands == menu
    assert await call(ours, "getMyCommands") == menu
