"""Which replicas work on a database, for commands; nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from crocbot.replicas.times import LEASE_SECONDS
from crocbot.store import Connection
from crocbot.text import printable

MAX_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Replicas:
    """The names of the replicas that work now; `leader` is one of them, or None."""

    names: tuple[str, ...]
    leader: str | None

    def describe(self) -> Iterator[str]:
        """Yield lines about all of them."""
        if not self.names:
            yield "no replica works on the database"
            return
        leader = "none is the leader"
        if self.leader is not None:
            leader = f"the leader is {printable(self.leader)}"
        yield f"replicas: {len(self.names)}, {leader}"
        for name in self.names[:MAX_SHOWN]:
            yield f"  {printable(name)}"


def find(connection: Connection) -> Replicas:
    """Return the replicas that have renewed what they own in time."""
    names = connection.execute(
        "SELECT owner FROM replicas"
        " WHERE seen > clock_timestamp() - make_interval(secs => ?)"
        " UNION SELECT owner FROM leases WHERE until > clock_timestamp()"
        " ORDER BY owner",
        (LEASE_SECONDS,),
    ).fetchall()
    leader = connection.execute(
        "SELECT owner FROM leases WHERE name = 'leader' AND until > clock_timestamp()"
    ).fetchone()
    return Replicas(
        tuple(name for (name,) in names), None if leader is None else leader[0]
    )
