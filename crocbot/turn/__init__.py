"""
THE PATH: one turn, composed.

`turn.py` is the path, `asking.py` the agent's part of it, `sentences.py` what people
are told when there is no answer.
"""

from __future__ import annotations

from crocbot.turn.ask import Asking
from crocbot.turn.turn import Turn

__all__ = ["Asking", "Turn"]
