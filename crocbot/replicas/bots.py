"""
One bot to a database: the replica of another bot is refused at its start.

    join --> no other bot works on the database: it may start
        '--> OperatorError

Two bots would answer each other's messages, since a person has one id for all bots.
"""

from __future__ import annotations

from crocbot.errors import OperatorError
from crocbot.replicas.times import LEASE_SECONDS
from crocbot.store import Connection

OTHER = """
SELECT bot FROM replicas
WHERE bot <> ? AND seen > clock_timestamp() - make_interval(secs => ?)
LIMIT 1
"""
JOIN = """
INSERT INTO replicas (owner, seen, bot) VALUES (?, clock_timestamp(), ?)
ON CONFLICT (owner) DO UPDATE SET seen = excluded.seen, bot = excluded.bot
"""


def join(connection: Connection, owner: str, bot: int) -> None:
    """
    Note that a replica works for a bot; raise OperatorError if another bot has one.

    Two statements of one transaction, in which no other replica joins.
    """
    found = connection.execute(OTHER, (bot, LEASE_SECONDS)).fetchone()
    if found is not None:
        raise OperatorError(
            f"CROCBOT_DATABASE_URL: another bot, {found[0]}, uses this database: give"
            " each bot its own; of a bot that has been replaced stop all gateways, and"
            f" wait {LEASE_SECONDS:g} s after a crash"
        )
    connection.execute(JOIN, (owner, bot))
