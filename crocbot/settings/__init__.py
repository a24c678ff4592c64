"""
The environment, `.env` and a TOML file to Settings: read once, validated, frozen.

    CROCBOT_STATSD_PORT=99999
    --> OperatorError: CROCBOT_STATSD_PORT is '99999': must be a port, 1 to 65535

`fields.py` has all settings, in groups (`access_fields.py` and so on), `names.py` names
of settings, `values.py` and `reactions.py` the types, `rules.py` what holds for several
settings; `sources.py` says where values come from, `files.py` reads files.  No other
module reads a setting from the environment.
"""

from __future__ import annotations

from crocbot.settings.fields import Settings
from crocbot.settings.names import HEALTH_ADDRESS, STATE_DIR
from crocbot.settings.rules import advice, open_files
from crocbot.settings.sources import load, load_only

__all__ = [
    "HEALTH_ADDRESS",
    "STATE_DIR",
    "Settings",
    "advice",
    "load",
    "load_only",
    "open_files",
]
