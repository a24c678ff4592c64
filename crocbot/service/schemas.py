"""The tables of all stages, in the order in which they are made."""

from __future__ import annotations

from crocbot import (
    alerts,
    classic_forms,
    edits,
    inbox,
    limits,
    pairing,
    pushed,
    sessions,
    spending,
)

SCHEMAS = (
    inbox.SCHEMA,
    pairing.SCHEMA,
    sessions.SCHEMA,
    edits.SCHEMA,
    classic_forms.SCHEMA,
    limits.SCHEMA,
    pushed.SCHEMA,
    alerts.SCHEMA,
    spending.SCHEMA,
)
