"""
A conversation in the terminal with the agent that is set: `crocbot chat`.

    lines --> conversation.py --> sandbox <-- Bot API -- the gateway, in this process
    (lines.py)      |                |
                    '-- screen.py <--'   drafts, messages, files, buttons

The gateway is the real one, with a sandbox in place of Telegram, a state directory of
its own, and without metrics.  `files.py` has the files in both directions,
`pictures.py` the sizes of pictures; `session.py` starts and ends it all.
"""

from __future__ import annotations

from crocbot.chat.session import Session

__all__ = ["Session"]
