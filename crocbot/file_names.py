"""
Names of files on disk, none of which a sender chose.

    "../résumé\\0.pdf" --> "1-resume.pdf"
"""

from __future__ import annotations

import mimetypes
import re
import unicodedata

MAX_NAME_CHARS = 1000
MAX_STEM_CHARS = 60
MAX_SUFFIX_CHARS = 12
UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


# Where Python's table has no ending, another one, or that of the system.
SUFFIXES = {
    "audio/flac": ".flac",
    "audio/mp4": ".m4a",
    "audio/mpeg": ".mp3",
    "audio/ogg": ".ogg",
    "audio/wav": ".wav",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "text/plain": ".txt",
    "video/mp4": ".mp4",
}
TYPES = mimetypes.MimeTypes()


def suffix(mime_type: str) -> str:
    """Return the ending of the name of a file of this type, "" if it has none."""
    return SUFFIXES.get(mime_type) or TYPES.guess_extension(mime_type) or ""


def safe_name(number: int, name: str | None, ending: str = "") -> str:
    """
    Return a name for a file of a turn, unique by its number, whatever it was called.

        1, "../résumé\\0.pdf" --> "1-resume.pdf"    2, None, ".ogg" --> "2-file.ogg"

    It has only ASCII letters, digits, and `.`, `_`, `-`.
    """
    plain = unicodedata.normalize("NFKD", (name or "")[-MAX_NAME_CHARS:])
    ascii_name = plain.encode("ascii", "ignore").decode()
    stem, dot, end = ascii_name.rpartition(".")
    if not dot or UNSAFE.search(end) or len(end) > MAX_SUFFIX_CHARS:
        stem, end = ascii_name, ""
    stem = UNSAFE.sub("_", stem).strip("._-")[:MAX_STEM_CHARS]
    return f"{number}-{stem or 'file'}{f'.{end}' if end else ending}"
