"""
Bodies of requests: the paths that take one, and how many are received at once.

All other bodies are read and ignored.  A body is received before its user is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

MAX_BODY_BYTES = 1024 * 1024
"""The largest body; one that is ignored and larger closes the connection."""

MAX_DISCARDED_BYTES = 32 * 1024 * 1024
"""Bytes of a body that are read although it is too large, to respond why."""

MAX_BODIES = 8
MAX_BODIES_OF_PEER = 2
"""Bodies that are kept at once."""


class Bodies:
    """The bodies that a server receives; `paths` are those that take one by POST."""

    def __init__(self, paths: Collection[bytes]) -> None:
        self._paths = frozenset(paths)
        self._by_peer: Counter[str] = Counter()

    def takes(self, request_line: bytes) -> bool:
        """Return whether the page of a request reads the body."""
        method, _, rest = request_line.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        return method == b"POST" and path in self._paths

    def admit(self, peer: str) -> bool:
        """Return whether one more body of a peer may be kept; then `release` it."""
        if self._by_peer.total() >= MAX_BODIES:
            return False
        if self._by_peer[peer] >= MAX_BODIES_OF_PEER:
            return False
        self._by_peer[peer] += 1
        return True

    def release(self, peer: str) -> None:
        """Note that the body of a peer is not kept any more."""
        self._by_peer[peer] -= 1
        if not self._by_peer[peer]:
            del self._by_peer[peer]


class ReceivedBody:
    """A body that a page reads; `problem` is 413 or 503 if it is not kept, else 0."""

    def __init__(self, bodies: Bodies, peer: str) -> None:
        self.problem = 0 if bodies.admit(peer) else 503
        self._is_admitted = not self.problem
        self._bodies = bodies
        self._peer = peer
        self._received = bytearray()
        self._length = 0

    def add(self, data: bytes) -> bool:
        """Add a part; return False if no more of it is read."""
        self._length += len(data)
        if self._length > MAX_BODY_BYTES:
            self.problem = 413
            self._received.clear()
        if not self.problem:
            self._received += data
        return self._length <= MAX_DISCARDED_BYTES

    def content(self) -> bytes:
        """Return the body; nothing if there is a problem."""
        return bytes(self._received)

    def release(self) -> None:
        """Forget the body."""
        self._received.clear()
        if self._is_admitted:
            self._is_admitted = False
            self._bodies.release(self._peer)
