"""
The environment, `.env` and a TOML file to Settings: read once, checked whole, frozen.

    CROCBOT_STATSD_PORT=99999
    --> OperatorError: CROCBOT_STATSD_PORT is '99999': must be a port, 1 to 65535

`fields.py` has every setting once; `sources.py` says where values come from, `table.py`
writes `docs/settings.md`.  Nothing else in the program reads the environment.
"""

from __future__ import annotations

from crocbot.settings.fields import Settings
from crocbot.settings.sources import load, load_database

__all__ = ["Settings", "load", "load_database"]
