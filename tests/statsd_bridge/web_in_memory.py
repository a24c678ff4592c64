"""The HTTP server without sockets: a backend, a reactor and connections in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from statsd_bridge import web
from statsd_bridge.model import Stats
from statsd_bridge.settings import Settings
from tests.statsd_bridge.in_memory import InMemoryPath, ReportedBugs


class Reactor(Clock):
    """A clock that keeps calls for `run_pending`."""

    def __init__(self) -> None:
        super().__init__()
        self.pending: list[Callable[[], object]] = []

    def callLater(  # noqa: N802
        self, delay: float, callable: Any, *args: Any, **kw: Any
    ) -> Any:
        if delay:
            return super().callLater(delay, callable, *args, **kw)
        self.pending.append(partial(callable, *args, **kw))
        return None

    def run_pending(self) -> int:
        """Make the calls until there are none; return how many there were."""
        count = 0
        while self.pending:
            self.pending.pop(0)()
            count += 1
        return count


class InThisThread:
    """Threads whose functions run at once, in the thread of the test."""

    def run(self, function: Any, *args: Any) -> Deferred[Any]:
        """Call a function."""
        return maybeDeferred(function, *args)


class Backend(web.Backend):
    """A backend with a page of three slices, and the server in front of it."""

    def __init__(self, threads: Any = None) -> None:
        self.threads: Any = threads or InThisThread()
        self.stats = Stats()
        self.bugs = ReportedBugs()
        self.reactor: Any = Reactor()
        self.slices: list[bytes | Exception] = [b"a 1\n", b"b 2\n", b"c 3\n"]
        self.path = InMemoryPath()
        """The series that are shown."""
        self.inspector = self.path.inspector
        self.backlog = False
        self.refused = ""
        self.quits = 0
        self.tried: list[tuple[bytes, str]] = []
        self.trial = web.TrialAnswer(200, b'{"clean": true}\n')

    def render_metrics(self, accept: str) -> web.RenderedPage:
        content_type = "text/plain; version=0.0.4; charset=utf-8"
        return web.RenderedPage(content_type, self._render())

    def _render(self) -> Iterator[bytes]:
        for each in self.slices:
            if isinstance(each, Exception):
                raise each
            yield each

    def reload(self) -> Deferred[str]:
        return succeed(self.refused)

    def has_backlog(self) -> bool:
        return self.backlog

    def quit(self) -> None:
        self.quits += 1

    def explain(self, line: bytes) -> Any:
        return {"line": line.decode()}

    def try_mapping(self, text: bytes, file: str) -> Deferred[web.TrialAnswer]:
        self.tried.append((text, file))
        return succeed(self.trial)

    def list_unmapped_and_failed(self) -> Any:
        seen = {"count": 1, "last_seen": 0.0}
        return {
            "unmapped_names": [{"name": "<b>", "type": "counter", **seen}],
            "refused_lines": [],
        }

    def server(self, max_connections: int = 50, **settings: Any) -> Any:
        """Build the server; without a configuration file it admits everyone."""
        chosen = Settings(**{"enable_lifecycle": True, **settings})
        return web.http_factory(
            self,
            web.Guard(chosen.web_config, self.threads),
            chosen,
            version="1.2.3",
            max_connections=max_connections,
        )

    def connect(self, server: Any = None, host: str = "192.0.2.1") -> Connection:
        """Connect to a server, by default to a new one."""
        return Connection(server or self.server(), host)


class _Transport(StringTransport):
    protocol: Any

    def connectionLost(self, reason: Failure) -> None:  # noqa: N802
        self.disconnected = True
        self.protocol.connectionLost(reason)

    def fileno(self) -> int:
        """Return a descriptor that is not one of an open file."""
        return -1

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: N802
        pass


class Connection:
    """A client's connection to a server."""

    def __init__(self, server: Any, host: str = "192.0.2.1") -> None:
        self.transport = _Transport(peerAddress=IPv4Address("TCP", host, 50_000))
        self._protocol = self.transport.protocol = server.buildProtocol(None)
        self._protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self._protocol.dataReceived(data)

    def close_sending(self) -> None:
        """Close the client's side only, like `nc -N` at the end of its input."""
        self._protocol.readConnectionLost()

    def close(self) -> None:
        """Be gone."""
        self.transport.connectionLost(Failure(ConnectionDone()))

    @property
    def received(self) -> bytes:
        """All bytes that the server has sent."""
        return bytes(self.transport.value())

    @property
    def is_closed(self) -> bool:
        """Whether the server has closed the connection."""
        return bool(self.transport.disconnected or self.transport.disconnecting)
