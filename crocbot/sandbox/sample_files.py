"""
The files of messages that no test has uploaded: a photo, a sticker, a voice message.

    messages.voice() --> getFile("voice") --> 3 s of Opus in Ogg

They are real ones, made for the sandbox, in the folder `samples`.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

NAMES = {
    "photo-large": "photo-large.jpg",
    "photo-small": "photo-small.jpg",
    "sticker": "sticker.webp",
    "voice": "voice.ogg",
}


@cache
def sample(file_id: str) -> bytes | None:
    """Return the content of the file of this id, None if there is none."""
    name = NAMES.get(file_id)
    folder = files("crocbot.sandbox") / "samples"
    return None if name is None else (folder / name).read_bytes()


def sample_size(file_id: str) -> int:
    """Return the number of its bytes, 0 if there is none."""
    return len(sample(file_id) or b"")
