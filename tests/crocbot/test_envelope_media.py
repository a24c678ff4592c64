"""What was sent besides words, described for an agent."""

from __future__ import annotations

from typing import Any

import pytest

from crocbot import envelope
from crocbot.model import Attachment, BotIdentity, Row

FILE = {"file_id": "f", "file_unique_id": "u"}
PLACE = {"latitude": 52.52, "longitude": 13.405}


def read(parts: dict[str, Any]) -> Attachment:
    """Read the medium of a message with these parts."""
    chat = {"id": 7, "type": "private", "first_name": "Ada"}
    sender = {"id": 7, "is_bot": False, "first_name": "Ada"}
    message = {"message_id": 3, "date": 1_700_000_000, "chat": chat, "from": sender}
    row = Row(1, {"update_id": 1, "message": message | parts}, 5.0)
    read = envelope.read(row, BotIdentity(99, "our_bot"))
    assert read is not None
    (medium,) = read.attachments
    return medium


STICKER = FILE | {"width": 512, "height": 512, "type": "regular", "emoji": "X"}


@pytest.mark.parametrize(
    ("parts", "medium"),
    [
        (
            {
                "photo": [
                    {"file_id": "s", "file_unique_id": "s", "width": 90, "height": 60},
                    FILE | {"width": 1280, "height": 853, "file_size": 9},
                ]
            },
            Attachment("photo", "photo, 1280x853", "f", "image/jpeg", 9),
        ),
        (
            {"voice": FILE | {"duration": 3, "mime_type": "audio/ogg"}},
            Attachment("voice", "voice message, 3 s, audio/ogg", "f", "audio/ogg"),
        ),
        (
            {
                "document": FILE
                | {
                    "file_name": "a\nb.pdf",
                    "mime_type": "application/pdf",
                    "file_size": 12,
                }
            },
            Attachment(
                "document",
                "document, a b.pdf, application/pdf, 12 bytes",
                "f",
                "application/pdf",
                12,
            ),
        ),
        ({"document": FILE}, Attachment("document", "document", "f")),
        (
            {"sticker": STICKER | {"is_animated": False, "is_video": False}},
            Attachment("sticker", "sticker X", "f", "image/webp"),
        ),
        (
            {"sticker": STICKER | {"is_animated": True, "is_video": False}},
            Attachment("sticker", "sticker X", "f"),
        ),
        (
            {"location": PLACE},
            Attachment("location", "location, latitude 52.52, longitude 13.405"),
        ),
        (
            {"venue": {"location": PLACE, "title": "Zoo", "address": "Street 1"}},
            Attachment(
                "venue", "venue Zoo, Street 1, latitude 52.52, longitude 13.405"
            ),
        ),
        (
            {"contact": {"phone_number": "+1", "first_name": "Bob"}},
            Attachment("contact", "contact Bob, phone +1"),
        ),
        ({"dice": {"value": 3, "emoji": "D"}}, Attachment("dice", "dice D, showing 3")),
        (
            {
                "video": FILE
                | {"width": 2, "height": 1, "duration": 5, "mime_type": "video/mp4"}
            },
            Attachment("video", "video, 5 s, 2x1", "f", "video/mp4"),
        ),
        (
            {"video_note": FILE | {"length": 1, "duration": 5}},
            Attachment("video_note", "video message, 5 s", "f"),
        ),
        (
            {"audio": FILE | {"duration": 60, "performer": "Croc", "title": "Snap"}},
            Attachment("audio", "audio, Croc, Snap, 60 s", "f"),
        ),
        (
            {
                "poll": {
                    "id": "1",
                    "question": "Which?",
                    "options": [
                        {"text": "A", "voter_count": 0, "persistent_id": "a"},
                        {"text": "B", "voter_count": 0, "persistent_id": "b"},
                    ],
                    "total_voter_count": 0,
                    "is_closed": False,
                    "is_anonymous": True,
                    "type": "regular",
                    "allows_multiple_answers": False,
                    "allows_revoting": False,
                    "members_only": False,
                }
            },
            Attachment("poll", "poll: Which?, A / B"),
        ),
    ],
)
def test_descriptions(parts: dict[str, Any], medium: Attachment) -> None:
    """Every kind of medium says in words what it is; a photo is the largest size."""
    assert read(parts) == medium


@pytest.mark.parametrize(
    ("mime_type", "is_image"),
    [("image/png", True), ("image/tiff", False), ("text/html", False)],
)
def test_images(mime_type: str, is_image: bool) -> None:
    """A document is an image if it is one that models look at."""
    assert read({"document": FILE | {"mime_type": mime_type}}).is_image is is_image


def test_descriptions_are_bounded() -> None:
    """A name that a sender chose cannot flood an agent."""
    medium = read({"document": FILE | {"file_name": "x" * 10_000}})

    assert len(medium.description) == 300
