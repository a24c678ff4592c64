"""
The errors of agents' servers: status and words to an AgentError.

    429 {"error": {"code": "insufficient_quota", ...}}  -->  OPERATOR
    400 {"detail": [{"loc": ["body", "stop"], ...}]}    -->  REFUSED
    200 {"error": "no models loaded"}                   -->  OPERATOR

Each server has its own words.  If no row of `MEANINGS` matches them, the status
decides.  The words are messages and codes, never the request that some servers quote.
The text of the AgentError, which is logged, has at most `MAX_SHOWN_CHARS` of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from crocbot.agents.pauses import retry_after, retry_in, until_reset
from crocbot.agents.server_words import (
    INVALID_REQUEST,
    MEANINGS,
    MONEY,
    QUOTA,
    REQUEST_TOO_LARGE,
    RETRY_LATER,
    TEMPORARY,
)
from crocbot.errors import AgentError
from crocbot.turn_outcomes import AgentErrorReason as Reason

MAX_SHOWN_CHARS = 400
MAX_WORDS_CHARS = 4_000
MAX_READ_BYTES = 65_536
MAX_DEPTH = 8
MAX_PARTS = 20
# The values that are words, under these keys; others may quote the request.
MESSAGE_KEYS = (
    *("message", "msg", "detail", "error", "errors", "description", "title"),
    *("error_msg", "error_message", "errorMessage", "status_msg", "exception"),
)
NESTED_KEYS = ("metadata", "raw", "innererror", "details", "inner_error", "base_resp")
CODE_KEYS = ("type", "code", "status", "reason", "param", "loc", "error_code")
STATUS_KEYS = ("code", "status", "status_code", "statusCode", "error_code")
# An object with one of these is an error, whatever else it has.
ERROR_KEYS = ("error", "Error", "errors", "err", "exception", "fault")
KIND_KEYS = ("type", "event", "object")
# An object with one of these is an answer, unless one of the above marks an error.
ANSWER_KEYS = ("reply", "text", "answer", "choices")
# Of an object without an answer: texts about a failure, and names of a result.
FAILURE_KEYS = ("error_message", "errorMessage", "errorType", "traceback", "failed")
LEVEL_KEYS = ("level", "severity", "status", "state", "result")
WORD = re.compile("[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
ERROR_WORDS = frozenset(
    ("error", "errors", "exception", "failure", "failed", "fatal", "fault")
)
FAILURE_CODE = re.compile("-[0-9]{1,9}|[45][0-9]{2,4}")
NOT_ZERO = re.compile("-?0*[1-9][0-9]{0,9}")
TITLE = re.compile(r"<title[^>]*>([^<]*)", re.IGNORECASE)
# A text, or a list of texts, under one of the keys, in JSON whose end is missing.
MEMBER = re.compile(
    rf'"(?:{"|".join((*MESSAGE_KEYS, *CODE_KEYS))})"\s*:\s*'
    r'("(?:[^"\\]|\\.){1,500}"|\[[^\[\]{}]{1,500}\])'
)
BOUNDARY = re.compile(r"[\s\",]")

STATUS_REASONS: Mapping[int, Reason] = {
    401: Reason.UNAUTHORIZED,
    402: Reason.OPERATOR,
    403: Reason.UNAUTHORIZED,
    404: Reason.OPERATOR,
    405: Reason.OPERATOR,
    408: Reason.FAILED,
    409: Reason.FAILED,
    410: Reason.OPERATOR,
    413: Reason.CONTEXT_LENGTH,
    425: Reason.FAILED,
    429: Reason.RATE_LIMITED,
    501: Reason.OPERATOR,
}
ACCOUNT_STATUSES = frozenset({401, 402, 403, 429})
RETRIED = frozenset({Reason.RATE_LIMITED, Reason.FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerError:
    """
    An error of a server: its words, and how many seconds it asks to wait.

    `status` is the HTTP status, or 200 if the error is in an answer that began well.
    `code` is the status that the error itself names, None if it names none.
    """

    status: int
    words: str
    code: int | None = None
    wait: float | None = None

    @property
    def meaning(self) -> Reason | None:
        """Return what the words mean, None if nothing is known about them."""
        words = self.words
        if "insufficient_quota" in words:
            return Reason.OPERATOR
        if QUOTA.search(words):
            later = RETRY_LATER.search(words)
            return Reason.RATE_LIMITED if later else Reason.OPERATOR
        found = (reason for pattern, reason in MEANINGS if pattern.search(words))
        return next(found, None)

    @property
    def reason(self) -> Reason:
        """Return what the error means: its words decide, then its status."""
        meaning = self.meaning
        if meaning is None or self._is_about_something_else(meaning):
            return status_reason(self.effective_status)
        return meaning

    def _is_about_something_else(self, meaning: Reason) -> bool:
        """Return whether the status contradicts the words."""
        if meaning is Reason.CONTEXT_LENGTH and self.status in ACCOUNT_STATUSES:
            # A limit of the account.
            return REQUEST_TOO_LARGE.search(self.words) is None
        if meaning is Reason.OPERATOR and self._is_temporary:
            return True
        # A server that fails itself says why the one behind it failed.
        is_vague = meaning in {Reason.UNAUTHORIZED, Reason.RATE_LIMITED}
        return is_vague and self.status >= 500

    @property
    def _is_temporary(self) -> bool:
        """Return whether a busy server names a model that comes back by itself."""
        words, status = self.words, self.effective_status
        is_account = "insufficient_quota" in words or any(
            pattern.search(words) for pattern in (QUOTA, MONEY)
        )
        is_busy = status == 429 or status >= 500
        return is_busy and not is_account and TEMPORARY.search(words) is not None

    def agent_error(self, server: str) -> AgentError:
        """Return the exception, whose text has the status and the words."""
        event = "sent an error" if self.status == 200 else f"answered {self.status}"
        words = shortened(self.words, MAX_SHOWN_CHARS) or "no words"
        return AgentError(
            f"{server} {event}: {words}",
            self.reason,
            retry=self.reason in RETRIED,
            wait=self.wait,
        )

    @property
    def effective_status(self) -> int:
        """Return the HTTP status, or the one that an error in an answer stands for."""
        if self.status != 200:
            return self.status
        if self.code is not None:
            return self.code
        return 400 if INVALID_REQUEST.search(self.words) else 500


def status_reason(status: int) -> Reason:
    """Return what an HTTP status other than 200 means; a redirect is a wrong URL."""
    if status in STATUS_REASONS:
        return STATUS_REASONS[status]
    if 300 <= status < 400:
        return Reason.OPERATOR
    return Reason.REFUSED if 400 <= status < 500 else Reason.FAILED


def read_error(status: int, body: object, headers: Mapping[str, str]) -> ServerError:
    """Read an error; `body` is a response's, or a value that is parsed already."""
    value = _value(body)
    words = error_words(value)
    waits = (retry_after(headers), retry_in(words))
    wait = next((wait for wait in waits if wait is not None), None)
    if wait is None and status == 429:
        wait = until_reset(headers)
    return ServerError(
        status=status,
        words=words,
        code=next(_statuses(value, MAX_DEPTH), None),
        wait=wait,
    )


def is_error(value: Mapping[str, object]) -> bool:
    """
    Return whether an object with status 200 is an error in place of an answer.

        {"error": "no"}, {"type": "AuthenticationError", ...}   always
        {"success": false, ...}, {"code": 500, "message": ...}  if it has no answer
    """
    if any(value.get(key) for key in ERROR_KEYS):
        return True
    if any(is_error_name(value.get(key)) for key in KIND_KEYS):
        return True
    return not any(value.get(key) for key in ANSWER_KEYS) and _has_failed(value)


def is_error_name(name: object) -> bool:
    """
    Return whether a type, or the name of an event, is that of an error.

    An error of a tool is none: the agent goes on after it.
    """
    words = [word.lower() for word in name_words(name)]
    return bool(words) and words[-1] in ERROR_WORDS and "tool" not in words


def name_words(name: object) -> list[str]:
    """Return the words of a name: of "thread.run.failed" three, of "onError" two."""
    return WORD.findall(name[:200]) if isinstance(name, str) else []


def _has_failed(value: Mapping[str, object]) -> bool:
    """Return whether a level, a flag or a code of an object means a failure."""
    if any(value.get(key) for key in FAILURE_KEYS):
        return True
    if any(is_error_name(value.get(key)) for key in LEVEL_KEYS):
        return True
    if any(value.get(key) in (False, "false") for key in ("success", "ok")):
        return True
    if any(FAILURE_CODE.fullmatch(str(value.get(key))) for key in STATUS_KEYS):
        return True
    base = value.get("base_resp")
    # MiniMax, Baidu, others; 0 is a success.
    codes = [value.get("error_code"), value.get("errcode")]
    codes += [base.get("status_code")] if isinstance(base, Mapping) else []
    return any(NOT_ZERO.fullmatch(str(code)) for code in codes)


