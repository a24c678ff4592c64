"""
THE PATH: one turn, composed.

`turn.py` is the path, `ask.py` its step with the agent, `messages.py` the texts that
people get when there is no answer, `completion.py` closes the rows of a turn.
"""

from __future__ import annotations

from crocbot.turn.ask import AgentStep
from crocbot.turn.completion import TurnCompletion
from crocbot.turn.turn import TurnStages

__all__ = ["AgentStep", "TurnCompletion", "TurnStages"]
