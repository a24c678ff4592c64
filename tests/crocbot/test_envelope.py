"""Raw updates to messages, to nothing, or to an error; never anything else."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot import envelope
from crocbot.errors import EnvelopeError
from crocbot.model import BotIdentity, ChatThread, Message, MessageType, Row

ME = BotIdentity(99, "Our_Bot")
ADA = {"id": 7, "is_bot": False, "first_name": "Ada"}
ROBOT = {"id": 8, "is_bot": True, "first_name": "Robot"}
PRIVATE = {"id": 7, "type": "private", "first_name": "Ada"}
GROUP = {"id": -5, "type": "supergroup", "title": "Cats"}
FILE = {"file_id": "f", "file_unique_id": "u"}


def raw(**parts: Any) -> dict[str, Any]:
    """An update with a new message; parts replace or add fields of the message."""
    message = {"message_id": 3, "date": 1_700_000_000, "chat": PRIVATE, "from": ADA}
    return {"update_id": 1, "message": message | parts}


def command(text: str, length: int, **parts: Any) -> dict[str, Any]:
    """An update whose text begins with a command of that length."""
    entity = {"type": "bot_command", "offset": 0, "length": length}
    return raw(text=text, entities=[entity], **parts)


def read(update: dict[str, Any]) -> Message | None:
    """Read an update as the turn does."""
    return envelope.read(Row(1, update, 5.0), ME)


def test_text() -> None:
    """A private text becomes a message with everything in its place."""
    assert read(raw(text="hello")) == Message(
        update_id=1,
        chat=ChatThread(7),
        message_id=3,
        sender_id=7,
        private=True,
        type=MessageType.TEXT,
        text="hello",
        command=None,
        accepted_at=5.0,
    )


@pytest.mark.parametrize(
    ("update", "kind", "text", "name"),
    [
        (command("/start", 6), MessageType.COMMAND, "", "start"),
        (command("/ask  what is it?\n", 4), MessageType.COMMAND, "what is it?", "ask"),
        (command("/Ask@our_bot now", 12), MessageType.COMMAND, "now", "ask"),
        (command("/ask@OUR_BOT", 12), MessageType.COMMAND, "", "ask"),
        (raw(text="/not marked"), MessageType.TEXT, "/not marked", None),
        (raw(text=""), MessageType.TEXT, "", None),
        (
            raw(
                text="see /help",
                entities=[{"type": "bot_command", "offset": 4, "length": 5}],
            ),
            MessageType.TEXT,
            "see /help",
            None,
        ),
    ],
)
def test_commands(
    update: dict[str, Any], kind: MessageType, text: str, name: str | None
) -> None:
    """Only a command at the very start, for nobody or for us, is one."""
    message = read(update)

    assert message is not None
    assert (message.type, message.text, message.command) == (kind, text, name)


@pytest.mark.parametrize(
    ("parts", "medium"),
    [
        ({"photo": [FILE | {"width": 1, "height": 1}]}, "photo"),
        ({"document": FILE}, "document"),
        ({"voice": FILE | {"duration": 1}}, "voice"),
        ({"location": {"longitude": 1.0, "latitude": 2.0}}, "location"),
        ({"contact": {"phone_number": "1", "first_name": "B"}}, "contact"),
        ({"dice": {"value": 3, "emoji": "x"}}, "dice"),
        (
            {
                "document": FILE,
                "animation": FILE | {"width": 1, "height": 1, "duration": 1},
            },
            "animation",
        ),
    ],
)
def test_media(parts: dict[str, Any], medium: str) -> None:
    """Media say what they are, and their caption is the text."""
    message = read(raw(caption="look", **parts))

    assert message is not None
    kinds = [one.type for one in message.attachments]
    assert (message.type, kinds, message.text) == (MessageType.MEDIA, [medium], "look")


def test_media_without_caption() -> None:
    """Media without words have an empty text."""
    message = read(raw(document=FILE))

    assert message is not None
    assert message.text == ""


@pytest.mark.parametrize(
    "update",
    [
        {"update_id": 1},
        {"update_id": 1, "something_new": {"a": 1}},
        {"update_id": 1, "edited_message": raw(text="x")["message"]},
        {"update_id": 1, "channel_post": raw(text="x")["message"]},
        raw(new_chat_title="Dogs"),
        raw(new_chat_members=[ADA], chat=GROUP),
        raw(),
        command("/ask@other_bot", 14),
        command("/ask@other_bot", 14, chat=GROUP),
        raw(text="beep") | {"message": raw(text="beep")["message"] | {"from": ROBOT}},
    ],
)
def test_nothing_for_us(update: dict[str, Any]) -> None:
    """What is no new message from a person to us gives None."""
    assert read(update) is None


def mention(text: str, length: int, **parts: Any) -> dict[str, Any]:
    """A text in a group that begins with a mention of that length."""
    entity = {"type": "mention", "offset": 0, "length": length}
    return raw(text=text, chat=GROUP, entities=[entity], **parts)


SAID_BY_US = raw(text="x", **{"from": ROBOT | {"id": 99}})["message"]
SAID_BY_ADA = raw(text="x")["message"]


@pytest.mark.parametrize(
    ("update", "addressed"),
    [
        (raw(text="hello"), True),
        (raw(text="hello", chat=GROUP), False),
        (raw(text="@our_bot hello", chat=GROUP), False),
        (mention("@our_bot hello", 8), True),
        (mention("@OUR_bot", 8), True),
        (mention("@our_bots", 9), False),
        (mention("@other", 6), False),
        (
            raw(
                text="Croc, hello",
                chat=GROUP,
                entities=[
                    {
                        "type": "text_mention",
                        "offset": 0,
                        "length": 4,
                        "user": ROBOT | {"id": 99},
                    }
                ],
            ),
            True,
        ),
        (
            raw(
                photo=[FILE | {"width": 1, "height": 1}],
                chat=GROUP,
                caption="@our_bot look",
                caption_entities=[{"type": "mention", "offset": 0, "length": 8}],
            ),
            True,
        ),
        (command("/ask", 4, chat=GROUP), False),
        (command("/ask@our_bot", 12, chat=GROUP), True),
        (raw(text="yes", chat=GROUP, reply_to_message=SAID_BY_US), True),
        (raw(text="yes", chat=GROUP, reply_to_message=SAID_BY_ADA), False),
        (
            raw(
                text="yes",
                chat=GROUP,
                reply_to_message=SAID_BY_US
                | {"forum_topic_created": {"name": "x", "icon_color": 1}},
            ),
            False,
        ),
    ],
)
def test_addressed(update: dict[str, Any], addressed: bool) -> None:
    """In a group a message is for us if it names us or replies to what we said."""
    message = read(update)

    assert message is not None
    assert message.addressed is addressed


def test_group_and_topic() -> None:
    """In a forum topic the chat has both ids and the chat is not private."""
    message = read(
        raw(text="x", chat=GROUP, is_topic_message=True, message_thread_id=4)
    )

    assert message is not None
    assert (message.chat, message.private) == (ChatThread(-5, 4), False)


def test_chain_of_answers_is_no_topic() -> None:
    """A thread id outside of a topic is not kept, since nobody can send to it."""
    message = read(raw(text="x", chat=GROUP, message_thread_id=4))

    assert message is not None
    assert message.chat == ChatThread(-5)


@pytest.mark.parametrize("parts", [{"sender_chat": GROUP}, {"from": None}])
def test_no_person(parts: dict[str, Any]) -> None:
    """A chat that speaks, or nobody, is no sender."""
    message = read(raw(text="x", chat=GROUP, **parts))

    assert message is not None
    assert message.sender_id is None


@pytest.mark.parametrize(
    "update",
    [
        {},
        {"update_id": 1, "message": []},
        {"update_id": 1, "message": {}} | {"message": {"message_id": 1}},
        {"update_id": 1, "message": "hello"},
        raw(text=5),
        raw(text="x", date="yesterday"),
        raw(text="x", date=1e18),
        raw(text="x", message_id="3"),
        raw(text="x", chat={"id": "7", "type": "private"}),
        raw(text="x", chat={"id": True, "type": "private"}),
        raw(text="x", entities=[{"type": "bot_command"}]),
    ],
)
def test_unreadable(update: dict[str, Any]) -> None:
    """An update with a wrong or missing part raises EnvelopeError."""
    with pytest.raises(EnvelopeError):
        read(update)


@pytest.mark.parametrize(
    ("update", "key"),
    [
        (raw(text="x"), 7),
        ({"update_id": 1, "edited_message": {"chat": {"id": -9}}}, -9),
        ({"update_id": 1, "callback_query": {"message": {"chat": {"id": 4}}}}, 4),
        ({"update_id": 1, "inline_query": {"id": "5"}}, None),
        ({"update_id": 1, "message": {"chat": {"id": "7"}}}, None),
        ({}, None),
    ],
)
def test_chat_key(update: dict[str, Any], key: Hashable) -> None:
    """The chat is found wherever Telegram puts it; else there is none."""
    assert envelope.chat_key(update) == key


WORDS = st.text("aid7-/@", max_size=4)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(WORDS | st.sampled_from(["id", "chat", "message"]), inner)
    ),
    max_leaves=6,
)
FIELDS = ["message_id", "date", "chat", "from", "text", "entities", "photo", "dice"]


@given(st.dictionaries(st.sampled_from(["update_id", "message", "poll"]), JSON))
def test_any_update(update: dict[str, Any]) -> None:
    """Any JSON gives a message, None or EnvelopeError, and always has a key."""
    envelope.chat_key(update)
    try:
        message = read(update)
    except EnvelopeError:
        return

    assert message is None or isinstance(message, Message)


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_any_message(parts: dict[str, Any]) -> None:
    """Any JSON in any field of a message gives the same three."""
    update = raw(text="x")
    update["message"] |= parts
    hash(envelope.chat_key(update))
    try:
        message = read(update)
    except EnvelopeError:
        return

    assert message is None or isinstance(message.text, str)
