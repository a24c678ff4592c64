"""
Raw update to Message, or None.  Telegram's types stop here.

`message.py` reads the update, `media.py` its attachments, `context.py` what it replies
to, `press.py` the press of a button, `rich.py` the text of a
rich message, `stop_button.py` a press of Stop.  `edit.py` and
`membership.py` read raw updates that are no new message.
"""

from __future__ import annotations

from crocbot.envelope.edit import (
    as_message,
    content_digest,
    edited_message,
    is_position,
    message_key,
)
from crocbot.envelope.membership import is_private, membership
from crocbot.envelope.message import (
    chat_key,
    chat_move,
    guess_type,
    is_stop,
    lag_seconds,
    read,
)
from crocbot.envelope.press import press_key

__all__ = [
    "as_message",
    "chat_key",
    "chat_move",
    "content_digest",
    "edited_message",
    "guess_type",
    "is_position",
    "is_private",
    "is_stop",
    "lag_seconds",
    "membership",
    "message_key",
    "press_key",
    "read",
]
