"""
Jobs of a turn write only while its chat is worked here.

    working_under(lease): store.run(job) --> BEGIN, is the lease held?, job, COMMIT
                                       '---> a Write with the condition HELD, which is
                                             one statement
    if the lease is lost: LeaseLostError
"""

from __future__ import annotations

from functools import partial
from typing import Any, TypeVar

from crocbot import leases
from crocbot.errors import LeaseLostError
from crocbot.leases import Lease
from crocbot.store.interface import HELD, Connection, Job, Write

# Until the job has committed, no other replica can take the chat.
LEASE = "SELECT 1 FROM chats WHERE chat = ? AND epoch = ? FOR SHARE"
WRITE = """
WITH held AS (
    SELECT 1 FROM chats{} WHERE chat = :lease AND epoch = :epoch FOR SHARE OF chats
), written AS ({})
SELECT count(*) FROM held
"""
NOT_DURABLE = ", (SELECT set_config('synchronous_commit', 'off', true)) quick"

Result = TypeVar("Result")


def fenced(job: Job[Any], *, atomic: bool, durable: bool) -> Job[Any]:
    """Return a job that writes nothing if the lease of the current task is lost."""
    lease = leases.current()
    if lease is None:
        return job
    if atomic:
        return partial(_run, lease=lease, job=job)
    if isinstance(job, Write) and HELD in job.statement:
        return partial(_write, lease=lease, write=job, durable=durable)
    return job


def _run(connection: Connection, lease: Lease, job: Job[Result]) -> Result:
    _require(connection.execute(LEASE, (lease.chat, lease.epoch)).fetchone(), lease)
    return job(connection)


def _write(connection: Connection, lease: Lease, write: Write, durable: bool) -> None:
    statement = write.statement.replace(HELD, "EXISTS (SELECT 1 FROM held)")
    values = {**write.values, "lease": lease.chat, "epoch": lease.epoch}
    whole = WRITE.format("" if durable else NOT_DURABLE, statement)
    _require(connection.execute(whole, values).fetchone()[0], lease)


def _require(found: object, lease: Lease) -> None:
    if not found:
        raise LeaseLostError(lease.chat)
