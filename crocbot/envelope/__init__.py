"""
Raw update to Message, or None.  Telegram's types stop here.

`message.py` reads the update, `media.py` its attachments, `stop_button.py` a press of
Stop.
"""

from __future__ import annotations

from crocbot.envelope.message import (
    chat_key,
    chat_move,
    guess_type,
    is_stop,
    lag_seconds,
    read,
)

__all__ = ["chat_key", "chat_move", "guess_type", "is_stop", "lag_seconds", "read"]
