"""
Pushed messages: those that answer no update, kept until they are sent.

    crocbot send, POST /send --> request -->  sql   --> messages --> pushing.py
                                             (rows)     (for the event loop)
"""

from __future__ import annotations

from crocbot.pushed.messages import PushedMessages
from crocbot.pushed.report import describe
from crocbot.pushed.request import (
    MAX_TEXT_BYTES,
    NewFile,
    PushedFullError,
    PushedMessage,
    RequestError,
    TooLargeError,
    new_message,
)
from crocbot.pushed.sql import SCHEMA, Push, add

__all__ = [
    "MAX_TEXT_BYTES",
    "SCHEMA",
    "NewFile",
    "Push",
    "PushedFullError",
    "PushedMessage",
    "PushedMessages",
    "RequestError",
    "TooLargeError",
    "add",
    "describe",
    "new_message",
]
