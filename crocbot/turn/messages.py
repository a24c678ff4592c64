"""
What people read when there is no answer: one friendly sentence for every error.

No sentence contains anything that only the operator should know.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from crocbot.errors import AgentError, CrashError
from crocbot.events import AgentErrorReason as Reason

PAIRING_CODE = (
    "We have not met. If you know who runs this bot, show them this code: {code}\n"
    "It is valid for one hour."
)
UNREADABLE_MESSAGE = (
    "Sorry, I cannot read this kind of message. Please write it as text."
)
CRASH_ERROR = (
    "Sorry, I crashed each time that I worked on this message, so I have given it up."
    " Please rephrase it."
)
GENERIC_ERROR = "Sorry, something went wrong and I have no answer. Please try again."
ERROR_MESSAGES: Mapping[Reason, str] = {
    Reason.UNREACHABLE: "Sorry, I cannot reach the service that answers you right now."
    " Please try again in a minute.",
    Reason.TIMEOUT: "Sorry, the answer took too long, so I stopped waiting for it."
    " Please try again.",
    Reason.UNAUTHORIZED: "Sorry, I am not allowed to ask for an answer right now;"
    " the operator of this bot has to fix that.",
    Reason.OPERATOR: "Sorry, I cannot answer until the operator of this bot has changed"
    " something; until then another try will not help.",
    Reason.RATE_LIMITED: "Sorry, there are too many questions at the moment."
    " Please try again in a minute.",
    Reason.REFUSED: "Sorry, I cannot answer that. Please rephrase it, or begin anew"
    " with /new.",
    Reason.FAILED: "Sorry, something broke while I worked on the answer."
    " Please try again.",
    Reason.MALFORMED: "Sorry, I got an answer that I cannot read. Please try again.",
    Reason.CONTEXT_LENGTH: "Sorry, this is more than I can read at once. Please send a"
    " shorter message, or begin anew with /new.",
    Reason.CUT_SHORT: "Sorry, I have reached the greatest length of an answer; it ends"
    " here. Ask me to go on if you need the rest.",
    Reason.TOO_LONG: "Sorry, the answer is longer than I may send; it ends here.",
    Reason.EMPTY: "Sorry, I have no answer to that. Please rephrase it.",
    Reason.OTHER: GENERIC_ERROR,
}


# A shorter pause is "a minute".
MIN_NAMED_PAUSE_SECONDS = 90
NAMED_PAUSES: Mapping[Reason, str] = {
    Reason.RATE_LIMITED: "Sorry, there are too many questions at the moment."
    " Please try again in {}.",
    Reason.FAILED: "Sorry, the service that answers you is busy."
    " Please try again in {}.",
}


def error_message(error: Exception) -> str:
    """Return the sentence for an error of a turn."""
    if isinstance(error, CrashError):
        return CRASH_ERROR
    if not isinstance(error, AgentError):
        return GENERIC_ERROR
    wait = error.wait or 0
    if wait >= MIN_NAMED_PAUSE_SECONDS and error.reason in NAMED_PAUSES:
        return NAMED_PAUSES[error.reason].format(_pause(wait))
    return ERROR_MESSAGES[error.reason]


def _pause(seconds: float) -> str:
    """
    Return a pause in words, rounded up.

        432.0 --> "8 minutes"
    """
    minutes = math.ceil(seconds / 60)
    return f"{minutes} minutes" if minutes < 120 else f"{math.ceil(minutes / 60)} hours"
