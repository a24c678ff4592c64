"""
The type of a file by its content, since names and MIME types are chosen by the sender.

    b"\\xff\\xd8\\xff..."          --> image/jpeg, whatever the file is called
    b"\\xef\\xbb\\xbfHello"        --> text/plain, and the text "Hello"
    b"\\x7fELF..." as "text/html"  --> application/x-executable, and no text
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

BINARY = "application/octet-stream"
ZIP = "application/zip"
PLAIN_TEXT = "text/plain"
# Content --> type, at an offset.
SIGNATURES = (
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"OggS", "audio/ogg"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"#!AMR", "audio/amr"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"PK\x03\x04", ZIP),
    (0, b"PK\x05\x06", ZIP),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\x00", "application/x-xz"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (0, b"\x7fELF", "application/x-executable"),
    (0, b"SQLite format 3\x00", "application/vnd.sqlite3"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (8, b"WEBP", "image/webp"),
    (8, b"WAVE", "audio/wav"),
    (8, b"AVI ", "video/x-msvideo"),
)
# The brands of ISO files that are not video/mp4.
BRANDS = {
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
    b"qt  ": "video/quicktime",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heif",
    b"avif": "image/avif",
}
MATROSKA = b"\x1a\x45\xdf\xa3"
HEADER_BYTES = 64
# What no text has: control characters, except white space, backspace and escape.
CONTROL = re.compile("[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f\ufffe\uffff]")
# UTF-32 first: its mark begins with that of UTF-16.
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
MAX_BYTES_PER_CHAR = 4
# A text in UTF-16 without a mark has this part of zeros, if most of it is Latin.
MIN_ZEROS = 0.2
# A text in another language than a Western one has more, and would be garbled.
MAX_HIGH = 0.6
MIN_JUDGED_BYTES = 20


@dataclass(frozen=True, slots=True)
class TextBeginning:
    """The beginning of a text; `complete` if it is all of it."""

    text: str
    complete: bool


def mime_type(content: bytes, declared: str | None = None) -> str:
    """
    Return the MIME type of a file.

    `declared` is what its sender says; it decides only between types that the content
    does not tell apart, such as text/csv and text/plain.
    """
    found = signature(content)
    declared = (declared or "").partition(";")[0].strip().lower()[:100]
    family = declared.partition("/")[0]
    if found == ZIP:
        # A document of an office is a ZIP file, too.
        return declared if family == "application" and declared != BINARY else ZIP
    if found is not None:
        is_same_container = {found, declared} <= {"audio/mp4", "video/mp4"}
        return declared if is_same_container else found
    if text_beginning(content, 1000) is not None:
        has_text_type = family == "text" or declared.endswith(("json", "xml", "yaml"))
        return declared if has_text_type else PLAIN_TEXT
    known = family in {"application", "font", "model"}
    return declared if known and not declared.endswith(("json", "xml")) else BINARY


def text_beginning(content: bytes, max_chars: int) -> TextBeginning | None:
    """
    Return the beginning of a text file, None if it is no text.

    The encodings are UTF-8, UTF-16 and UTF-32 with a byte order mark, UTF-8 and UTF-16
    without, and Windows-1252, which has the characters of Latin-1.
    """
    if signature(content) is not None:
        return None
    beginning = content[: max_chars * MAX_BYTES_PER_CHAR]
    whole = len(beginning) == len(content)
    text = _decoded(beginning, whole=whole)
    if text is None or CONTROL.search(text):
        return None
    if "\0" not in text and not _is_wide(beginning) and b"\0" in content:
        # Binary data after a beginning that is like text.
        return None
    return TextBeginning(text[:max_chars], whole and len(text) <= max_chars)


def signature(content: bytes) -> str | None:
    """Return the type of a file that begins with a known signature, else None."""
    header = content[:HEADER_BYTES]
    for offset, signature, type_ in SIGNATURES:
        if header.startswith(signature, offset):
            return type_
    if header[4:8] == b"ftyp":
        brand = header[8:12]
        return "video/3gpp" if brand[:2] == b"3g" else BRANDS.get(brand, "video/mp4")
    if header.startswith(MATROSKA):
        return "video/webm" if b"webm" in header else "video/x-matroska"
    return _frames(header)


def _frames(header: bytes) -> str | None:
    """Return the type of MPEG audio that begins with a frame."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    if layer == 0:
        return "audio/aac" if header[1] & 0xF0 == 0xF0 else None
    bitrate, rate = header[2] >> 4, header[2] >> 2 & 3
    # The mark of UTF-16 is layer I without a bit rate that exists.
    is_frame = version != 1 and layer != 3 and 0 < bitrate < 15 and rate != 3
    return "audio/mpeg" if is_frame else None


def _decoded(content: bytes, *, whole: bool) -> str | None:
    """Decode a beginning, whose last character may be cut; None if it is no text."""
    for mark, encoding in MARKS:
        if content.startswith(mark):
            return _decode(content, encoding, whole=whole)
    if (wide := _wide_encoding(content)) is not None:
        return _decode(content, wide, whole=whole)
    text = _decode(content, "utf-8", whole=whole)
    return _western(content) if text is None else text


def _decode(content: bytes, encoding: str, *, whole: bool) -> str | None:
    try:
        return codecs.getincrementaldecoder(encoding)().decode(content, final=whole)
    except UnicodeDecodeError:
        return None


def _western(content: bytes) -> str | None:
    high = len(content) - len(content.translate(None, bytes(range(128, 256))))
    if len(content) >= MIN_JUDGED_BYTES and high > MAX_HIGH * len(content):
        return None
    try:
        return content.decode("cp1252")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _wide_encoding(content: bytes) -> str | None:
    """Return the encoding of UTF-16 without a mark, by where its zeros are."""
    pairs = len(content) // 2
    even, odd = content[0::2].count(0), content[1::2].count(0)
    if odd > MIN_ZEROS * pairs and even == 0:
        return "utf-16-le"
    if even > MIN_ZEROS * pairs and odd == 0:
        return "utf-16-be"
    return None


def _is_wide(content: bytes) -> bool:
    return _wide_encoding(content) is not None or any(
        content.startswith(mark) for mark, encoding in MARKS if encoding != "utf-8-sig"
    )
