"""
The size of a picture that the person sends, as Telegram would name it.

    b"\\x89PNG..." --> (1280, 853)      what cannot be read --> (1, 1)
"""

from __future__ import annotations

import struct

UNKNOWN = (1, 1)
PNG, GIF, JPEG = b"\x89PNG\r\n\x1a\n", b"GIF8", b"\xff\xd8"
# Start of frame, in all its kinds; C4, C8 and CC are other segments.
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
MAX_SEGMENTS = 1000


def picture_size(content: bytes) -> tuple[int, int]:
    """Return width and height of a PNG, GIF, JPEG or lossy WebP."""
    try:
        if content.startswith(PNG):
            return struct.unpack_from(">II", content, 16)
        if content.startswith(GIF):
            return struct.unpack_from("<HH", content, 6)
        if content.startswith(JPEG):
            return _jpeg_size(content)
        if content[12:16] == b"VP8 ":
            width, height = struct.unpack_from("<HH", content, 26)
            return width & 0x3FFF, height & 0x3FFF
    except struct.error:
        pass
    return UNKNOWN


def _jpeg_size(content: bytes) -> tuple[int, int]:
    """Return the size in the first frame; each segment names its length."""
    start = len(JPEG)
    for _ in range(MAX_SEGMENTS):
        marker, length = struct.unpack_from(">xBH", content, start)
        if marker in FRAMES:
            height, width = struct.unpack_from(">HH", content, start + 5)
            return width, height
        start += 2 + length
    return UNKNOWN
