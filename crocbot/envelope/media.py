"""
Media of a message to an Attachment, with a description that an agent can read.

    {"voice": {"duration": 3, "mime_type": "audio/ogg", ...}}
    --> Attachment("voice", "voice message, 3 s, audio/ogg", file_id, ...)

    {"hologram": {...}}     a kind that Telegram added later
    --> Attachment("unreadable", "hologram, which cannot be read")
    {}                      a kind that the server cannot express
    --> Attachment("unreadable", "a message without content")

The sender chooses the names and titles in it: they are untrusted, and bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import isfinite
from typing import TYPE_CHECKING

from crocbot import log
from crocbot.content import UNREADABLE, Attachment
from crocbot.errors import EnvelopeError
from crocbot.text import replace_lone_surrogates

if TYPE_CHECKING:
    from crocbot.envelope.message import Fields

MAX_DESCRIPTION_CHARS = 300
MAX_NAME_CHARS = 255
# What was written to be read as a whole.
MAX_TEXT_CHARS = 4096
LONG_TYPES = frozenset({"checklist", "poll", "web_app_data"})
NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
# Fields of a message that tell about it, or that it comes with.
PROPERTIES = frozenset(
    {
        *("author_signature", "business_connection_id", "caption", "caption_entities"),
        *("chat", "date", "direct_messages_topic", "edit_date", "effect_id"),
        *("entities", "external_reply", "forward_date", "forward_from"),
        *("forward_from_chat", "forward_from_message_id", "forward_origin"),
        *("forward_sender_name", "forward_signature", "from", "guest_bot_caller_chat"),
        *("guest_bot_caller_user", "guest_query_id"),
        *("has_media_spoiler", "has_protected_content", "is_automatic_forward"),
        *("is_from_offline", "is_paid_post", "is_topic_message"),
        *("link_preview_options", "media_group_id", "message_id", "message_thread_id"),
        *("ephemeral_message_id", "paid_star_count", "quote", "receiver_user"),
        *("reply_markup", "reply_to_checklist_task_id"),
        *("reply_to_message", "reply_to_poll_option_id", "reply_to_story"),
        *("sender_boost_count", "sender_business_bot", "sender_chat", "sender_tag"),
        *("show_caption_above_media", "suggested_post_info", "text", "via_bot"),
    }
)
# Events of a chat, which Telegram sends as messages but which need no answer.
SERVICE = frozenset(
    {
        *("boost_added", "channel_chat_created", "chat_background_set"),
        *("chat_owner_changed", "chat_owner_left", "checklist_tasks_added"),
        *("community_chat_added", "community_chat_removed"),
        *("checklist_tasks_done", "connected_website", "delete_chat_photo"),
        *("direct_message_price_changed", "forum_topic_closed"),
        *("forum_topic_created", "forum_topic_edited", "forum_topic_reopened"),
        *("general_forum_topic_hidden", "general_forum_topic_unhidden"),
        *("gift_upgrade_sent", "giveaway_completed", "giveaway_created"),
        *("group_chat_created", "left_chat_member", "left_chat_participant"),
        *("managed_bot_created", "message_auto_delete_timer_changed"),
        *("migrate_from_chat_id", "migrate_to_chat_id", "new_chat_member"),
        *("new_chat_members", "new_chat_participant", "new_chat_photo"),
        *("new_chat_title", "paid_message_price_changed", "pinned_message"),
        *("poll_option_added", "poll_option_deleted", "proximity_alert_triggered"),
        *("refunded_payment", "suggested_post_approval_failed"),
        *("suggested_post_approved", "suggested_post_declined"),
        *("suggested_post_paid", "suggested_post_refunded", "supergroup_chat_created"),
        *("video_chat_ended", "video_chat_participants_invited"),
        *("video_chat_scheduled", "video_chat_started", "voice_chat_ended"),
        *("voice_chat_participants_invited", "voice_chat_scheduled"),
        *("voice_chat_started", "write_access_allowed"),
    }
)

# Such as a server sends that is older than the kind of the message.
NO_CONTENT = Attachment(UNREADABLE, "a message without content")

logger = log.logger(__name__)


def read(message: Fields) -> Attachment | None:
    """Return the attachment of a message, or None."""
    known = read_known(message)
    if known is not None or any(message.has(name) for name in SERVICE):
        return known
    return _read_unknown(message)


def read_known(message: Fields) -> Attachment | None:
    """Return an attachment of a kind that is known, or None."""
    for type_ in DESCRIPTIONS:
        if message.has(type_):
            return _read(message, type_)
    return None


def _read(message: Fields, type_: str) -> Attachment:
    """Return an attachment, with nothing but its type if its fields are wrong."""
    try:
        file = _file(message, type_)
        details = DESCRIPTIONS[type_](file)
        longest = MAX_TEXT_CHARS if type_ in LONG_TYPES else MAX_DESCRIPTION_CHARS
        return Attachment(
            type_,
            replace_lone_surrogates(_joined(", ", details)[:longest]),
            file_id=file.optional_text("file_id"),
            mime_type=_mime_type(type_, file),
            size=file.optional_integer("file_size"),
            name=_file_name(file),
            duration=_duration(file),
        )
    except (EnvelopeError, OverflowError) as error:
        logger.warning("part of an update cannot be read", error=str(error))
        return Attachment(type_, f"{type_.replace('_', ' ')}, which cannot be read")


def _read_unknown(message: Fields) -> Attachment:
    """
    Return content of a kind that Telegram added later, described by its name.

    A flag, a number or a text counts as content only if there is no object or list.
    """
    unknown = [
        name for name in message.names() if name not in PROPERTIES and message.has(name)
    ]
    objects = [name for name in unknown if isinstance(message.raw(name), dict | list)]
    for name in (objects or unknown)[:1]:
        kind = name if NAME.fullmatch(name) else "something"
        logger.warning("a kind of message that is not known", field=kind)
        return Attachment(UNREADABLE, f"{kind}, which cannot be read")
    if message.has("caption"):
        return Attachment(UNREADABLE, "something, which cannot be read")
    return NO_CONTENT


def _file(message: Fields, type_: str) -> Fields:
    """Return the file; a photo comes in several sizes, the largest one last."""
    if type_ == "photo":
        return message.objects(type_)[-1]
    return message.fields(type_)


def _mime_type(type_: str, file: Fields) -> str | None:
    if type_ == "photo":
        return "image/jpeg"
    if type_ == "sticker":
        moving = file.has("is_animated") or file.has("is_video")
        return None if moving else "image/webp"
    return file.optional_text("mime_type")


def _file_name(file: Fields) -> str | None:
    """Return the name without what could change how text around it is shown."""
    name = file.optional_text("file_name") or ""
    printable = "".join(filter(str.isprintable, name.replace("\n", " ")))
    return printable[-MAX_NAME_CHARS:].strip() or None


def _duration(file: Fields) -> float | None:
    duration = file.number("duration") if file.has("duration") else None
    # JSON for agents has no NaN.
    return duration if duration is None or isfinite(duration) else None


def _joined(separator: str, parts: tuple[str | None, ...]) -> str:
    """Join the parts that there are, each in one line."""
    lines = (" ".join(part.split()) for part in parts if part)
    return separator.join(line for line in lines if line)


def _named(word: str, name: str | None) -> str:
    return f"{word} {name}" if name else word


def _seconds(value: Fields) -> str:
    return f"{value.number('duration'):g} s"


def _dimensions(value: Fields) -> str:
    return f"{value.integer('width')}x{value.integer('height')}"


def _position(value: Fields) -> str:
    latitude, longitude = value.number("latitude"), value.number("longitude")
    return f"latitude {latitude:g}, longitude {longitude:g}"


def _contact(value: Fields) -> Description:
    name = (value.optional_text("first_name"), value.optional_text("last_name"))
    phone = value.text("phone_number")
    return _named("contact", _joined(" ", name)), f"phone {phone}"


def _poll(value: Fields) -> Description:
    options = [option.text("text") for option in value.objects("options")]
    return f"poll: {value.text('question')}", " / ".join(options)


def _checklist(value: Fields) -> Description:
    tasks = " / ".join(
        f"[{'x' if _is_completed(task) else ' '}] {task.text('text')}"
        for task in value.objects("tasks")
    )
    return f"checklist: {value.text('title')}", tasks


def _is_completed(task: Fields) -> bool:
    return any(
        task.has(name)
        for name in ("completed_by_user", "completed_by_chat", "completion_date")
    )


def _giveaway(value: Fields) -> Description:
    return (
        "giveaway",
        f"{value.integer('winner_count')} winners",
        value.optional_text("prize_description"),
    )


def _giveaway_winners(value: Fields) -> Description:
    winners = (_person(winner) for winner in value.objects("winners"))
    return (
        *("giveaway winners", f"{value.integer('winner_count')} winners"),
        *(value.optional_text("prize_description"), *winners),
    )


def _person(value: Fields) -> str:
    name = (value.optional_text("first_name"), value.optional_text("last_name"))
    return _joined(" ", name)


def _invoice(value: Fields) -> Description:
    # In the smallest units of the currency, whose number of digits varies.
    price = f"{value.integer('total_amount')} of the smallest unit of"
    return (
        *(f"invoice {value.text('title')}", value.optional_text("description")),
        f"{price} {value.text('currency')}",
    )


def _users_shared(value: Fields) -> Description:
    users = [_shared_user(user) for user in value.objects("users")]
    return "users shared", *users


def _shared_user(user: Fields) -> str:
    return _joined(" ", (_person(user), f"id {user.integer('user_id')}"))


def _web_app_data(value: Fields) -> Description:
    return (
        f"data of the web app {value.text('button_text')}: {value.text('data')}",
        None,
    )


def _chat_shared(value: Fields) -> Description:
    title = value.optional_text("title")
    return _named("chat shared", title), f"id {value.integer('chat_id')}"


Description = tuple[str | None, ...]
"""The parts of a description; those that are missing are None."""

DESCRIPTIONS: Mapping[str, Callable[[Fields], Description]] = {
    # Before document, because an animation has both.
    "animation": lambda v: (
        *("animation", _file_name(v), _seconds(v), _dimensions(v)),
    ),
    "audio": lambda v: (
        *("audio", v.optional_text("performer")),
        v.optional_text("title") or _file_name(v),
        *(_seconds(v), v.optional_text("mime_type")),
    ),
    "chat_shared": _chat_shared,
    "checklist": _checklist,
    "contact": _contact,
    "dice": lambda v: (f"dice {v.text('emoji')}", f"showing {v.integer('value')}"),
    "document": lambda v: (
        *("document", _file_name(v), v.optional_text("mime_type")),
        f"{v.integer('file_size')} bytes" if v.has("file_size") else None,
    ),
    "game": lambda v: (f"game {v.text('title')}", v.optional_text("description")),
    "gift": lambda v: ("gift", v.optional_text("text")),
    "giveaway": _giveaway,
    "giveaway_winners": _giveaway_winners,
    "invoice": _invoice,
    # Before photo, because a live photo has both.
    "live_photo": lambda v: ("live photo", _seconds(v), _dimensions(v)),
    "paid_media": lambda _: ("paid media",),
    "passport_data": lambda _: ("Telegram Passport data, encrypted",),
    "photo": lambda v: ("photo", _dimensions(v)),
    "poll": _poll,
    "sticker": lambda v: (
        _named("sticker", v.optional_text("emoji")),
        v.optional_text("set_name"),
    ),
    "story": lambda _: ("story",),
    "successful_payment": lambda v: (
        "payment",
        f"{v.integer('total_amount')} of the smallest unit of {v.text('currency')}",
    ),
    "unique_gift": lambda _: ("unique gift",),
    # Before user_shared, which a server sends for old bots if there is one user.
    "users_shared": _users_shared,
    "user_shared": lambda v: ("user shared", f"id {v.integer('user_id')}"),
    # Before location, because a venue has both.
    "venue": lambda v: (
        *(f"venue {v.text('title')}", v.text("address")),
        _position(v.fields("location")),
    ),
    "location": lambda v: ("location", _position(v)),
    "video": lambda v: (*("video", _file_name(v), _seconds(v), _dimensions(v)),),
    "video_note": lambda v: ("video message", _seconds(v)),
    "voice": lambda v: ("voice message", _seconds(v), v.optional_text("mime_type")),
    "web_app_data": _web_app_data,
}
