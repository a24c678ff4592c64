"""
What people read when there is no answer: one friendly sentence for every error.

No sentence contains anything that only the operator should know.
"""

from __future__ import annotations

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
    Reason.RATE_LIMITED: "Sorry, there are too many questions at the moment."
    " Please try again in a minute.",
    Reason.REFUSED: "Sorry, I cannot answer that. Please rephrase it.",
    Reason.FAILED: "Sorry, something broke while I worked on the answer."
    " Please try again.",
    Reason.MALFORMED: "Sorry, I got an answer that I cannot read. Please try again.",
    Reason.TOO_LONG: "Sorry, the answer is longer than I may send; it ends here.",
    Reason.EMPTY: "Sorry, I have no answer to that. Please rephrase it.",
    Reason.OTHER: GENERIC_ERROR,
}


def error_message(error: Exception) -> str:
    """Return the sentence for an error of a turn."""
    if isinstance(error, AgentError):
        return ERROR_MESSAGES[error.reason]
    if isinstance(error, CrashError):
        return CRASH_ERROR
    return GENERIC_ERROR
