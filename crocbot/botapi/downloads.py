"""
The path of a file at the Bot API, from the answer of getFile.

    {"file_path": "documents/file_1.pdf", "file_size": 12}  -->  documents/file_1.pdf

Telegram has files of at most 20 MB; a server of one's own may have larger ones.  With
`--local` such a server answers with a path of its own disk, which is never opened: the
gateway reads no file because a server names it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from crocbot.errors import DeliveryError, FileTooLargeError

MAX_PATH_CHARS = 500
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\\]")


def file_path(file: Any, max_bytes: int) -> str:
    """Return the path to load.  Raise DeliveryError."""
    path = file.get("file_path") if isinstance(file, Mapping) else None
    if not isinstance(path, str) or not path:
        raise DeliveryError("Telegram has no file to load")
    if path.startswith("/") or path[1:3] in {":/", ":\\"}:
        raise DeliveryError(
            "the Bot API server answers with paths of its own disk: start it without"
            " --local"
        )
    is_odd = UNPRINTABLE.search(path) or ".." in path.split("/")
    if is_odd or len(path) > MAX_PATH_CHARS:
        raise DeliveryError("the Bot API server answered with a path that is none")
    size = file.get("file_size")
    if isinstance(size, int) and size > max_bytes:
        raise FileTooLargeError(f"the file has {size} bytes, more than {max_bytes}")
    return path
