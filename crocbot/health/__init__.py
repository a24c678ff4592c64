"""
How the gateway is, to whoever asks over HTTP; nothing here calls Telegram.

    GET /healthz   200 as long as the process answers at all
    GET /readyz    200 if every condition holds, else 503; each is named in the body

    [+]telegram ok
    [-]inbox failed: database or disk is full
    [+]drain ok

`python -m crocbot.health` asks, for a container that has no curl.
"""

from __future__ import annotations

from crocbot.health.server import Health

__all__ = ["Health"]
