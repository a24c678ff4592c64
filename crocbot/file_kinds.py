"""
How a file of an answer is sent, by its content, and the name that it is shown with.

    b"\\x89PNG..." wanted as a photo   --> photo, "chart.png"
    b"<html>"    wanted as a photo   --> document, "chart.png"

What an agent or a server says of a file is not relied on.
"""

from __future__ import annotations

import re

from crocbot.file_names import suffix
from crocbot.outgoing import MAX_PHOTO_BYTES, FileKind

MAX_NAME_BYTES = 120
MAX_EXTENSION_CHARS = 10
OPUS_HEADER_BYTES = 64
OPUS = b"OpusHead"
OGG = "audio/ogg"
PHOTO_TYPES = frozenset({"image/jpeg", "image/png", "image/webp"})
# What sendAudio takes; sendVoice takes Opus in Ogg besides.
AUDIO_TYPES = frozenset({"audio/mpeg", "audio/mp4"})
# What no file system takes, control characters, and the formatting characters that let
# a name look like another one.
UNSAFE = re.compile(
    r'[<>:"|?*\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]'
)


def kind_of(content: bytes, found: str, wanted: FileKind | None) -> FileKind:
    """
    Return how a content of this type is sent.

    A kind that the content does not fit becomes another one, at last a document.
    """
    is_photo = found in PHOTO_TYPES and len(content) <= MAX_PHOTO_BYTES
    is_opus = found == OGG and OPUS in content[:OPUS_HEADER_BYTES]
    is_audio = found in AUDIO_TYPES
    match wanted:
        case FileKind.PHOTO | None if is_photo:
            return FileKind.PHOTO
        case FileKind.VOICE if is_opus or is_audio:
            return FileKind.VOICE
        case FileKind.AUDIO | None if is_audio:
            return FileKind.AUDIO
        case FileKind.AUDIO | None if is_opus:
            # Only as a voice message can it be played in the chat.
            return FileKind.VOICE
    return FileKind.DOCUMENT


def shown_name(name: str, found: str) -> str:
    """
    Return a name without folders and control characters, never empty.

    The extension of a long name stays, because it decides what opens the file.
    """
    base = name.replace("\\", "/").rpartition("/")[2]
    base = UNSAFE.sub("", base.encode("utf-8", "ignore").decode()).strip(" .")
    if not base:
        return f"file{suffix(found) or '.bin'}"
    if len(base.encode()) > MAX_NAME_BYTES:
        stem, dot, extension = base.rpartition(".")
        has_extension = stem and len(extension) <= MAX_EXTENSION_CHARS
        end = f"{dot}{extension}" if has_extension else ""
        kept = base.encode()[: MAX_NAME_BYTES - len(end.encode())]
        base = kept.decode("utf-8", "ignore").rstrip(" .") + end
    return base
