"""
THE WIRING: start, run, drain, stop.

    process    lock the state directory, start telemetry, obey signals, stop it last
    greeting   wait for Telegram, learn who we are
    gateway    the stages, wired: rows that an earlier run left open first, then intake
    ending     what a turn left: the rows' ends on disk, then the facts
    strangers  who was not let in
    checking   is everything as it must be?

Start reading at `gateway.py`.
"""

from __future__ import annotations

from crocbot.service.checking import check
from crocbot.service.process import VERSION, main, run, serve
from crocbot.service.stopping import Stop

__all__ = ["VERSION", "Stop", "check", "main", "run", "serve"]
