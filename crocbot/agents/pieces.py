"""
The pieces of an answer of the agent `python`: a part of the public API.

    yield "Sales of May:"
    yield AnswerFile(path="may.png", kind="picture", caption="in **EUR**")
    yield Buttons([[Button("June", data="june"), Button("Shop", url="https://...")]])
    yield Usage(input_tokens=9, output_tokens=2)

`read_piece` turns them into what every agent yields.  What is wrong with a file is a
part of it, so that the rest of the answer is delivered.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from crocbot.agents.enclosures import KINDS
from crocbot.agents.responses import token_usage
from crocbot.errors import AgentError
from crocbot.model import Usage
from crocbot.outgoing import AgentButtons, AgentFile
from crocbot.text import replace_lone_surrogates
from crocbot.turn_outcomes import AgentErrorReason

OPEN_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerFile:
    """
    A file of an answer: its `content`, the `path` of a file, or a `url`.

    A `url` is fetched only if CROCBOT_FETCH_HOSTS has its host.  Without `kind` the
    content decides how the file is shown.  `caption` is Markdown.
    """

    content: bytes | None = field(default=None, repr=False)
    path: str | os.PathLike[str] | None = None
    url: str | None = None
    name: str = ""
    kind: Literal["picture", "voice", "audio", "document"] | None = None
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Button:
    """
    A button below an answer; it has either `data` or a `url`.

    Pressing it asks the function again with `data` as the message, or opens `url`.
    """

    text: str
    data: str | None = field(default=None, kw_only=True)
    url: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class Buttons:
    """Rows of buttons below an answer; the last ones of an answer count."""

    rows: Sequence[Sequence[Button]]


Piece = str | AnswerFile | Buttons | Usage
"""A part of an answer.  An empty text shows that the function is at work."""

Part = str | Usage | AgentFile | AgentButtons


async def read_piece(piece: object, max_file_bytes: int) -> Part:
    """Return what every agent yields for a piece.  Raise AgentError for other types."""
    match piece:
        case str():
            return replace_lone_surrogates(str.__str__(piece))
        case AnswerFile():
            return await _file(piece, max_file_bytes)
        case Buttons():
            return AgentButtons(rows=_rows(piece.rows))
        case Usage():
            return token_usage(asdict(piece))[0]
    raise AgentError(
        f"the function gave {type(piece).__name__[:80]!r} as a part of its answer;"
        " a part is str, AnswerFile, Buttons or Usage",
        AgentErrorReason.MALFORMED,
    )


def _rows(rows: object) -> object:
    """Return rows of buttons as JSON; what is no button is refused when it is read."""
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        return rows
    return [
        [_button(each) for each in row]
        if isinstance(row, Sequence) and not isinstance(row, str)
        else row
        for row in rows
    ]


def _button(button: object) -> object:
    if not isinstance(button, Button):
        return button
    fields = {"text": button.text, "data": button.data, "url": button.url}
    return {name: value for name, value in fields.items() if value is not None}


async def _file(file: AnswerFile, max_bytes: int) -> AgentFile:
    content, problem = file.content, None
    too_large = False
    name = _text(file.name)
    if isinstance(content, bytearray | memoryview):
        content = bytes(content)
    if content is not None and not isinstance(content, bytes):
        content, problem = None, f"its content is {type(content).__name__}, not bytes"
    elif content is None and file.path is not None:
        try:
            path = os.fsdecode(file.path)
        except TypeError:
            problem = f"its path is {type(file.path).__name__}, not str"
        else:
            name = name or os.path.basename(path)  # noqa: PTH119 (a text)
            found = await asyncio.to_thread(_read, Path(path), max_bytes)
            content, problem, too_large = found
    elif content is None and not _text(file.url):
        problem = "it has no content, path or url"
    return AgentFile(
        content=content,
        url=_text(file.url) if content is None and problem is None else None,
        name=replace_lone_surrogates(name),
        kind=KINDS.get(_text(file.kind).lower()),
        caption=replace_lone_surrogates(_text(file.caption)),
        problem=problem,
        too_large=too_large,
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _read(path: Path, max_bytes: int) -> tuple[bytes | None, str | None, bool]:
    """Return content, problem, and whether the file is too large."""
    try:
        descriptor = os.open(path, OPEN_FLAGS)
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            os.close(descriptor)
            return None, "it is not a regular file", False
        with os.fdopen(descriptor, "rb") as file:
            content = file.read(max_bytes + 1) if found.st_size <= max_bytes else None
    except (OSError, ValueError) as error:
        return None, getattr(error, "strerror", None) or str(error), False
    if content is None or len(content) > max_bytes:
        return None, f"it has more than {max_bytes} bytes", True
    return content, None, False
