"""
What people are told: one kind sentence for everything that can go wrong.

No sentence says anything that only the operator should know.
"""

from __future__ import annotations

from collections.abc import Mapping

from crocbot.errors import AgentError
from crocbot.events import AgentErrorReason as Reason

PAIR = (
    "We have not met. If you know who runs this bot, show them this code: {code}\n"
    "It is good for one hour."
)
SORRY = "Sorry, something went wrong here and I have no answer. Please try again."
SENTENCES: Mapping[Reason, str] = {
    Reason.UNREACHABLE: "Sorry, I cannot reach whoever knows the answer right now."
    " Please try again in a minute.",
    Reason.TIMEOUT: "Sorry, the answer took too long, so I stopped waiting for it."
    " Please try again.",
    Reason.UNAUTHORIZED: "Sorry, I am not allowed to ask for an answer right now;"
    " whoever runs this bot has to look after it.",
    Reason.RATE_LIMITED: "Sorry, there are too many questions at the moment."
    " Please try again in a minute.",
    Reason.REFUSED: "Sorry, I cannot answer that. Please try it in other words.",
    Reason.FAILED: "Sorry, something broke while I was at work on the answer."
    " Please try again.",
    Reason.MALFORMED: "Sorry, I got an answer that nobody can read. Please try again.",
    Reason.TOO_LONG: "Sorry, the answer is longer than I may send; it ends here.",
    Reason.EMPTY: "Sorry, I have no answer to that. Please try it in other words.",
    Reason.OTHER: SORRY,
}


def sentence(error: Exception) -> str:
    """What to tell whoever waits for the answer."""
    return SENTENCES[error.fault] if isinstance(error, AgentError) else SORRY
