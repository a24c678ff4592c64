"""
Files by path: those that the person sends, and those of answers.

    /file cat.png my cat         --> a photo with a caption
    an answer with a chart.png   --> [photo /tmp/crocbot-chat-x/1-chart.png]
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crocbot import sniff
from crocbot.agents import QuestionFile
from crocbot.chat.pictures import picture_size
from crocbot.content import IMAGE_TYPES
from crocbot.sandbox import Server
from crocbot.sandbox.account import MAX_FILE_BYTES
from crocbot.sandbox.messages import Sent

VOICE, AUDIO = frozenset({"audio/ogg"}), frozenset({"audio/mpeg", "audio/mp4"})
PATH = re.compile(r"""(?:"([^"]+)"|'([^']+)'|((?:\\.|[^\s\\])+))\s*(.*)""", re.S)
KINDS = ("photo", "voice", "audio", "document")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileToSend:
    """A file of the person; `size` is its size also if `content` was not read."""

    name: str
    mime_type: str
    content: bytes = field(repr=False)
    size: int
    caption: str

    def message(self, file_id: str) -> Mapping[str, Any]:
        """Return the content of the message that has it."""
        named = {"file_id": file_id, "file_unique_id": file_id, "file_size": self.size}
        caption = {"caption": self.caption} if self.caption else {}
        if self.mime_type in IMAGE_TYPES:
            width, height = picture_size(self.content)
            size = {"width": width, "height": height}
            return {"photo": [named | size]} | caption
        typed = named | {"mime_type": self.mime_type}
        if self.mime_type in VOICE:
            return {"voice": typed | {"duration": 1}} | caption
        typed |= {"file_name": self.name}
        if self.mime_type in AUDIO:
            return {"audio": typed | {"duration": 1}} | caption
        return {"document": typed} | caption


def read_file(words: str) -> FileToSend:
    """
    Read the file that a line names, with a caption after its path.

    A path with blanks stands in quotation marks, unless it is all of the line.  Raise
    OSError or ValueError.
    """
    path, caption = _path(words)
    if not path.is_file():
        reason = "it is no file" if path.exists() else "there is no such file"
        raise ValueError(f"{path}: {reason}")
    size = path.stat().st_size
    # A larger one is refused by its size, as at Telegram, and need not be read.
    content = path.read_bytes() if size <= MAX_FILE_BYTES else b""
    return FileToSend(
        name=path.name,
        mime_type=sniff.mime_type(content),
        content=content,
        size=size,
        caption=caption,
    )


def _path(words: str) -> tuple[Path, str]:
    whole = Path(words.strip()).expanduser()
    if whole.is_file():
        return whole, ""
    match = PATH.fullmatch(words.strip())
    if match is None:
        raise ValueError("write /file and the path of a file")
    double, single, plain, caption = match.groups()
    path = double or single or re.sub(r"\\(.)", r"\1", plain or "")
    return Path(path).expanduser(), caption


class SavedFiles:
    """The files of answers, in a folder that is made for the first one."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = None if folder is None else folder.absolute()

    def save(self, sent: Sent, server: Server) -> str | None:
        """Save the file of a message; return its kind and path, None without one."""
        kind = next((each for each in KINDS if each in sent), None)
        if kind is None:
            return None
        file = sent[kind][-1] if isinstance(sent[kind], list) else sent[kind]
        content = server.content(file["file_id"])
        saved = QuestionFile(
            kind=kind,
            mime_type=sniff.mime_type(content),
            content=content,
            name=file.get("file_name"),
        )
        try:
            return f"{kind} {saved.save(self._made())}"
        except OSError as error:
            return f"{kind}, not saved: {error.strerror}"

    def _made(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="crocbot-chat-"))
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder
