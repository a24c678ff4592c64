"""What becomes of the parts of a turn: the agent's answer, files, recordings."""

from __future__ import annotations

from enum import StrEnum


class AgentErrorReason(StrEnum):
    """
    Why an agent gave no answer, or only a part of it.

    OPERATOR is a fault of the settings or of the account at the model's server.
    """

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    UNAUTHORIZED = "unauthorized"
    OPERATOR = "operator"
    RATE_LIMITED = "rate_limited"
    REFUSED = "refused"
    FAILED = "failed"
    MALFORMED = "malformed"
    CONTEXT_LENGTH = "context_length"
    CUT_SHORT = "cut_short"
    TOO_LONG = "too_long"
    EMPTY = "empty"
    OTHER = "other"


class Limit(StrEnum):
    """What is limited: messages, or tokens, of a minute or a day, of one or all."""

    PERSON_MINUTE = "person_minute"
    PERSON_DAY = "person_day"
    PERSON_DAY_TOKENS = "person_day_tokens"
    ALL_MINUTE = "all_minute"
    ALL_DAY = "all_day"
    ALL_DAY_TOKENS = "all_day_tokens"


class FallbackOutcome(StrEnum):
    """
    What became of a prompt whose first agent failed before its first word.

    ANSWERED, FAILED, STOPPED: the fallback agent was asked.  NO_TIME: the first agent
    took all of the time.
    """

    ANSWERED = "answered"
    FAILED = "failed"
    STOPPED = "stopped"
    NO_TIME = "no_time"


class FileDirection(StrEnum):
    """The direction of a file: from a person, or to one."""

    IN = "in"
    OUT = "out"


class FileOutcome(StrEnum):
    """What became of a file; UNSUPPORTED is of a kind that its receiver cannot use."""

    OK = "ok"
    TOO_LARGE = "too_large"
    EXCESS = "too_many"
    UNSUPPORTED = "unsupported"
    FAILED = "failed"


class TranscriptionOutcome(StrEnum):
    """
    What became of a recording: words, or no words in it, or an error.

    OPERATOR is a fault of the settings or of the account at the server.
    """

    OK = "ok"
    EMPTY = "empty"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    UNAUTHORIZED = "unauthorized"
    OPERATOR = "operator"
    RATE_LIMITED = "rate_limited"
    REFUSED = "refused"
    FAILED = "failed"
    MALFORMED = "malformed"
    TOO_LONG = "too_long"
    CANCELLED = "cancelled"
