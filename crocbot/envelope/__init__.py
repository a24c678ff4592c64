"""
One raw update to a Message, or to None.  Telegram's types stop here.

`message.py` reads the update, `media.py` what was sent besides words.
"""

from __future__ import annotations

from crocbot.envelope.message import chat_key, is_stop, read

__all__ = ["chat_key", "is_stop", "read"]
