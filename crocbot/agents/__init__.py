"""
A Prompt to an answer, streamed: whoever answers.

    Prompt --> answer() --> "Hel" "lo." Usage(12, 3)

`echo.py`, `http.py`, `openai.py` and `command.py` are whoever answers; `choice.py`
makes the one that the settings name; `hearing.py` listens to it, with a time-out for
the first piece and one for all of it.

An agent is asked for one message at a time per chat, for many chats at once.  It may
take minutes; it is cancelled when somebody says /stop or the gateway must stop, and
lets go of everything then.  If it has no answer it raises `AgentError`; anything else
that it raises is a bug and is counted as one.
"""

from __future__ import annotations

from crocbot.agents.agent import Agent
from crocbot.agents.answer import AnswerReader, Limits
from crocbot.agents.choice import choose

__all__ = ["Agent", "AnswerReader", "Limits", "choose"]
