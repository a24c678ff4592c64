"""Attachments, described for an agent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import telegram

from crocbot import envelope
from crocbot.content import UNREADABLE, Attachment
from crocbot.envelope import media
from crocbot.model import BotIdentity, Row

FILE = {"file_id": "f", "file_unique_id": "u"}
WIDE = FILE | {"width": 2, "height": 1}
SMALL = {"file_id": "s", "file_unique_id": "s", "width": 90, "height": 60}
STICKER = FILE | {"width": 512, "height": 512, "type": "regular", "emoji": "X"}
STILL = STICKER | {"is_animated": False, "is_video": False}
ANIMATED = STICKER | {"is_animated": True, "is_video": False}
PDF = {"file_name": "a\nb.pdf", "mime_type": "application/pdf", "file_size": 12}
PLACE = {"latitude": 52.52, "longitude": 13.405}
AT = "latitude 52.52, longitude 13.405"
FLAGS = ("is_closed", "is_anonymous", "allows_multiple_answers", "allows_revoting")
POLL = dict.fromkeys((*FLAGS, "members_only"), False) | {
    "id": "1",
    "type": "regular",
    "question": "Which?",
    "options": [
        {"text": text, "voter_count": 0, "persistent_id": text} for text in "AB"
    ],
    "total_voter_count": 0,
}


def read(**fields: Any) -> Attachment:
    """Read the attachment of a message with these fields."""
    chat = {"id": 7, "type": "private", "first_name": "Ada"}
    sender = {"id": 7, "is_bot": False, "first_name": "Ada"}
    message = {"message_id": 3, "date": 1_700_000_000, "chat": chat, "from": sender}
    row = Row(1, {"update_id": 1, "message": message | fields}, 5.0)
    read = envelope.read(row, BotIdentity(99, "our_bot"))
    assert read is not None
    (attachment,) = read.attachments
    return attachment


@pytest.mark.parametrize(
    ("type_", "value", "attachment"),
    [
        # The largest size of a photo is the last one.
        (
            "photo",
            [SMALL, WIDE | {"file_size": 9}],
            ("photo, 2x1", "f", "image/jpeg", 9),
        ),
        (
            "voice",
            FILE | {"duration": 3, "mime_type": "audio/ogg"},
            ("voice message, 3 s, audio/ogg", "f", "audio/ogg"),
        ),
        (
            "document",
            FILE | PDF,
            (
                "document, a b.pdf, application/pdf, 12 bytes",
                *("f", "application/pdf", 12),
            ),
        ),
        ("document", FILE, ("document", "f")),
        ("sticker", STILL, ("sticker X", "f", "image/webp")),
        ("sticker", ANIMATED, ("sticker X", "f")),
        ("location", PLACE, (f"location, {AT}",)),
        (
            "venue",
            {"location": PLACE, "title": "Zoo", "address": "Street 1"},
            (f"venue Zoo, Street 1, {AT}",),
        ),
        (
            "contact",
            {"phone_number": "+1", "first_name": "Bob"},
            ("contact Bob, phone +1",),
        ),
        ("dice", {"value": 3, "emoji": "D"}, ("dice D, showing 3",)),
        (
            "video",
            WIDE | {"duration": 5, "mime_type": "video/mp4"},
            ("video, 5 s, 2x1", "f", "video/mp4"),
        ),
        (
            "video_note",
            FILE | {"length": 1, "duration": 5},
            ("video message, 5 s", "f"),
        ),
        (
            "audio",
            FILE | {"duration": 60, "performer": "Croc", "title": "Snap"},
            ("audio, Croc, Snap, 60 s", "f"),
        ),
        ("poll", POLL, ("poll: Which?, A / B",)),
        (
            "checklist",
            {
                "title": "Zoo",
                "tasks": [
                    {"id": 1, "text": "feed", "completion_date": 1_700_000_000},
                    {"id": 2, "text": "sleep"},
                ],
            },
            ("checklist: Zoo, [x] feed / [ ] sleep",),
        ),
        (
            "web_app_data",
            {"button_text": "Order", "data": "2 fish"},
            ("data of the web app Order: 2 fish",),
        ),
        (
            "giveaway",
            {"winner_count": 2, "prize_description": "fish", "chats": []},
            ("giveaway, 2 winners, fish",),
        ),
        (
            "giveaway_winners",
            {"winner_count": 1, "winners": [{"id": 7, "first_name": "Ada"}]},
            ("giveaway winners, 1 winners, Ada",),
        ),
        (
            "invoice",
            {"title": "Fish", "currency": "EUR", "total_amount": 250},
            ("invoice Fish, 250 of the smallest unit of EUR",),
        ),
        (
            "successful_payment",
            {"currency": "EUR", "total_amount": 250},
            ("payment, 250 of the smallest unit of EUR",),
        ),
        (
            "users_shared",
            {"users": [{"user_id": 7, "first_name": "Ada"}, {"user_id": 8}]},
            ("users shared, Ada id 7, id 8",),
        ),
        ("user_shared", {"user_id": 7}, ("user shared, id 7",)),
        ("chat_shared", {"chat_id": -5, "title": "Zoo"}, ("chat shared Zoo, id -5",)),
        ("live_photo", WIDE | {"duration": 2}, ("live photo, 2 s, 2x1", "f")),
        ("paid_media", {"star_count": 1}, ("paid media",)),
        ("passport_data", {"data": []}, ("Telegram Passport data, encrypted",)),
        ("game", {"title": "Chess", "description": "x"}, ("game Chess, x",)),
        ("story", {"id": 1}, ("story",)),
        ("gift", {"gift": {}, "text": "for you"}, ("gift, for you",)),
        ("unique_gift", {"gift": {}}, ("unique gift",)),
        # Of a server whose fields are not those of today.
        ("poll", {}, ("poll, which cannot be read",)),
        ("video_note", FILE, ("video note, which cannot be read",)),
        ("photo", [5], ("photo, which cannot be read",)),
        ("dice", {"emoji": "D", "value": "3"}, ("dice, which cannot be read",)),
        ("voice", FILE | {"duration": 10**400}, ("voice, which cannot be read",)),
    ],
)
def test_descriptions(type_: str, value: Any, attachment: tuple[Any, ...]) -> None:
    """Every type of attachment is described in words."""
    names = ("description", "file_id", "mime_type", "size")
    expected = Attachment(type_, **dict(zip(names, attachment, strict=False)))
    found = read(**{type_: value})
    assert replace(found, name=None, duration=None) == expected


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("report.pdf", "report.pdf"),
        ("a\nb\0c\x1b[31m.pdf", "a bc[31m.pdf"),
        ("\u202efdp.exe\u2066", "fdp.exe"),
        ("../../etc/passwd", "../../etc/passwd"),
        ("x" * 5000 + ".pdf", "x" * 251 + ".pdf"),
        (" \n", None),
        ("", None),
    ],
)
def test_names_and_durations(given: str, name: str | None) -> None:
    """A name has no character that changes how the text around it is shown."""
    attachment = read(audio=FILE | {"duration": 3, "file_name": given})

    assert (attachment.name, attachment.duration) == (name, 3)
    assert "\u202e" not in attachment.description


@pytest.mark.parametrize(
    ("name", "shown"),
    [("hologram", "hologram"), ("Holo\x1bgram", "something")],
)
def test_a_kind_of_tomorrow(name: str, shown: str) -> None:
    """Media of a kind that is not known is named as far as that is safe."""
    attachment = read(**{name: FILE | {"depth": 3}})

    assert attachment == Attachment(UNREADABLE, f"{shown}, which cannot be read")


@pytest.mark.parametrize(
    ("fields", "description"),
    [
        ({"hologram": "x"}, "hologram, which cannot be read"),
        ({"hologram": True}, "hologram, which cannot be read"),
        ({"price": 5, "hologram": {"depth": 3}}, "hologram, which cannot be read"),
        ({"caption": "Look"}, "something, which cannot be read"),
        ({}, "a message without content"),
        ({"hologram": None, "is_from_offline": True}, "a message without content"),
    ],
)
def test_content_that_is_not_an_object(
    fields: dict[str, Any], description: str
) -> None:
    """A message without any content that is known is not ignored."""
    assert read(**fields) == Attachment(UNREADABLE, description)


def test_every_field_of_a_message_is_known() -> None:
    """Of a field is known whether it is content, an event of the chat or neither."""
    known = {*media.DESCRIPTIONS, *media.SERVICE, *media.PROPERTIES}
    # The names that differ from those of the Bot API.
    fields = {*telegram.Message.__slots__} - {"from_user", "api_kwargs"}

    assert {name for name in fields if not name.startswith("_")} <= known


def test_animation() -> None:
    """An animation, which Telegram sends as a document too, is an animation."""
    assert read(document=FILE, animation=WIDE | {"duration": 1}).type == "animation"


@pytest.mark.parametrize(
    ("mime_type", "is_image"),
    [("image/png", True), ("image/tiff", False), ("text/html", False)],
)
def test_images(mime_type: str, is_image: bool) -> None:
    """A document of a type that models accept is an image."""
    assert read(document=FILE | {"mime_type": mime_type}).is_image is is_image


def test_descriptions_are_bounded() -> None:
    """A name or a text that a sender chose cannot flood an agent."""
    assert len(read(document=FILE | {"file_name": "x" * 999}).description) < 300
    assert len(read(game={"title": "x" * 10_000}).description) == 300
    data = {"button_text": "x", "data": "x" * 10_000}
    assert len(read(web_app_data=data).description) == 4096
