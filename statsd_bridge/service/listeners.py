"""Open the sockets that statsd lines arrive on."""

from __future__ import annotations

import socket

from statsd_bridge import log
from statsd_bridge.listener import (
    ConnectionLimits,
    Datagrams,
    InheritedSockets,
    Streams,
    bind,
)
from statsd_bridge.model import HostPort
from statsd_bridge.pipeline import Pipeline
from statsd_bridge.service.build import Context


class Listeners:
    """The statsd listeners of one bridge."""

    def __init__(
        self,
        context: Context,
        pipeline: Pipeline,
        *,
        inherited: InheritedSockets,
        limits: ConnectionLimits,
    ) -> None:
        self._context = context
        self._settings = context.settings
        self._pipeline = pipeline
        self._inherited = inherited
        self._limits = limits
        self._datagrams: list[Datagrams] = []
        self._udp: Datagrams | None = None

    def open_ip(self) -> dict[str, str]:
        """Listen on UDP and TCP; return the addresses by transport."""
        settings = self._settings
        opened = {}
        if settings.listen_udp is not None:
            opened["udp"] = self._open_udp(settings.listen_udp)
        if settings.listen_tcp is not None:
            opened["tcp"] = str(
                self._inherited.listen_tcp(
                    self._context.reactor,
                    "statsd.listen-tcp",
                    settings.listen_tcp,
                    self._streams("tcp"),
                )
            )
        return opened

    def open_unix(self) -> dict[str, str]:
        """Listen on Unix sockets; return the paths by transport."""
        settings, opened = self._settings, {}
        mode = settings.unixsocket_mode
        if path := settings.listen_unixgram:
            sock = bind.open_unixgram(
                "statsd.listen-unixgram",
                path,
                mode=mode,
                read_buffer=settings.read_buffer,
            )
            self._start_reader(sock, "unixgram")
            opened["unixgram"] = path
        if path := settings.listen_unixstream:
            flag, streams = "statsd.listen-unixstream", self._streams("unixstream")
            bind.listen_unix(self._context.reactor, flag, path, mode, streams)
            opened["unixstream"] = path
        return opened

    def drain(self) -> None:
        """Receive all datagrams that the kernel has delivered until now."""
        for each in self._datagrams:
            each.drain()

    def close(self) -> None:
        """Close the datagram sockets; only a reactor that runs closes them itself."""
        for each in self._datagrams:
            self._context.reactor.removeReader(each)
            each.connectionLost(None)

    def kernel_drops(self) -> int | None:
        """Return the datagrams dropped at the UDP socket; None if that is unknown."""
        return self._udp.kernel_drops() if self._udp else None

    @property
    def truncated(self) -> int:
        """The datagrams that were too large and lost their end."""
        return sum(each.truncated for each in self._datagrams)

    @property
    def received_at(self) -> float | None:
        """When the last datagram was received (monotonic clock); None before it."""
        times = [each.received_at for each in self._datagrams]
        return max(filter(None, times), default=None)

    def _open_udp(self, address: HostPort) -> str:
        sock = self._inherited.open_udp(
            "statsd.listen-udp", address, self._settings.read_buffer
        )
        self._udp = self._start_reader(sock, "udp")
        return str(HostPort(*sock.getsockname()[:2]))

    def _start_reader(self, sock: socket.socket, transport: str) -> Datagrams:
        requested, granted = self._settings.read_buffer, bind.buffer_size(sock)
        if granted < requested:
            log.logger(__name__).warning(
                "the kernel grants a smaller receive buffer than asked for, bursts may"
                " be lost; raise the sysctl net.core.rmem_max",
                transport=transport,
                asked=requested,
                granted=granted,
            )
        reader = Datagrams(
            sock,
            self._pipeline,
            transport=transport,
            receive_buffer=granted,
            bugs=self._context.bugs,
            errors=self._context.errors,
            reactor=self._context.reactor,
        )
        self._datagrams.append(reader)
        reader.start()
        return reader

    def _streams(self, transport: str) -> Streams:
        return Streams(
            self._pipeline,
            transport=transport,
            stats=self._context.stats,
            bugs=self._context.bugs,
            max_connections=self._limits.streams,
        )
