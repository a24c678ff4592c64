"""Edits, presses of buttons and changes of membership, as Telegram sends them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot import envelope
from crocbot.arrival_outcomes import Membership
from crocbot.content import Context, Press, QuotedMessage
from crocbot.errors import EnvelopeError
from crocbot.model import BotIdentity, ChatThread, Message, MessageType, Row
from tests.crocbot.test_envelope import ADA, GROUP, PHOTO, PRIVATE, ROBOT, US, raw

BOT = BotIdentity(99, "Our_Bot")
BOB = {"id": 8, "is_bot": False, "first_name": "Bob"}
ASKED = {
    "message_id": 2,
    "from": US,
    "chat": PRIVATE,
    "date": 1_700_000_000,
    "text": "Shall I?",
    "reply_markup": {
        "inline_keyboard": [
            [{"text": "Web", "url": "https://a"}],
            [{"text": "Yes!", "callback_data": "yes"}],
        ]
    },
}


def pressed(data: Any = "yes", **fields: Any) -> dict[str, Any]:
    """Return the press of a button by Ada, with other fields as given."""
    query = {"id": "77", "from": ADA, "message": ASKED, "data": data}
    return {"update_id": 1, "callback_query": query | fields}


def read(update: dict[str, Any]) -> Message | None:
    """Read an update as a turn does."""
    return envelope.read(Row(1, update, 5.0), BOT)


def test_a_press() -> None:
    """It is a message with the data of the button, of the person who pressed it."""
    assert read(pressed()) == Message(
        update_id=1,
        chat=ChatThread(7),
        message_id=2,
        sender_id=7,
        private=True,
        type=MessageType.TEXT,
        text="yes",
        command=None,
        accepted_at=5.0,
        context=Context(
            sender="Ada",
            quoted=QuotedMessage(
                author="Robot", own=True, text="Shall I?", message_id=2
            ),
            press=Press("77", "yes", "Yes!"),
        ),
    )


@pytest.mark.parametrize(
    ("data", "command", "text"),
    [
        ("/new", "new", ""),
        ("/Weather@our_bot in  Oslo ", "weather", "in  Oslo"),
        ("/weather@other_bot", None, "/weather@other_bot"),
        ("/stop now", "stop", "now"),
        ("/stop@our_bot", None, "/stop@our_bot"),
        ("/stop@@", None, "/stop@@"),
        ("/", None, "/"),
        ("/a/b", None, "/a/b"),
        ("a /new", None, "a /new"),
        ("\ud800", None, "\ufffd"),
    ],
)
def test_the_data_of_a_button(data: str, command: str | None, text: str) -> None:
    """Data that begins with a slash and a word is a command; only /stop overtakes."""
    message = read(pressed(data))

    assert message is not None
    assert envelope.is_stop(pressed(data)) == (command == "stop")
    assert (message.command, message.text) == (command, text)
    assert (message.type is MessageType.COMMAND) == (command is not None)


@pytest.mark.parametrize(
    "message",
    [
        {"chat": PRIVATE, "message_id": 2, "date": 0},
        ASKED | {"reply_markup": {"inline_keyboard": 7}, "date": 0},
        ASKED | {"reply_markup": {"inline_keyboard": [[7]]}, "from": 7},
        ASKED
        | {"reply_markup": {"inline_keyboard": [[{"callback_data": "yes"}]]}}
        | {"message_id": 2, "text": 7},
    ],
)
def test_a_message_that_is_not_shown(message: Any) -> None:
    """The press is read without the text of its message, and without a label."""
    found = read(pressed(message=message))

    assert found is not None
    assert found.context == Context(sender="Ada", press=Press("77", "yes"))


def test_a_press_in_a_group() -> None:
    """Who presses is the sender; the topic is that of the message."""
    topic = {"is_topic_message": True, "message_thread_id": 4}
    message = read(pressed(message=ASKED | {"chat": GROUP} | topic, **{"from": BOB}))

    assert message is not None
    assert (message.chat, message.sender_id) == (ChatThread(-5, 4), 8)
    assert (message.private, message.addressed) == (False, True)


@pytest.mark.parametrize(
    "update",
    [
        pressed(None, game_short_name="chess"),
        pressed(message=None, inline_message_id="5"),
        pressed(**{"from": ROBOT}),
    ],
)
def test_a_press_without_an_answer(update: dict[str, Any]) -> None:
    """A game, a message of the inline mode and a bot get no answer."""
    assert read(update) is None


@pytest.mark.parametrize(
    "update",
    [
        {"update_id": 1, "callback_query": 7},
        pressed(7),
        pressed(id=None),
        pressed(**{"from": None}),
        pressed(message={"message_id": 2}),
    ],
)
def test_a_press_that_cannot_be_read(update: dict[str, Any]) -> None:
    """The error names the field."""
    with pytest.raises(EnvelopeError, match="unreadable update: callback_query"):
        read(update)


def test_repeated_presses() -> None:
    """They have a key in common, as long as person, message and data are the same."""
    keys = {
        envelope.press_key(update)
        for update in [
            pressed(),
            pressed(id="78"),
            pressed("no"),
            pressed(**{"from": BOB}),
            pressed(message=ASKED | {"message_id": 3}),
        ]
    }

    assert len(keys) == 4
    assert envelope.press_key(pressed(message=None)) is None
    assert envelope.press_key(raw(text="yes")) is None


def test_an_edit() -> None:
    """It is the message with its new content, called an edit."""
    new = raw(text="hello")
    edit = {"update_id": 1, "edited_message": new["message"]}
    message, edited = read(new), read(edit)

    assert message is not None
    assert edited is not None
    assert (message.edited, edited.edited) == (False, True)
    assert (message.text, edited.text) == ("hello", "hello")
    assert envelope.as_message(edit) == new
    assert envelope.message_key(edit) == envelope.message_key(new) == (7, 3)


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ({"text": "a"}, {"text": "a", "edit_date": 5}, True),
        ({"text": "a"}, {"text": "b"}, False),
        ({"text": "a"}, {"text": "a", "link_preview_options": {"url": "u"}}, True),
        ({"text": "a"}, {"text": "a", "reply_markup": {"inline_keyboard": []}}, True),
        ({"photo": PHOTO}, {"photo": [PHOTO[0] | {"file_id": "other"}]}, True),
        ({"photo": PHOTO}, {"photo": [PHOTO[0] | {"file_unique_id": "o"}]}, False),
        ({"photo": PHOTO}, {"photo": PHOTO, "caption": "look"}, False),
        (
            {"text": "a", "entities": [{"type": "bold", "offset": 0, "length": 1}]},
            {"text": "a", "entities": [{"type": "italic", "offset": 0, "length": 1}]},
            True,
        ),
        (
            {"text": "a", "entities": [{"type": "text_link", "url": "https://a"}]},
            {"text": "a", "entities": [{"type": "text_link", "url": "https://b"}]},
            False,
        ),
    ],
)
def test_the_digest_of_a_content(
    old: dict[str, Any], new: dict[str, Any], same: bool
) -> None:
    """It differs if what a person wrote or attached does."""
    digests = [envelope.content_digest(raw(**content)) for content in (old, new)]

    assert (digests[0] == digests[1]) is same


MEMBER, LEFT = {"status": "member"}, {"status": "left"}
KICKED, ADMINISTRATOR = {"status": "kicked"}, {"status": "administrator"}


@pytest.mark.parametrize(
    ("chat", "old", "new", "expected"),
    [
        (PRIVATE, MEMBER, KICKED, Membership.BLOCKED),
        (PRIVATE, KICKED, MEMBER, Membership.UNBLOCKED),
        (GROUP, LEFT, MEMBER, Membership.ADDED),
        (GROUP, KICKED, ADMINISTRATOR, Membership.ADDED),
        (GROUP, MEMBER, LEFT, Membership.REMOVED),
        (GROUP, ADMINISTRATOR, KICKED, Membership.REMOVED),
        (GROUP, MEMBER, ADMINISTRATOR, Membership.CHANGED),
        (
            GROUP,
            MEMBER,
            {"status": "restricted", "is_member": True},
            Membership.CHANGED,
        ),
        (
            GROUP,
            MEMBER,
            {"status": "restricted", "is_member": False},
            Membership.REMOVED,
        ),
        (GROUP, LEFT, KICKED, Membership.CHANGED),
        (GROUP, {}, MEMBER, None),
        (GROUP, MEMBER, 7, None),
        (7, LEFT, MEMBER, Membership.ADDED),
    ],
)
def test_membership(chat: Any, old: Any, new: Any, expected: Membership | None) -> None:
    """Whether the bot can write to the chat before and after."""
    change = {"chat": chat, "old_chat_member": old, "new_chat_member": new}
    update = {"update_id": 1, "my_chat_member": change}

    assert envelope.membership(update) is expected
    assert read(update) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "chat",
                    "id",
                    "message_id",
                    "text",
                    "status",
                    "from",
                    "data",
                    "message",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(
    update=st.dictionaries(
        st.sampled_from(
            ["message", "edited_message", "callback_query", "my_chat_member"]
        ),
        JSON,
    )
)
def test_what_looks_at_raw_updates_never_raises(update: dict[str, Any]) -> None:
    """Whatever they contain."""
    envelope.membership(update)
    envelope.is_private(update)
    envelope.press_key(update)
    envelope.message_key(update)
    envelope.is_position(update)
    envelope.is_stop(update)
    envelope.as_message(update)

    assert len(envelope.content_digest(update)) == 32
