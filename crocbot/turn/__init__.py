"""
THE PATH: one turn, composed.

`turn.py` is the path, `ask.py` the agent's part of it, `messages.py` the sentences for
people who get no answer, `completion.py` closes the rows of a turn.
"""

from __future__ import annotations

from crocbot.turn.ask import Asking
from crocbot.turn.completion import Completion
from crocbot.turn.turn import Turn

__all__ = ["Asking", "Completion", "Turn"]
