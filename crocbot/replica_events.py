"""
Events about the replicas of a bot, which share a PostgreSQL database.

`events.py` has all other events, and the type of every event.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class DatabaseOutcome(StrEnum):
    """Whether the database answered the heartbeat of a replica."""

    OK = "ok"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderState:
    """
    A replica began or ceased to lead the replicas of this bot.

    `bot` is the id of the bot.  `epoch` is that of the leader's lease; 0 means that
    another replica leads, or none.
    """

    bot: int
    epoch: int


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """Another replica works a chat that this one worked, or waited to work."""


@dataclass(frozen=True, slots=True)
class WriteRefused:
    """A row was not closed, because the lease of its chat is lost."""


@dataclass(frozen=True, slots=True)
class ChatsHeld:
    """How many chats this replica works now."""

    count: int


@dataclass(frozen=True, slots=True)
class HeartbeatSent:
    """
    A replica has sent its heartbeat to the database, which took this time.

    `leader_known` is whether the answer names a leader, this replica or another one.
    """

    outcome: DatabaseOutcome
    seconds: float
    leader_known: bool = False


@dataclass(frozen=True, slots=True)
class DatabaseUnreached:
    """A replica that starts has not reached the database yet."""


ReplicaEvent = (
    LeaderState
    | LeaseLost
    | WriteRefused
    | ChatsHeld
    | HeartbeatSent
    | DatabaseUnreached
)
