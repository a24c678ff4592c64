"""Sets: the number of distinct members within a window of time."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from itertools import islice, takewhile

from statsd_bridge.memory import Account
from statsd_bridge.model import MetricOptions, Sample
from statsd_bridge.series.base import GrowingSeries

MAX_MEMBERS = 10_000
"""Members that a set counts: those with the latest samples."""

MAX_SURPLUS_MEMBERS = 1_000
"""Members beyond that until the oldest are removed at once: one by one is slow."""

MEMBER_BYTES = 96
"""A member's hash and time, and its place in the dict."""

MEMBERS_PER_LINE = 10
"""Members that are removed in the time of a line of a page."""

HASH_BITS = (1 << 60) - 1
"""An int of 60 bits takes 4 bytes less than one of 64, and 16 with its alignment."""


MemberHash = Callable[[str], int]
"""Returns the hash of a member, HASH_BITS long."""


def hash_of_process(member: str) -> int:
    """Return a hash that no other process has."""
    return hash(member) & HASH_BITS


def hash_of_any_process(member: str) -> int:
    """Return a hash that every process has, in 0.6 us more: for members in a file."""
    digest = blake2b(member.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) & HASH_BITS


class UniqueSet(GrowingSeries):
    """The members of a set, each with the time of its last sample."""

    __slots__ = ("account", "hash_of", "members", "removed", "window")

    def __init__(
        self,
        options: MetricOptions,
        window: float,
        account: Account,
        *,
        hash_of: MemberHash = hash_of_process,
    ) -> None:
        super().__init__(options)
        self.window = window
        self.account = account
        self.hash_of = hash_of
        # In the order of their last samples.  Only hashes are kept, so the length of a
        # member costs nothing.
        self.members: dict[int, float] = {}
        self.removed = 0
        """Members removed since the dict was last copied."""

    def has_room_for(self, sample: Sample) -> bool:
        """Return whether the memory budget allows the member of a sample."""
        return (
            self.account.has_room(MEMBER_BYTES)
            or self.hash_of(sample.member) in self.members
        )

    def record(self, sample: Sample, _value: float, now: float) -> None:
        """Note that a member was seen."""
        key = self.hash_of(sample.member)
        members = self.members
        if members.pop(key, None) is None:
            self.account.charge(MEMBER_BYTES)
        members[key] = now
        if len(members) >= MAX_MEMBERS + MAX_SURPLUS_MEMBERS:
            self._remove_oldest(len(members) - MAX_MEMBERS)

    def restore(self, members: dict[int, float]) -> None:
        """
        Take the members of an earlier run, by hash, with the oldest sample first.

        Without memory for all of them the oldest are left out.
        """
        room = max(0, self.account.limit - self.account.used) // MEMBER_BYTES
        surplus = max(0, len(members) - room)
        self.members = dict(islice(members.items(), surplus, None))
        self.account.charge(len(self.members) * MEMBER_BYTES)

    def values(self, now: float) -> tuple[float, ...]:
        """Return the number of members seen within the window."""
        self.expire(now)
        return (float(min(len(self.members), MAX_MEMBERS)),)

    def page_lines(self, _now: float) -> int:
        """Return the lines of counters that take as long on a page, at most."""
        return 1 + len(self.members) // MEMBERS_PER_LINE

    def expire(self, now: float) -> int:
        """Remove the members older than the window; return their number."""
        since = now - self.window
        times = self.members.values()
        expired = sum(1 for _ in takewhile(lambda seen: seen <= since, times))
        if expired:
            self._remove_oldest(expired)
        return expired

    def release(self) -> None:
        """Remove all members, when the series is removed."""
        self._remove_oldest(len(self.members))

    def _remove_oldest(self, count: int) -> None:
        """
        Remove the members with the oldest samples.

        A dict looks at the places of all removed members before it finds the first one:
        it is copied when they are the majority.
        """
        members = self.members
        for key in list(islice(members, count)):
            del members[key]
        self.account.release(count * MEMBER_BYTES)
        self.removed += count
        if self.removed > len(members):
            self.members = members.copy()
            self.removed = 0
