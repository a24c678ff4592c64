"""Label values that no event has, because telemetry itself records them."""

from __future__ import annotations

from enum import StrEnum


class TokenDirection(StrEnum):
    """The direction of tokens, seen from the agent."""

    INPUT = "input"
    OUTPUT = "output"


class CpuMode(StrEnum):
    """Where CPU time was spent."""

    USER = "user"
    SYSTEM = "system"


class Generation(StrEnum):
    """The oldest generation that a garbage collection went through."""

    YOUNG = "0"
    MIDDLE = "1"
    OLD = "2"


class LossReason(StrEnum):
    """Why a line was not delivered to the receiver."""

    REFUSED = "refused"
    BUFFER_FULL = "buffer_full"
    UNREACHABLE = "unreachable"
    OTHER = "other"


class DropReason(StrEnum):
    """Why a value or an event was not recorded."""

    INVALID = "invalid"
    UNKNOWN = "unknown"
    OVERFLOW = "overflow"
