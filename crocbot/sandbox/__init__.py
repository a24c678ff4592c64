"""
Telegram in a process: a Bot API server on 127.0.0.1 and users who write to the bot.

    users --> server <-- Bot API over HTTP -- any gateway
               demo: both, with the gateway and the bridge as child processes
               python -m crocbot.sandbox: both alone, for a gateway that runs elsewhere

Start reading at `server.py`.
"""

from __future__ import annotations

from crocbot.sandbox.messages import Chat, Person
from crocbot.sandbox.server import Server

__all__ = ["Chat", "Person", "Server"]
