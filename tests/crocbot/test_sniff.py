"""The type of a file by its content."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot.sniff import BINARY, TextBeginning, mime_type, text_beginning

OFFICE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
WORDS = "Grüße, schöne Wörter."


@pytest.mark.parametrize(
    ("content", "declared", "found"),
    [
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "text/plain", "image/jpeg"),
        (PNG, "image/jpeg", "image/png"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", None, "image/webp"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "audio/x-wav", "audio/wav"),
        (b"OggS\0\x02" + b"\0" * 22 + b"OpusHead", "audio/ogg", "audio/ogg"),
        (b"ID3\x04\0\0", None, "audio/mpeg"),
        (b"\xff\xfb\x90\x44" + b"\0" * 30, None, "audio/mpeg"),
        (b"\xff\xf1\x50\x80" + b"\0" * 30, None, "audio/aac"),
        (b"\0\0\0\x20ftypisom\0\0\2\0", "video/mp4", "video/mp4"),
        (b"\0\0\0\x20ftypM4A \0\0\2\0", "audio/mp4", "audio/mp4"),
        (b"\0\0\0\x20ftypisom\0\0\2\0", "audio/mp4", "audio/mp4"),
        (b"\x1a\x45\xdf\xa3\x9fB\x86\x81\1webm", None, "video/webm"),
        (b"%PDF-1.7\n", "text/plain", "application/pdf"),
        (b"PK\x03\x04\x14\0", OFFICE, OFFICE),
        (b"PK\x03\x04\x14\0", "text/plain", "application/zip"),
        (b"\x7fELF\2\1\1", "text/html", "application/x-executable"),
        (b"a,b\n1,2\n", "text/csv; charset=utf-8", "text/csv"),
        (b'{"a": 1}', "application/json", "application/json"),
        (b"hello", "image/png", "text/plain"),
        (b"hello", None, "text/plain"),
        (b"\0\1\2\3", "text/plain", BINARY),
        (b"\0\1\2\3", "image/png", BINARY),
        (b"\0\1\2\3", "application/x-own", "application/x-own"),
        (b"", None, "text/plain"),
    ],
)
def test_types(content: bytes, declared: str | None, found: str) -> None:
    """The content decides, the sender only where the content does not."""
    assert mime_type(content, declared) == found


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"],
)
def test_encodings(encoding: str) -> None:
    """A text is read in each encoding that editors write."""
    assert text_beginning(WORDS.encode(encoding), 100) == TextBeginning(WORDS, True)


@pytest.mark.parametrize("text", ["été", "Grüße", "ÄÖÜ"])
def test_short_western_texts(text: str) -> None:
    """A short text in Latin-1 may have few ASCII letters."""
    assert text_beginning(text.encode("latin-1"), 100) == TextBeginning(text, True)


def test_the_beginning_of_a_long_text() -> None:
    """A character that the bound cuts is left out, and the rest is not read."""
    text = "é" * 1000
    assert text_beginning(text.encode(), 10) == TextBeginning("é" * 10, False)
    assert text_beginning(text.encode("utf-16"), 10) == TextBeginning("é" * 10, False)


@pytest.mark.parametrize(
    "content",
    [
        PNG,
        b"hello \1",
        "Привет, мир! Как дела?".encode("cp1251"),
        b"x" * 1000 + b"\0\1\2",
        b"\xff\xfe\0",
        bytes(range(256)),
    ],
)
def test_no_text(content: bytes) -> None:
    """Binary data is no text, nor is text in an encoding that would be garbled."""
    assert text_beginning(content, 100) is None


@given(st.binary(max_size=300), st.text(max_size=40))
def test_any_content(content: bytes, declared: str) -> None:
    """Any content has a type and perhaps a text, and raises nothing."""
    assert mime_type(content, declared)
    beginning = text_beginning(content, 20)
    assert beginning is None or len(beginning.text) <= 20


@given(st.text(st.characters(min_codepoint=32, exclude_categories=["C"]), max_size=60))
def test_any_text(text: str) -> None:
    """A text in UTF-8 is read as it is, unless it looks like another kind of file."""
    beginning = text_beginning(text.encode(), 100)
    assert beginning is None or beginning.text == text
