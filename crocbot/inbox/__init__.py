"""
Raw updates to rows that survive a crash, until each is closed.

    accept(updates) --> rows --> close(outcome)
       | one transaction           | many closes share one transaction
       v                           v
    crocbot.sqlite3: WAL, synchronous=FULL, so that a commit survives a power cut

`inbox.py` is the inbox for the event loop, `sql.py` its SQL, `replies.py` keeps
replies with their files, `report.py` has what `crocbot inbox` prints, and
`selection.py` the failed rows that an operator chooses and drops.
"""

from __future__ import annotations

from crocbot.inbox.inbox import Accepted, Inbox
from crocbot.inbox.places import reopen as reopen_shared
from crocbot.inbox.replies import KeptReplies
from crocbot.inbox.report import (
    describe,
    describe_failures,
    describe_ledger,
    describe_open,
)
from crocbot.inbox.selection import FailureFilter, drop, select
from crocbot.inbox.sql import SCHEMA, count_kept_replies, reopen, state

__all__ = [
    "SCHEMA",
    "Accepted",
    "FailureFilter",
    "Inbox",
    "KeptReplies",
    "count_kept_replies",
    "describe",
    "describe_failures",
    "describe_ledger",
    "describe_open",
    "drop",
    "reopen",
    "reopen_shared",
    "select",
    "state",
]
