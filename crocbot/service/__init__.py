"""
THE WIRING: start, run, drain, stop.

    process      lock the state directory, start telemetry, obey signals
    startup      wait for Telegram, learn the bot's identity
    gateway      the stages, wired to each other
    maintenance  keep the inbox small, emit the ledger
    readiness    the conditions behind /readyz
    shutdown     the request to stop, the end of the process
    check        test settings, database, token, agent and metrics

Start reading at `gateway.py`.
"""

from __future__ import annotations

from crocbot.service.check import CheckStatus, check
from crocbot.service.process import VERSION, main, run, serve
from crocbot.service.shutdown import Shutdown

__all__ = ["VERSION", "CheckStatus", "Shutdown", "check", "main", "run", "serve"]
