"""What is found out about a PostgreSQL database; needs no psycopg."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFacts:
    """
    What was found of a database.

    `tables` is the version of the tables, 0 without any, and `needed` that of this
    program; `schema` is where new tables would be, None for nowhere.  `clock_ahead` is
    by how many seconds the clock of the server is ahead of the system's.
    """

    server: str
    tables: int
    needed: int
    schema: str | None
    may_create: bool
    read_only: bool
    latency_seconds: float
    clock_ahead: float