def error_words(value: object) -> str:
    """
    Return the words of an error: messages, then codes, on one line.

        {"error": {"message": "No.", "code": "x"}} --> "No.; x"
        "<html><title>Not Found</title>..."        --> "Not Found"
    """
    if isinstance(value, str):
        if value.startswith(("{", "[")):
            # The rest of it was not read, or is no JSON.
            found = "; ".join(MEMBER.findall(value))
            return shortened(found or value, MAX_WORDS_CHARS)
        title = TITLE.search(value)
        page = title.group(1) if title else "an HTML page"
        return shortened(page if value.startswith("<") else value, MAX_WORDS_CHARS)
    words = dict.fromkeys([*_messages(value, MAX_DEPTH), *_codes(value, MAX_DEPTH)])
    text = "; ".join(words) or json.dumps(value, ensure_ascii=False)
    return shortened(text, MAX_WORDS_CHARS)


def shortened(text: str, limit: int) -> str:
    """
    Return a text on one line, with at most `limit` characters.

    It is cut between two words, so that no half of a secret, which nothing could
    recognise, is left at its end.
    """
    text = " ".join(text[:MAX_READ_BYTES].split())
    if len(text) <= limit:
        return text
    cuts = [match.start() for match in BOUNDARY.finditer(text, 0, limit + 1)]
    return f"{text[: cuts[-1]] if cuts else ''}…"


def _value(body: object) -> object:
    """Return what a body says: the value of JSON, else a text."""
    if isinstance(body, bytes):
        body = body[:MAX_READ_BYTES].decode("utf-8-sig", "replace")
    if isinstance(body, str):
        parsed = _parsed(body.strip())
        return body.strip() if parsed is None else parsed
    return body


def _statuses(value: object, depth: int) -> Iterator[int]:
    """Yield the HTTP statuses that an error names."""
    if isinstance(value, str):
        value = _parsed(value.strip())
    if isinstance(value, list) and depth:
        for each in value[:MAX_PARTS]:
            yield from _statuses(each, depth - 1)
    if isinstance(value, Mapping) and depth:
        for key in STATUS_KEYS:
            text = str(value.get(key))
            if re.fullmatch("[45][0-9]{2}", text):
                yield int(text)
        for key in (*MESSAGE_KEYS, *NESTED_KEYS):
            yield from _statuses(value.get(key), depth - 1)


def _parsed(text: str) -> object | None:
    if not text.startswith(("{", "[", '"')):
        return None
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found


def _messages(value: object, depth: int) -> Iterator[str]:
    """Yield the messages in a value, also those in JSON inside a text."""
    if depth == 0:
        return
    match value:
        case str() if (parsed := _parsed(value.strip())) is not None:
            yield from _messages(parsed, depth - 1)
        case str() if value.strip():
            yield value.strip()
        case list():
            for each in value[:MAX_PARTS]:
                yield from _messages(each, depth - 1)
        case Mapping():
            for key in (*MESSAGE_KEYS, *NESTED_KEYS):
                yield from _messages(value.get(key), depth - 1)


def _codes(value: object, depth: int) -> Iterator[str]:
    """Yield the codes in a value: short texts, numbers, and places in the request."""
    if depth == 0:
        return
    match value:
        case str() if (parsed := _parsed(value.strip())) is not None:
            yield from _codes(parsed, depth - 1)
        case list():
            for each in value[:MAX_PARTS]:
                yield from _codes(each, depth - 1)
        case Mapping():
            for key in CODE_KEYS:
                yield from _code(value.get(key))
            for key in (*MESSAGE_KEYS, *NESTED_KEYS):
                yield from _codes(value.get(key), depth - 1)


def _code(value: object) -> Iterator[str]:
    if isinstance(value, list):
        yield ".".join(str(each)[:80] for each in value[:10])
    elif isinstance(value, str | int) and not isinstance(value, bool) and value:
        yield str(value)[:200]
