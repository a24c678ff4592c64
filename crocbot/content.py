"""
The nouns of what messages contain, in both directions.

`model.py` has the messages themselves, and everything else that travels between stages.
"""

from __future__ import annotations

from dataclasses import dataclass, field

UNREADABLE = "unreadable"
"""The type of an attachment whose kind is not known to the gateway."""

IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/webp", "image/gif"})
"""The MIME types that models accept as images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """
    A photo, file, location or anything else in a message besides its text.

    `type` is Telegram's word for it, `description` what an agent reads in its place.
    `file_id` is valid at the Bot API only; `size` is in bytes.
    """

    type: str = field(kw_only=False)
    description: str = field(kw_only=False)
    file_id: str | None = None
    mime_type: str | None = None
    size: int | None = None

    @property
    def is_image(self) -> bool:
        """Return whether it can be given to a model as an image."""
        return self.file_id is not None and self.mime_type in IMAGE_TYPES


@dataclass(frozen=True, slots=True)
class Image:
    """An image for the agent."""

    mime_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Entity:
    """Telegram's MessageEntity: formatting of a part of a text, in UTF-16 units."""

    type: str
    offset: int
    length: int
    url: str | None = field(default=None, kw_only=True)
    language: str | None = field(default=None, kw_only=True)
