"""Contents of files that answers may have."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any


def png(width: int = 2, height: int = 1, *, size: int = 0) -> bytes:
    """Return a PNG picture, with so much after its end that it has `size` bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress((b"\0" + bytes(width)) * height))
    picture = b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")
    return picture + bytes(max(0, size - len(picture)))


OPUS = b"OggS" + bytes(22) + b"\x01\x13OpusHead" + bytes(30)
VORBIS = b"OggS" + bytes(22) + b"\x01\x1e\x01vorbis" + bytes(30)
MP3 = b"ID3\x04" + bytes(60)
M4A = struct.pack(">I", 28) + b"ftypM4A " + bytes(40)
HTML = b"<!doctype html><script>alert(1)</script>"
PDF = b"%PDF-1.7\n" + bytes(20)


def as_json(content: bytes, **fields: Any) -> dict[str, Any]:
    """Return a file in an answer of the agent `http`."""
    return {"data": base64.b64encode(content).decode(), **fields}
