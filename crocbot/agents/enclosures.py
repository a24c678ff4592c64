"""
Files and buttons in the JSON of the agent `http`.

    {"text": "Here.",
     "files": [{"name": "a.png", "kind": "picture", "caption": "Sales", "data": "..."},
               {"url": "https://files.example.org/b.pdf"}],
     "buttons": [[{"text": "Yes", "data": "yes"}]]}

An event of a stream may have one `file`.  `data` is base64.  What is wrong with a file
is part of it, so that the rest of the answer is delivered.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any

from crocbot.outgoing import MAX_FILES, AgentButtons, AgentFile, FileKind

KINDS: Mapping[str, FileKind] = {
    "picture": FileKind.PHOTO,
    "photo": FileKind.PHOTO,
    "image": FileKind.PHOTO,
    "voice": FileKind.VOICE,
    "audio": FileKind.AUDIO,
    "document": FileKind.DOCUMENT,
    "file": FileKind.DOCUMENT,
}
DATA_URL = "data:"
# The others are not even counted.
MAX_READ_FILES = MAX_FILES + 10
TO_STANDARD_ALPHABET = str.maketrans("-_", "+/", " \t\r\n")


def enclosures(value: Mapping[str, Any]) -> Iterator[AgentFile | AgentButtons]:
    """Yield the files and the buttons of an object, as they are."""
    for key in ("files", "file"):
        found = value.get(key)
        if isinstance(found, Mapping):
            found = [found]
        if isinstance(found, list):
            yield from map(_file, found[:MAX_READ_FILES])
    if isinstance(value.get("buttons"), list):
        yield AgentButtons(rows=value["buttons"])


def _file(entry: object) -> AgentFile:
    if not isinstance(entry, Mapping):
        return AgentFile(problem="it is no object")

    def text(key: str) -> str:
        found = entry.get(key)
        return found if isinstance(found, str) else ""

    content, problem = None, None
    data, url = entry.get("data"), text("url")
    if isinstance(data, str):
        content = _decoded(data)
        problem = None if content is not None else "its data is not base64"
    elif not url:
        problem = "it has neither data nor url"
    return AgentFile(
        content=content,
        url=url if content is None and url and problem is None else None,
        name=text("name"),
        kind=KINDS.get(text("kind").lower()),
        caption=text("caption"),
        problem=problem,
    )


def _decoded(data: str) -> bytes | None:
    """Return the bytes of base64, of either alphabet; None if it is none."""
    if data.startswith(DATA_URL):
        data = data.partition(",")[2]
    content = _strict(data)
    if content is None:
        # Not at first: each copy of a large file takes memory.
        content = _strict(data.translate(TO_STANDARD_ALPHABET))
    return content


def _strict(data: str) -> bytes | None:
    """Return the bytes of base64 in the standard alphabet; its padding may lack."""
    try:
        return base64.b64decode(data + "=" * (-len(data) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
