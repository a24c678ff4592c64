"""
Requests for chat completions that the server accepts.

    Request(prompt, ...) --> {"model": ..., "messages": [...], "stream": true, ...}
        ^                                     |
        '--- without the refused part <--- ServerError

The first request has everything.  If the server refuses a part of it, the next request
is sent without that part; if it is answered, `Dialect` does so in all later requests.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from re import Pattern
from typing import Any

from crocbot import log
from crocbot.agents.responses import chat_messages
from crocbot.agents.server_errors import MAX_SHOWN_CHARS, ServerError, shortened
from crocbot.agents.server_words import any_of
from crocbot.model import Prompt
from crocbot.turn_outcomes import AgentErrorReason

# What a server that requires a limit gets; CROCBOT_MODEL_EXTRA can set another one.
REQUIRED_MAX_TOKENS = 4096
# After this number of images in a row that were refused for no clear reason, none is
# sent any more.
MAX_IMAGE_REFUSALS = 3

logger = log.logger(__name__)


class Change(StrEnum):
    """A change of the request that a server requires."""

    NO_USAGE = "without stream_options"
    NO_STREAM = "without streaming"
    NO_SYSTEM_ROLE = "without the role system"
    NO_IMAGES = "without images"
    MAX_TOKENS = "with max_tokens"


# A part that is refused, in the words about it.
DENIED = (
    r"(?:(?:not|n't) (?:yet )?(?:support|enabled|allow|permitted|available|implemented"
    r"|accept|handle|process|understand|take|have|a )|unsupported|disabled|cannot|can't"
    r"|disallowed|forbidden|rejected)"
)
NOT_SUPPORTED = (
    rf"(?:{DENIED}|unknown|unrecogni[sz]ed|invalid|must be|should be|only|no )"
)
IMAGES = r"images?|image_url|pictures?|photos?|vision|visual|multi-?modal"
REFUSALS: Mapping[Change, Pattern[str]] = {
    Change.NO_USAGE: any_of("stream_options", "include_usage"),
    Change.NO_STREAM: any_of(
        r"\bstream(?:ing|ed)?\b.{0,60}" + NOT_SUPPORTED,
        NOT_SUPPORTED + r".{0,40}\bstream(?:ing|ed)?\b",
        r"to stream this model|\bstream\W{0,4}(?:to )?\W{0,2}false",
        r"body\.stream\b|\bnot stream\b",
    ),
    Change.NO_SYSTEM_ROLE: any_of(
        r"\bsystem(?![a-z]).{0,60}" + DENIED,
        DENIED + r".{0,40}\bsystem(?![a-z])",
        r"(?:unexpected|unknown|invalid|unsupported) role",
        r"(?:must|should) be .?(?:user|assistant)\b",
        r"developer instruction is not enabled",
        r"only .?user.? and .?assistant|roles? must alternate",
    ),
    Change.NO_IMAGES: any_of(
        rf"\b(?:{IMAGES}|mmproj)\b.{{0,60}}(?:{DENIED}|only supported by)",
        rf"(?:{DENIED}|no endpoints|unknown variant|at most 0|only .{{0,20}}text"
        rf"|no support for)\b.{{0,80}}\b(?:{IMAGES})",
        r"at most 0 image",
        r"missing .{0,30}image|取值范围",
        r"content\b.{0,60}(?:must|should) be (?:a )?(?:valid )?string",
        r"(?:valid|expected a?) ?string.{0,80}\bcontent",
        r"expected `?text`?|input should be 'text'",
        r"only text (?:content|input|is)|text[- ]only",
        r"unsupported content part type",
    ),
    Change.MAX_TOKENS: any_of(
        r"max_tokens\b.{0,40}(?:required|missing|must be (?:set|provided|specified))",
        r"(?:required|missing)\b.{0,60}\bmax_tokens",
    ),
}
"""Words of a refusal, by the change that it requires."""

# Of a server that does not take a request as it is.
ADAPTABLE_STATUSES = frozenset({400, 404, 405, 406, 413, 415, 422, 500, 501})

# A file that is broken or too large says nothing about the model.
BAD_IMAGE = any_of(
    r"invalid image",
    r"(?:could not|cannot|failed to|unable to) (?:process|decode|load|read)",
    r"image .{0,40}(?:too large|exceeds|corrupt|format)|valid image|unsupported image",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """
    One request: the prompt, and the changes that the server requires.

    `passing` changes are about this prompt only.
    """

    model: str
    system_prompt: str | None
    prompt: Prompt
    extra: Mapping[str, Any]
    changes: frozenset[Change] = frozenset()
    passing: frozenset[Change] = frozenset()

    def body(self) -> dict[str, Any]:
        """Return the JSON object; a field of `extra` that is null is left out."""
        body: dict[str, Any] = {
            "model": self.model,
            "messages": list(self._messages()),
            "stream": True,
        }
        if Change.NO_STREAM in self.changes:
            del body["stream"]
        elif Change.NO_USAGE not in self.changes:
            body["stream_options"] = {"include_usage": True}
        if Change.MAX_TOKENS in self.changes:
            body["max_tokens"] = REQUIRED_MAX_TOKENS
        body |= self.extra
        if not body.get("stream"):
            body.pop("stream_options", None)
        return {key: value for key, value in body.items() if value is not None}

    def applies(self, change: Change) -> bool:
        """Return whether a change would make another request of this one."""
        if change in self.changes:
            return False
        body = self.body()
        match change:
            case Change.NO_USAGE:
                return "stream_options" in body and "stream_options" not in self.extra
            case Change.NO_STREAM:
                return "stream" in body and "stream" not in self.extra
            case Change.NO_SYSTEM_ROLE:
                return bool(self.system_prompt)
            case Change.NO_IMAGES:
                return bool(self.prompt.images)
            case Change.MAX_TOKENS:
                return "max_tokens" not in body

    def changed(self, change: Change, *, passing: bool) -> Request:
        """Return the request with one change more."""
        return replace(
            self,
            changes=self.changes | {change},
            passing=self.passing | ({change} if passing else frozenset()),
        )

    def _messages(self) -> Iterable[dict[str, Any]]:
        system, merged = self.system_prompt, ""
        if system and Change.NO_SYSTEM_ROLE in self.changes:
            system, merged = None, f"{system}\n\n"
        if system:
            yield {"role": "system", "content": system}
        for message in chat_messages(self.prompt):
            yield message | {"content": merged + message["content"]}
            merged = ""
        yield {"role": "user", "content": self._content(merged)}

    def _content(self, before: str) -> str | list[dict[str, Any]]:
        """Return a list only for images, because not every server accepts lists."""
        text = before + self.prompt.with_context
        if not self.prompt.images or Change.NO_IMAGES in self.changes:
            return text
        urls = [
            f"data:{image.mime_type};base64,{base64.b64encode(image.content).decode()}"
            for image in self.prompt.images
        ]
        return [
            {"type": "text", "text": text},
            *({"type": "image_url", "image_url": {"url": url}} for url in urls),
        ]


@dataclass(slots=True, kw_only=True)
class Dialect:
    """
    The changes that one model of one server requires, learned since the start.

    `extra` are further fields of every request.
    """

    model: str
    system_prompt: str | None
    extra: Mapping[str, Any] = field(default_factory=dict)
    _changes: frozenset[Change] = frozenset()
    _accepts_usage: bool = False
    _image_refusals: int = 0

    def request(self, prompt: Prompt) -> Request:
        """Return the request for a prompt, as the server is known to take it."""
        return Request(
            model=self.model,
            system_prompt=self.system_prompt,
            prompt=prompt,
            extra=self.extra,
            changes=self._changes,
        )

    def adapt(self, request: Request, error: ServerError) -> Request | None:
        """Return the request that replaces a refused one, None if there is none."""
        if error.effective_status not in ADAPTABLE_STATUSES:
            return None
        named = [
            change
            for change, words in REFUSALS.items()
            if words.search(error.words) and request.applies(change)
        ]
        change = named[0] if named else self._guess(request, error)
        if change is None:
            return None
        logger.warning(
            "the model's server refuses a part of the request, asking again",
            change=change.value,
            status=error.status,
            answer=shortened(error.words, MAX_SHOWN_CHARS),
        )
        # One image that cannot be read says nothing about the model.
        unclear = not named or BAD_IMAGE.search(error.words) is not None
        passing = change is Change.NO_IMAGES and unclear
        return request.changed(change, passing=passing)

    def accept(self, request: Request) -> None:
        """Remember that the server has answered a request."""
        if Change.NO_USAGE not in request.changes:
            self._accepts_usage = True
        self._changes |= request.changes - request.passing
        if Change.NO_IMAGES in request.passing:
            self._image_refusals += 1
            if self._image_refusals >= MAX_IMAGE_REFUSALS:
                self._changes |= {Change.NO_IMAGES}
        elif request.prompt.images:
            self._image_refusals = 0

    def names_extra(self, error: ServerError) -> bool:
        """Return whether an error names a field of CROCBOT_MODEL_EXTRA."""
        return any(
            re.search(rf"(?<!\w){re.escape(key)}(?!\w)", error.words)
            for key in self.extra
        )

    def _guess(self, request: Request, error: ServerError) -> Change | None:
        """
        Return what may have been refused, if the words do not say it.

        Images first: they are most of a request's size, too.
        """
        unclear = error.meaning in {None, AgentErrorReason.FAILED}
        if not unclear and error.effective_status != 413:
            return None
        if request.applies(Change.NO_IMAGES):
            return Change.NO_IMAGES
        refused = error.reason is AgentErrorReason.REFUSED
        if refused and not self._accepts_usage and request.applies(Change.NO_USAGE):
            return Change.NO_USAGE
        return None
