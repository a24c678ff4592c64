"""
THE PATH: one turn, composed.

`turn.py` is the path, `files.py` its step with files, `ask.py` that with the agent,
`fallback.py` that with a second one,
`admission.py` its limits, `accounts.py` what answers took, `acknowledge.py` the
reaction meanwhile, `messages.py` the texts that people get when
there is no answer, `runner.py` runs turns, a bounded number at a time, and closes their
rows, `arrival.py` handles what cannot wait for a turn.
"""

from __future__ import annotations

from crocbot.turn.accounts import Accounts
from crocbot.turn.acknowledge import Acknowledger
from crocbot.turn.admission import Admission
from crocbot.turn.arrival import CHAT_GONE_REASON, Arrivals
from crocbot.turn.ask import AgentStep
from crocbot.turn.enclosures import EnclosureReaders
from crocbot.turn.fallback import Fallback
from crocbot.turn.files import FileLoader
from crocbot.turn.runner import (
    MIN_CALM_SECONDS,
    BugReporter,
    TurnRunner,
    TurnSlots,
    is_cancelled,
    suspects_first,
    uncancel,
)
from crocbot.turn.turn import TurnStages

__all__ = [
    "CHAT_GONE_REASON",
    "MIN_CALM_SECONDS",
    "Accounts",
    "Acknowledger",
    "Admission",
    "AgentStep",
    "Arrivals",
    "BugReporter",
    "EnclosureReaders",
    "Fallback",
    "FileLoader",
    "TurnRunner",
    "TurnSlots",
    "TurnStages",
    "is_cancelled",
    "suspects_first",
    "uncancel",
]
