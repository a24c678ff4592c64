"""Raw updates to messages, to None, or to an error; never anything else."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot import envelope
from crocbot.content import Context
from crocbot.errors import EnvelopeError
from crocbot.model import BotIdentity, ChatThread, Message, MessageType, Row

BOT = BotIdentity(99, "Our_Bot")
ADA = {"id": 7, "is_bot": False, "first_name": "Ada"}
ROBOT = {"id": 8, "is_bot": True, "first_name": "Robot"}
US = ROBOT | {"id": 99}
PRIVATE = {"id": 7, "type": "private", "first_name": "Ada"}
GROUP = {"id": -5, "type": "supergroup", "title": "Cats"}
FILE = {"file_id": "f", "file_unique_id": "u"}
PHOTO = [FILE | {"width": 1, "height": 1}]


def raw(**fields: Any) -> dict[str, Any]:
    """Return an update with a new message of Ada, with other fields as given."""
    message = {"message_id": 3, "date": 1_700_000_000, "chat": PRIVATE, "from": ADA}
    return {"update_id": 1, "message": message | fields}


def entity(type_: str, length: int, offset: int = 0, **fields: Any) -> list[Any]:
    """Return the entities of a text that has one."""
    return [{"type": type_, "offset": offset, "length": length} | fields]


def command(text: str, length: int, **fields: Any) -> dict[str, Any]:
    """Return an update whose text begins with a command of this length."""
    return raw(text=text, entities=entity("bot_command", length), **fields)


def read(update: dict[str, Any]) -> Message | None:
    """Read an update as a turn does."""
    return envelope.read(Row(1, update, 5.0), BOT)


def message_of(update: dict[str, Any]) -> Message:
    """Read an update that is a message."""
    message = read(update)
    assert message is not None
    return message


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
        context=Context(sender="Ada"),
    )


@pytest.mark.parametrize(
    ("update", "text", "name"),
    [
        (command("/start", 6), "", "start"),
        (command("/ask  what is it?\n", 4), "what is it?", "ask"),
        (command("/Ask@our_bot now", 12), "now", "ask"),
        (command("/ask@OUR_BOT", 12), "", "ask"),
        (raw(text="/not marked"), "/not marked", None),
        (raw(text=""), "", None),
        (
            raw(text="see /help", entities=entity("bot_command", 5, 4)),
            *("see /help", None),
        ),
    ],
)
def test_commands(update: dict[str, Any], text: str, name: str | None) -> None:
    """A command stands at the very start, and is for any bot or for this one."""
    message = message_of(update)

    assert (message.text, message.command) == (text, name)
    assert message.type is (MessageType.COMMAND if name else MessageType.TEXT)


@pytest.mark.parametrize("caption", ["look", None])
def test_media(caption: str | None) -> None:
    """The caption of media is the text of the message."""
    message = message_of(raw(photo=PHOTO, caption=caption))

    assert (message.type, message.text) == (MessageType.MEDIA, caption or "")
    assert [each.type for each in message.attachments] == ["photo"]


@pytest.mark.parametrize(
    "update",
    [
        {"update_id": 1},
        {"update_id": 1, "something_new": {"a": 1}},
        {"update_id": 1, "channel_post": raw(text="x")["message"]},
        raw(new_chat_title="Dogs"),
        raw(pinned_message=raw(text="x")["message"]),
        # An event of a chat with a part that is not known.
        raw(pinned_message=raw(text="x")["message"], hologram={"a": 1}),
        raw(new_chat_members=[ADA], chat=GROUP),
        # Perhaps an event of a kind that the server does not know.
        raw(chat=GROUP),
        command("/ask@other_bot", 14),
        command("/ask@other_bot", 14, chat=GROUP),
        raw(text="beep", **{"from": ROBOT}),
    ],
)
def test_none(update: dict[str, Any]) -> None:
    """An update that is not a new message of a person to the bot gives None."""
    assert read(update) is None


OURS = raw(text="x", **{"from": US})["message"]
OPENING = OURS | {"forum_topic_created": {"name": "x", "icon_color": 1}}


@pytest.mark.parametrize(
    ("fields", "addressed"),
    [
        ({"text": "hello", "chat": PRIVATE}, True),
        ({"text": "hello"}, False),
        ({"text": "@our_bot hello"}, False),
        ({"text": "@our_bot hello", "entities": entity("mention", 8)}, True),
        ({"text": "@OUR_bot", "entities": entity("mention", 8)}, True),
        ({"text": "@our_bots", "entities": entity("mention", 9)}, False),
        ({"text": "@other", "entities": entity("mention", 6)}, False),
        ({"text": "Croc, hi", "entities": entity("text_mention", 4, user=US)}, True),
        (
            {
                "photo": PHOTO,
                "caption": "@our_bot look",
                "caption_entities": entity("mention", 8),
            },
            True,
        ),
        ({"text": "/ask", "entities": entity("bot_command", 4)}, False),
        ({"text": "/ask@our_bot", "entities": entity("bot_command", 12)}, True),
        ({"text": "yes", "reply_to_message": OURS}, True),
        ({"text": "yes", "reply_to_message": raw(text="x")["message"]}, False),
        ({"text": "yes", "reply_to_message": OPENING}, False),
    ],
)
def test_addressed(fields: dict[str, Any], addressed: bool) -> None:
    """In a group a message is for the bot if it mentions the bot or replies to it."""
    assert message_of(raw(**({"chat": GROUP} | fields))).addressed is addressed


@pytest.mark.parametrize(
    ("is_topic", "thread_id", "topic"),
    [(True, 4, 4), (None, 4, None), (True, 1, None), (True, None, None)],
)
def test_topics(
    is_topic: bool | None, thread_id: int | None, topic: int | None
) -> None:
    """A topic is a chat of its own; a chain of replies and General are not."""
    fields = {"is_topic_message": is_topic, "message_thread_id": thread_id}
    message = message_of(raw(text="x", chat=GROUP, **fields))

    assert (message.chat, message.private) == (ChatThread(-5, topic), False)


@pytest.mark.parametrize(
    ("fields", "move"),
    [
        ({"migrate_to_chat_id": -9}, (-5, -9)),
        ({"migrate_from_chat_id": -4}, (-4, -5)),
        ({"migrate_from_chat_id": -5}, None),
        ({"migrate_to_chat_id": "-9"}, None),
        ({"migrate_to_chat_id": -(10**30)}, None),
        ({"migrate_to_chat_id": -9, "chat": None}, None),
        ({"text": "x"}, None),
    ],
)
def test_a_group_that_moved(
    fields: dict[str, Any], move: tuple[int, int] | None
) -> None:
    """Both messages about a new id of a group tell the old one and the new one."""
    update = raw(**({"chat": GROUP} | fields))

    assert envelope.chat_move(update) == move
    assert envelope.chat_move({"message": "?"}) is None


@pytest.mark.parametrize("fields", [{"sender_chat": GROUP}, {"from": None}])
def test_no_sender(fields: dict[str, Any]) -> None:
    """A message of a chat, or of no one, has no sender."""
    assert message_of(raw(text="x", chat=GROUP, **fields)).sender_id is None


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ([], "message is not an object"),
        ("hello", "message is not an object"),
        ({"message_id": 1}, "message.chat is missing"),
        (raw(text=5)["message"], "message.text is not a text"),
        (raw(text="x", message_id="3")["message"], "message.message_id is not an"),
        (raw(text="x", chat={"id": "7"})["message"], "message.chat.id is not an"),
        (raw(text="x", chat={"id": True})["message"], "message.chat.id is not an"),
        (raw(text="x", chat={"id": 2**63})["message"], "message.chat.id is not an"),
        (raw(text="x", chat={"id": 7})["message"], "message.chat.type is missing"),
        (raw(text="x", **{"from": {}})["message"], "message.from.id is missing"),
        (raw(text="x", **{"from": 7})["message"], "message.from is not an object"),
    ],
)
def test_unreadable(message: Any, field: str) -> None:
    """An update without a part that it needs raises EnvelopeError, which names it."""
    with pytest.raises(EnvelopeError, match=f"unreadable update: {field}"):
        read({"update_id": 1, "message": message})


POLL = {"poll": {"question": "which?"}}


@pytest.mark.parametrize(
    "fields",
    [
        {"date": "yesterday"},
        {"date": 1e18},
        {"reply_to_message": raw(**POLL)["message"]},
        {"reply_to_message": {"from": {"id": "9"}}},
        {"reply_to_message": ["what?"]},
        {"external_reply": {"giveaway": 3}},
        {"quote": "what?"},
        {"pinned_message": POLL},
        {"forward_origin": {"type": "mystery"}},
        {"via_bot": "bot"},
        {"entities": [{"type": "bot_command"}]},
        {"entities": [{"type": 5, "offset": 0, "length": 1}, 7]},
        {"entities": {"type": "bold"}},
        {"reply_markup": {"inline_keyboard": 5}},
        {"link_preview_options": []},
        {"is_topic_message": True, "message_thread_id": "4"},
        {"hologram": {"a": 1}},
        {"chat": PRIVATE | {"type": "private", "photo": 5}},
        {"from": ADA | {"first_name": None, "language_code": 5}},
    ],
)
def test_a_part_that_is_wrong(fields: dict[str, Any]) -> None:
    """A text is answered whatever is wrong in parts that an answer does not need."""
    assert message_of(raw(**({"text": "x"} | fields))).text == "x"


def test_a_mention_after_an_entity_that_is_wrong() -> None:
    """One entity that cannot be read does not hide the others."""
    entities = [{"type": "bold"}, *entity("mention", 8)]

    assert message_of(raw(text="@our_bot x", chat=GROUP, entities=entities)).addressed


def test_a_reply_to_a_poll_of_the_bot() -> None:
    """A message replies to the bot whatever is wrong with the message before it."""
    original = raw(**POLL, **{"from": US})["message"]

    assert message_of(raw(text="x", chat=GROUP, reply_to_message=original)).addressed


@pytest.mark.parametrize(
    ("message", "lag"),
    [
        ({"date": 990}, 10.5),
        ({"date": 1000}, 0.5),
        # Of a server whose clock is ahead.
        ({"date": 1001}, 0.0),
        ({"date": 10**400}, 0.0),
        ({"date": 1}, 999.5),
        ({"date": 0}, None),
        ({"date": -5}, None),
        ({"date": "990"}, None),
        ({"date": True}, None),
        ({"date": 990.0}, None),
        ({}, None),
        ("text", None),
    ],
)
def test_the_delivery_lag(message: Any, lag: float | None) -> None:
    """The time since a message was sent is known if it has a date."""
    assert envelope.lag_seconds({"message": message}, 1000.5) == lag
    assert envelope.lag_seconds({"update_id": 1}, 1000.5) is None


def test_the_longest_delivery_lag() -> None:
    """A lag that is longer than Telegram keeps updates is that of two clocks."""
    assert envelope.lag_seconds(raw(date=1), 1e9) == 86_400.0


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
    """The chat is found wherever Telegram puts it; otherwise the key is None."""
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


KINDS = [
    *("message", "edited_message", "callback_query", "my_chat_member"),
    *("stopped_message_generation", "poll", "update_id"),
]
UPDATES = st.dictionaries(st.sampled_from(KINDS), JSON)
PRIVATE_CHAT = st.just({"id": 7, "type": "private", "first_name": "Ada"})
PARTS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("draft_id", "message_thread_id", "data", "id"), JSON),
        **dict.fromkeys(("chat", "from", "date", "text"), JSON | PRIVATE_CHAT),
        "message": st.fixed_dictionaries(
            {}, optional={"chat": PRIVATE_CHAT, "message_id": JSON, "date": JSON}
        ),
    },
)
OTHER_KINDS = st.dictionaries(st.sampled_from(KINDS[1:5]), PARTS, min_size=1)
MESSAGES = st.dictionaries(st.sampled_from(FIELDS), JSON).map(
    lambda fields: raw(**({"text": "x"} | fields))
)


@given(UPDATES | MESSAGES | OTHER_KINDS)
def test_any_update(update: dict[str, Any]) -> None:
    """Any JSON gives a message, None or EnvelopeError, and a key."""
    hash(envelope.chat_key(update))
    envelope.chat_move(update)
    envelope.is_stop(update)
    envelope.guess_type(update)
    envelope.lag_seconds(update, 1e9)
    try:
        message = read(update)
    except EnvelopeError:
        return

    assert message is None or isinstance(message.text, str)


@pytest.mark.parametrize("name", ["/ask", "/ask@our_bot"])
@pytest.mark.parametrize(("units", "full"), [(4096, True), (4095, False)])
def test_a_long_command(name: str, units: int, full: bool) -> None:
    """One that is as long as Telegram allows, with its command, has full length."""
    text = f"{name} ".ljust(units - 2, "x") + "\U0001f40a"

    assert message_of(command(text, len(name))).full_length is full


@pytest.mark.parametrize(
    ("text", "types", "overtakes"),
    [
        ("/stop it", [], True),
        ("/stop it", ["bot_command"], True),
        ("/stop!", ["bold", "bot_command"], True),
        ("/stop it", ["code"], False),
        ("/stop it", ["pre", "italic"], False),
    ],
)
def test_stop_overtakes(text: str, types: list[str], overtakes: bool) -> None:
    """Only what Telegram marks as a command does, whatever follows it."""
    entities = [{"type": each, "offset": 0, "length": 5} for each in types]

    assert envelope.is_stop(raw(text=text, entities=entities)) is overtakes
