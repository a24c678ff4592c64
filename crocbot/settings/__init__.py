"""
The environment, `.env` and a TOML file to Settings: read once, validated, frozen.

    CROCBOT_STATSD_PORT=99999
    --> OperatorError: CROCBOT_STATSD_PORT is '99999': must be a port, 1 to 65535

`fields.py` has all settings, in groups (`access_fields.py` and so on), `names.py` names
of settings, `values.py` and `reactions.py` the types, `rules.py` what holds for several
settings; `sources.py` says where values come from, `files.py` reads files;
`env_file.py` and `quoting.py` write `.env`.  No other module reads a setting from the
environment.
"""

from __future__ import annotations

from crocbot.settings.fields import (
    AGENT_SETTINGS,
    CHAT_SETTINGS,
    Settings,
    in_fallback_names,
    text_of,
)
from crocbot.settings.names import DATABASE_URL, HEALTH_ADDRESS, STATE_DIR
from crocbot.settings.rules import advice, open_files
from crocbot.settings.sources import (
    ENV_FILE,
    load,
    load_for_sandbox,
    load_only,
    names_set,
)

__all__ = [
    "AGENT_SETTINGS",
    "CHAT_SETTINGS",
    "DATABASE_URL",
    "ENV_FILE",
    "HEALTH_ADDRESS",
    "STATE_DIR",
    "Settings",
    "advice",
    "in_fallback_names",
    "load",
    "load_for_sandbox",
    "load_only",
    "names_set",
    "open_files",
    "text_of",
]
