"""
Prompt to answer, streamed.

    Prompt --> Agent.answer() --> "Hel" "lo." Usage(12, 3)

`echo.py`, `http.py`, `openai.py`, `command.py` and `python.py` are the agents;
`create.py` creates those that the settings name, `fallback.py` is the second one;
`answer.py` reads an answer; `rules.py` has the rules for every agent: redirects, bytes,
secrets, time.  `server_errors.py` has the meaning of the errors that servers send.

`question.py` and `pieces.py` have the types of functions of the agent `python`, which
are a public API: `docs/python-agent.md`.

An agent answers one message of a chat at a time, and many chats at once.  It may take
minutes.  It is cancelled by /stop and when the gateway stops, and then releases all
resources.  An agent without an answer raises `AgentError`; any other exception is
counted as a bug.
"""

from __future__ import annotations

from crocbot.agents.answer import Accepts, Agent, AnswerReader, Timeouts
from crocbot.agents.create import create_agent, create_fallback
from crocbot.agents.pieces import AnswerFile, Button, Buttons, Piece
from crocbot.agents.question import (
    Forward,
    HistoryMessage,
    Medium,
    PressedButton,
    Question,
    QuestionFile,
    QuestionImage,
    ReplyTo,
    TextLink,
)
from crocbot.agents.thinking import ThinkingTags
from crocbot.model import Usage

__all__ = [
    "Accepts",
    "Agent",
    "AnswerFile",
    "AnswerReader",
    "Button",
    "Buttons",
    "Forward",
    "HistoryMessage",
    "Medium",
    "Piece",
    "PressedButton",
    "Question",
    "QuestionFile",
    "QuestionImage",
    "ReplyTo",
    "TextLink",
    "ThinkingTags",
    "Timeouts",
    "Usage",
    "create_agent",
    "create_fallback",
]
