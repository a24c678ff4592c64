"""Drafts, reactions and rich messages in the sandbox, and a server without them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from crocbot.sandbox import messages
from crocbot.sandbox.account import Account
from crocbot.sandbox.limits import MessageLimit
from crocbot.sandbox.messages import Chat, Person
from crocbot.sandbox.rich import shown_text
from tests.crocbot.fakes import Clock
from tests.crocbot.test_sandbox_account import call

ADA, GROUP = Person(7, "Ada"), Chat(-5, "Friends")
DRAFT = {"chat_id": 7, "draft_id": 3, "text": "so far"}
TABLE = json.dumps({"markdown": "| a |\n|---|"})
EYES = json.dumps([{"type": "emoji", "emoji": "👀"}])


def account(clock: Clock | None = None, *, old: bool = False) -> Account:
    """Return the account of a bot to which Ada has written, here and in a group."""
    ours = Account(1, clock or Clock(), old=old)
    ours.send(ADA, messages.text("hi"), messages.private(ADA))
    ours.send(ADA, messages.text("hi"), GROUP)
    return ours


@pytest.mark.parametrize(
    ("method", "parameters", "problem"),
    [
        ("sendMessageDraft", DRAFT | {"chat_id": -5}, "TEXTDRAFT_PEER_INVALID"),
        ("sendMessageDraft", DRAFT | {"draft_id": 0}, "draft_id must be non-zero"),
        ("sendMessageDraft", DRAFT | {"text": "x" * 4097}, "message is too long"),
        (
            "setMessageReaction",
            {"chat_id": 7, "message_id": 9, "reaction": EYES},
            "message to react not found",
        ),
        (
            "setMessageReaction",
            {
                "chat_id": 7,
                "message_id": 1,
                "reaction": [{"type": "emoji", "emoji": "🐊"}],
            },
            "REACTION_INVALID",
        ),
        ("sendRichMessage", {"chat_id": 7}, "object expected as rich message"),
        (
            "sendRichMessage",
            {"chat_id": 7, "rich_message": {"markdown": ""}},
            "rich message must be non-empty",
        ),
        (
            "sendRichMessage",
            {"chat_id": 7, "rich_message": {"html": "x" * 32_769}},
            "RICH_MESSAGE_TOO_LONG",
        ),
    ],
)
async def test_refusals(method: str, parameters: dict[str, Any], problem: str) -> None:
    """Wrong calls are refused."""
    assert await call(account(), method, **parameters) == (
        400,
        f"Bad Request: {problem}",
    )


async def test_a_draft() -> None:
    """It is shown for 30 s, and may be empty; without keep_on_stop a press ends it."""
    clock = Clock()
    ours = account(clock)
    await call(ours, "sendMessageDraft", **DRAFT, message_thread_id=4, can_stop=True)
    shown = ours.drafts.current(7, 4)
    assert shown is not None
    assert shown.text == "so far"
    pressed = ours.drafts.stop(7, 4)["stopped_message_generation"]
    assert (pressed["draft_id"], pressed["message_thread_id"]) == (3, 4)
    assert ours.drafts.current(7, 4) is None

    await call(ours, "sendMessageDraft", **DRAFT | {"text": ""})
    clock.now += 31
    assert ours.drafts.current(7) is None


async def test_a_reaction() -> None:
    """It is set and removed."""
    ours = account()
    react = {"chat_id": 7, "message_id": 1}
    await call(ours, "setMessageReaction", **react, reaction=EYES)
    assert ours.reactions.of(7, 1) == "👀"
    await call(ours, "setMessageReaction", **react, reaction="[]")
    assert ours.reactions.of(7, 1) is None


async def test_a_rich_message() -> None:
    """A message can become rich, and a rich one a text."""
    ours = account()
    sent = await call(ours, "sendRichMessage", chat_id=7, rich_message=TABLE)
    assert shown_text(sent) == "| a |\n|---|"
    edit = {"chat_id": 7, "message_id": sent["message_id"]}
    edited = await call(ours, "editMessageText", **edit, text="plain")
    assert (shown_text(edited), "rich_message" in edited) == ("plain", False)
    edited = await call(ours, "editMessageText", **edit, rich_message=TABLE)
    assert (shown_text(edited), "text" in edited) == ("| a |\n|---|", False)


async def test_a_server_of_2024() -> None:
    """It lacks the methods, the parameter and the kind of update."""
    ours = account(old=True)
    assert not {"sendmessagedraft", "sendrichmessage"} & set(ours.methods)
    sent = await call(ours, "sendMessage", chat_id=7, text="hi")
    edit = {"chat_id": 7, "message_id": sent["message_id"], "rich_message": TABLE}
    assert await call(ours, "editMessageText", **edit) == (
        400,
        "Bad Request: message text is empty",
    )
    wanted = ["message", "stopped_message_generation"]
    await call(ours, "setWebhook", url="http://a/", allowed_updates=wanted)
    info = await call(ours, "getWebhookInfo")
    assert info["allowed_updates"] == ["message"]


def test_a_limit_of_messages() -> None:
    """Within a second two messages and edits are allowed, and any number of drafts."""
    clock = Clock()
    limit = MessageLimit(per_second=2, clock=clock)
    methods = ("sendmessage", "editmessagetext", "sendmessagedraft", "sendmessage")
    assert [limit.allow(method) for method in methods] == [True, True, True, False]
    clock.now += 1
    assert limit.allow("sendmessage")
    assert limit.refused == 1
