"""
Prompt to answer, streamed.

    Prompt --> Agent.answer() --> "Hel" "lo." Usage(12, 3)

`echo.py`, `http.py`, `openai.py` and `command.py` are the agents; `create.py` creates
the one that the settings name; `answer.py` reads its answer; `rules.py` has the rules
for every agent: redirects, bytes, secrets, time.  `server_errors.py` has the meaning of
the errors that servers send.

An agent answers one message of a chat at a time, and many chats at once.  It may take
minutes.  It is cancelled by /stop and when the gateway stops, and then releases all
resources.  An agent without an answer raises `AgentError`; any other exception is
counted as a bug.
"""

from __future__ import annotations

from crocbot.agents.answer import Accepts, Agent, AnswerReader, Timeouts
from crocbot.agents.create import create_agent
from crocbot.agents.thinking import ThinkingTags

__all__ = [
    "Accepts",
    "Agent",
    "AnswerReader",
    "ThinkingTags",
    "Timeouts",
    "create_agent",
]
