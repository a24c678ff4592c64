"""
Jobs of a turn write only while its chat is worked here.

    working_under(lease): store.run(job) --> BEGIN, is the lease held?, job, COMMIT
                                                     '-- no: LeaseLostError
"""

from __future__ import annotations

from functools import partial
from typing import TypeVar

from crocbot import leases
from crocbot.errors import LeaseLostError
from crocbot.leases import Lease
from crocbot.store.interface import Connection, Job

# Until the job has committed, no other replica can take the chat.
HELD = "SELECT 1 FROM chats WHERE chat = ? AND epoch = ? FOR SHARE"

Result = TypeVar("Result")


def fenced(job: Job[Result]) -> Job[Result]:
    """Return a job that writes nothing if the lease of the current task is lost."""
    lease = leases.current()
    return job if lease is None else partial(_run, lease=lease, job=job)


def _run(connection: Connection, lease: Lease, job: Job[Result]) -> Result:
    if connection.execute(HELD, (lease.chat, lease.epoch)).fetchone() is None:
        raise LeaseLostError(lease.chat)
    return job(connection)
