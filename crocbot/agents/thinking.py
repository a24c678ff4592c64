"""
Remove the thinking of a model from its answers.

    "<think>Hm, a greeting.</think>Hello."  -->  "Hello."
    "Hm, a greeting.</think>Hello."         -->  "Hello."

In the second answer the model's template has opened the tag.

Tags may be split between parts of an answer.  A tag in code or in quotation marks is
text, so that an answer about these tags stays whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from crocbot.model import RETRACTED, AnswerText


def _with_blanks(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags, also with the blanks that some models put before the ">"."""
    return {
        f"{tag[:-1]}{blank}>" if tag.endswith(">") else tag: end
        for tag, end in tags.items()
        for blank in ("", *BLANKS)
    }


BLANKS = (" ", "\n", " \n")
# Opening tags and the ends of their blocks: DeepSeek, Qwen, Seed, Magistral, Kimi.
TAGS = _with_blanks(
    {
        "<think>": "</think>",
        "<thinking>": "</thinking>",
        "<seed:think>": "</seed:think>",
        "[think]": "[/think]",
        "◁think▷": "◁/think▷",
    }
)
# Words that other text may contain are tags only where an answer begins.
FIRST_TAGS = {
    **_with_blanks(
        {
            "<thought>": "</thought>",
            "<thoughts>": "</thoughts>",
            "<reasoning>": "</reasoning>",
            "<analysis>": "</analysis>",
            "<reflection>": "</reflection>",
        }
    ),
    "<|begin_of_thought|>": "<|end_of_thought|>",
    # gpt-oss, Cohere, Gemma and MedGemma without a parser.
    "<|channel|>analysis<|message|>": "<|channel|>final<|message|>",
    "<|start_thinking|>": "<|end_thinking|>",
    "<|channel>thought": "<channel|>",
    "<unused94>": "<unused95>",
    **TAGS,
}
END_TAGS = tuple(dict.fromkeys(TAGS.values()))
ALL_TAGS = tuple(dict.fromkeys((*FIRST_TAGS, *FIRST_TAGS.values())))
MAX_TAG_CHARS = max(map(len, ALL_TAGS))
TAG_STARTS = frozenset(tag[0] for tag in ALL_TAGS)
# More than the longest answer, so that nothing of one is lost.
MAX_KEPT_CHARS = 100_000
ANY_TAG = re.compile("|".join(map(re.escape, (*TAGS, *END_TAGS))), re.IGNORECASE)
FENCES = ("```", "~~~")
QUOTES = "\"'“„«"
LINE_START_CHARS = 8


@dataclass(slots=True, kw_only=True)
class _Code:
    """Whether the end of a text is inside code, or behind a quotation mark."""

    _fenced: bool = False
    _line_start: str = ""
    _backticks: int = 0
    _last: str = ""

    @property
    def is_quoted(self) -> bool:
        """Return whether what comes next is a quotation."""
        return self._fenced or self._backticks % 2 == 1 or self._last in set(QUOTES)

    def feed(self, text: str) -> None:
        """Append text."""
        first, *further = text.split("\n")
        self._append(first)
        for line in further:
            if self._line_start.lstrip().startswith(FENCES):
                self._fenced = not self._fenced
            self._line_start, self._backticks = "", 0
            self._append(line)
        self._last = text[-1:] or self._last

    def _append(self, part: str) -> None:
        missing = LINE_START_CHARS - len(self._line_start)
        self._line_start += part[:missing]
        self._backticks += part.count("`")


@dataclass(slots=True)
class ThinkingTags:
    """
    How a model marks its thinking, learned from its answers since the start.

    `opened_by_template` means that answers begin inside a block, without its tag: the
    next one is kept back until the block ends, because nothing of it may be shown.
    """

    opened_by_template: bool = False

    def filter(self) -> ThinkingFilter:
        """Return a filter for one answer."""
        return ThinkingFilter(tags=self)


class _State(Enum):
    """Where in an answer the next text is."""

    START = auto()
    BLOCK = auto()
    ASSUMED_BLOCK = auto()
    TEXT = auto()
    LATER_BLOCK = auto()


