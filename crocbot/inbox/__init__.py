"""
Raw updates to rows that survive a crash, until each has ended.

    accept(raws) --> rows --> close(outcome)
       | one transaction          | many closes share one transaction
       v                          v
    crocbot.sqlite3: WAL, synchronous=FULL, so a commit survives a power cut, too

    lock      one gateway a state directory
    database  the file: every transaction, in one thread
    inbox     the same for the event loop, which never waits for the disk
"""

from __future__ import annotations

from crocbot.inbox.database import Database, Failure
from crocbot.inbox.inbox import Inbox
from crocbot.inbox.lock import locked
from crocbot.inbox.report import MOST_SHOWN, describe

__all__ = ["MOST_SHOWN", "Database", "Failure", "Inbox", "describe", "locked"]
