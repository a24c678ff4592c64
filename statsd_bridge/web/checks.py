"""
Password checks: one at a time in a thread, the peers in turn, within bounds.

A check takes a tenth of a second on purpose.  One that waits is dropped with its
connection; one that runs is completed, because its thread cannot be stopped.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from statsd_bridge.threads import Threads
from statsd_bridge.web.client import Client, clients_that_left

MAX_WAITING = 64
"""Checks that wait, of all peers."""

MAX_WAITING_OF_PEER = 4
"""Checks that wait, of one peer."""


class Admission(Enum):
    """Whether the users of the bridge admit a request."""

    ADMITTED = "right credentials, or no users"
    UNAUTHORIZED = "no or wrong credentials"
    TOO_MANY_OF_PEER = "as many checks of this peer wait as may"
    OVERLOADED = "as many checks wait as may, or the client does not wait"


class PasswordCheck:
    """
    One check for a client, whose `result` is the admission.

    A subclass implements the methods: `known_result` is called before the check runs,
    `matches` in the thread, `ended` with the result of `matches`.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.result: Deferred[Admission] = Deferred()
        self.queue: CheckQueue | None = None
        """The queue in which it waits."""

    def cancel(self) -> bool:
        """Leave the queue; return whether it waited there, then there is no result."""
        return self.queue is not None and self.queue.remove(self)

    def known_result(self) -> Admission | None:
        """Return the result if it is known without a check."""

    def matches(self) -> bool:
        """Return whether the password is right; called in a thread."""
        raise NotImplementedError

    def ended(self, matches: bool) -> Admission:
        """Return the result, and remember it."""
        raise NotImplementedError


class DecidedCheck(PasswordCheck):
    """A check whose result is known from the beginning."""

    def __init__(self, client: Client, admission: Admission) -> None:
        super().__init__(client)
        self.result = succeed(admission)


class CheckQueue:
    """The checks that wait, and the one that runs."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._waiting: dict[str, deque[PasswordCheck]] = {}
        """By peer, in the order in which the peers have their turns."""
        self._is_running = False

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def add(self, check: PasswordCheck) -> PasswordCheck:
        """Run a check when it is its turn; return it, or a refusal."""
        peer = check.client.peer
        if self._refusal(peer) is not None:
            self._refuse_disconnected()
        refusal = self._refusal(peer)
        if refusal is not None:
            return DecidedCheck(check.client, refusal)
        self._waiting.setdefault(peer, deque()).append(check)
        check.queue = self
        self._run_next()
        return check

    def remove(self, check: PasswordCheck) -> bool:
        """Remove a check that waits; return whether it did."""
        checks = self._waiting.get(check.client.peer)
        if checks is None or check not in checks:
            return False
        checks.remove(check)
        if not checks:
            del self._waiting[check.client.peer]
        return True

    def _refusal(self, peer: str) -> Admission | None:
        """Return why no further check of a peer may wait, or None if one may."""
        if len(self._waiting.get(peer, ())) >= MAX_WAITING_OF_PEER:
            return Admission.TOO_MANY_OF_PEER
        return Admission.OVERLOADED if len(self) >= MAX_WAITING else None

    def _refuse_disconnected(self) -> None:
        """Refuse the checks whose clients have closed their side meanwhile."""
        waiting = {
            check.client: check for checks in self._waiting.values() for check in checks
        }
        for client in clients_that_left(waiting):
            check = waiting[client]
            if self.remove(check):
                check.result.callback(Admission.OVERLOADED)

    def _run_next(self) -> None:
        """Run the next check, unless one runs."""
        while self._waiting and not self._is_running:
            check = self._pop()
            known = check.known_result()
            if known is not None:
                check.result.callback(known)
                continue
            self._is_running = True
            self._threads.run(check.matches).addBoth(self._ended, check)

    def _pop(self) -> PasswordCheck:
        """Remove the first check of the next peer, whose next turn is the last."""
        peer = next(iter(self._waiting))
        checks = self._waiting.pop(peer)
        check = checks.popleft()
        if checks:
            self._waiting[peer] = checks
        return check

    def _ended(self, matches: bool | Failure, check: PasswordCheck) -> None:
        self._is_running = False
        if isinstance(matches, Failure):
            check.result.errback(matches)
        else:
            check.result.callback(check.ended(matches))
        self._run_next()
