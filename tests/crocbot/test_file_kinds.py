"""The content of a file decides how it is sent, and its name is safe to show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot import sniff
from crocbot.file_kinds import MAX_NAME_BYTES, UNSAFE, kind_of, shown_name
from crocbot.outgoing import MAX_PHOTO_BYTES, FileKind
from tests.crocbot.answer_files import HTML, M4A, MP3, OPUS, PDF, VORBIS, png

PHOTO, VOICE = FileKind.PHOTO, FileKind.VOICE
AUDIO, DOCUMENT = FileKind.AUDIO, FileKind.DOCUMENT
WEBP = b"RIFF\x00\x00\x00\x00WEBPVP8 " + bytes(40)


@pytest.mark.parametrize(
    ("content", "wanted", "kind"),
    [
        (png(), None, PHOTO),
        (png(), PHOTO, PHOTO),
        (png(), DOCUMENT, DOCUMENT),
        (png(), VOICE, DOCUMENT),
        (png(), AUDIO, DOCUMENT),
        (WEBP, None, PHOTO),
        (b"\xff\xd8\xff\xe0" + bytes(60), PHOTO, PHOTO),
        (b"GIF89a" + bytes(60), PHOTO, DOCUMENT),
        (png(size=MAX_PHOTO_BYTES), PHOTO, PHOTO),
        (png(size=MAX_PHOTO_BYTES + 1), PHOTO, DOCUMENT),
        (HTML, PHOTO, DOCUMENT),
        (HTML, VOICE, DOCUMENT),
        (HTML, None, DOCUMENT),
        (OPUS, None, VOICE),
        (OPUS, VOICE, VOICE),
        (OPUS, AUDIO, VOICE),
        (OPUS, DOCUMENT, DOCUMENT),
        (VORBIS, VOICE, DOCUMENT),
        (VORBIS, None, DOCUMENT),
        (MP3, None, AUDIO),
        (MP3, VOICE, VOICE),
        (M4A, VOICE, VOICE),
        (M4A, AUDIO, AUDIO),
        (MP3, PHOTO, DOCUMENT),
        (PDF, PHOTO, DOCUMENT),
        (b"OggS", VOICE, DOCUMENT),
        (b"\0", None, DOCUMENT),
    ],
)
def test_kinds(content: bytes, wanted: FileKind | None, kind: FileKind) -> None:
    """What the agent wants is only done if the content is that."""
    assert kind_of(content, sniff.mime_type(content), wanted) is kind


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a.png", "a.png"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\autoexec.bat", "autoexec.bat"),
        ("/", "file.png"),
        ("..", "file.png"),
        ("", "file.png"),
        ("  . ", "file.png"),
        ("a\r\nb\0c.png", "abc.png"),
        ("gnp.\u202eexe", "gnp.exe"),
        ('a"b<c>.png', "abc.png"),
        ("\ud800.png", "png"),
        ("größe 🐊.png", "größe 🐊.png"),
        ("x" * 300 + ".png", "x" * (MAX_NAME_BYTES - 4) + ".png"),
        ("🐊" * 100, "🐊" * (MAX_NAME_BYTES // 4)),
    ],
)
def test_names(name: str, shown: str) -> None:
    """A name has no folder, no control characters and not too many bytes."""
    assert shown_name(name, "image/png") == shown


@given(name=st.text())
def test_any_name(name: str) -> None:
    """Whatever the name was, it can be shown and sent."""
    shown = shown_name(name, "text/plain")

    assert 0 < len(shown.encode()) <= MAX_NAME_BYTES
    assert not UNSAFE.search(shown)
    assert not set(shown) & {"/", "\\", "\n"}
    assert not shown.startswith((".", " "))


@given(content=st.binary(max_size=100), wanted=st.sampled_from([None, *FileKind]))
def test_any_content(content: bytes, wanted: FileKind | None) -> None:
    """Whatever the content is, it has a kind; no kind is one of another family."""
    kind = kind_of(content, sniff.mime_type(content), wanted)

    assert kind in {DOCUMENT, wanted} or wanted in {None, AUDIO}