@dataclass(slots=True, kw_only=True)
class ThinkingFilter:
    """
    One answer, part by part.

    A block at the start is dropped even if it never ends.  A later one is kept back
    until it ends, and is text if the answer ends before it.
    """

    tags: ThinkingTags
    _state: _State = _State.START
    _rest: str = ""
    _end_tags: tuple[str, ...] = ()
    _kept: list[str] = field(default_factory=list)
    _kept_chars: int = 0
    _had_block: bool = False
    _shown: bool = False
    _code: _Code = field(default_factory=_Code)

    def feed(self, text: str) -> list[AnswerText]:
        """Return what can be shown now: texts, and RETRACTED if earlier ones cannot."""
        self._rest += text
        shown: list[AnswerText] = []
        while (step := self._step()) is not None:
            shown += step
        return shown

    def finish(self, *, complete: bool) -> str:
        """Return the text that was kept back; the answer has ended, or broke off."""
        kept, rest = "".join(self._kept), self._rest
        match self._state:
            case _State.START | _State.TEXT:
                return rest
            case _State.ASSUMED_BLOCK if complete:
                self.tags.opened_by_template = False
                return kept + rest
            case _State.LATER_BLOCK if complete:
                return kept + rest
            case _:
                return ""

    def _step(self) -> list[AnswerText] | None:
        """Take one step; return what it shows, None if more text is needed."""
        match self._state:
            case _State.START:
                return self._begin()
            case _State.TEXT:
                return self._show_text()
            case _:
                return self._skip_block()

    def _begin(self) -> list[AnswerText] | None:
        self._rest = self._rest.lstrip()
        start = self._rest[:MAX_TAG_CHARS].lower()
        for tag, end in FIRST_TAGS.items():
            if start.startswith(tag):
                self._enter(_State.BLOCK, (end,), len(tag))
                return []
        for end in END_TAGS:
            if start.startswith(end):
                return self._leave(len(end))
        if not start or any(tag.startswith(start) for tag in ALL_TAGS):
            return None
        if self.tags.opened_by_template and not self._had_block:
            self._enter(_State.ASSUMED_BLOCK, END_TAGS, 0)
        else:
            self._state = _State.TEXT
        return []

    def _enter(self, state: _State, end_tags: tuple[str, ...], chars: int) -> None:
        """Enter a block; `chars` of the rest are its tag."""
        self._state, self._end_tags = state, end_tags
        self._kept.clear()
        self._kept_chars = 0
        self._keep(chars)

    def _leave(self, chars: int) -> list[AnswerText]:
        """Leave a block, the end of which are `chars` of the rest."""
        later = self._state is _State.LATER_BLOCK
        if not (self._had_block or self._state is _State.BLOCK or later):
            self.tags.opened_by_template = True
        self._rest = self._rest[chars:]
        self._kept.clear()
        self._state = _State.TEXT if later else _State.START
        self._had_block = True
        retracted = self._shown and not later
        if retracted:
            self._shown, self._code = False, _Code()
        return [RETRACTED] if retracted else []

    def _keep(self, chars: int) -> None:
        """Move characters of the rest to what is kept back."""
        if self._state is not _State.BLOCK and self._kept_chars < MAX_KEPT_CHARS:
            self._kept.append(self._rest[:chars])
            self._kept_chars += chars
        self._rest = self._rest[chars:]

    def _skip_block(self) -> list[AnswerText] | None:
        lower = self._rest.lower()
        found = [(lower.find(tag), tag) for tag in self._end_tags if tag in lower]
        if found:
            index, tag = min(found)
            return self._leave(index + len(tag))
        self._keep(max(0, len(self._rest) - MAX_TAG_CHARS))
        return None

    def _show_text(self) -> list[AnswerText] | None:
        tag = ANY_TAG.search(self._rest)
        if tag is None:
            shown = len(self._rest) - _held_back(self._rest)
            return [self._show(shown)] if shown else None
        before = self._show(tag.start()) if tag.start() else ""
        parts: list[AnswerText] = [before] if before else []
        name = tag.group().lower()
        if self._code.is_quoted or (name not in TAGS and self._had_block):
            return [*parts, self._show(len(name))]
        if name in TAGS:
            self._enter(_State.LATER_BLOCK, (TAGS[name],), len(name))
            return parts
        return [*parts, *self._leave(len(name))]

    def _show(self, chars: int) -> str:
        text, self._rest = self._rest[:chars], self._rest[chars:]
        self._code.feed(text)
        self._shown = True
        return text


def _held_back(text: str) -> int:
    """Return how many characters at the end may be the beginning of a tag."""
    end = text[1 - MAX_TAG_CHARS :].lower()
    return next(
        (
            len(end) - index
            for index in range(len(end))
            if end[index] in TAG_STARTS
            and any(tag.startswith(end[index:]) for tag in ALL_TAGS)
        ),
        0,
    )
