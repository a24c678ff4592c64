"""Open the sockets that statsd lines arrive on."""

from __future__ import annotations

import socket

from statsd_bridge import log
from statsd_bridge.listener import DatagramReader, Denials, StreamFactory, bind
from statsd_bridge.model import HostPort
from statsd_bridge.service.build import Components


class Listeners:
    """The statsd listeners of one bridge."""

    def __init__(self, components: Components) -> None:
        self._components = components
        self._settings = components.settings
        self._inherited = components.inherited
        networks, stats = self._settings.allow_from, components.stats
        self._denials = Denials(networks, stats) if networks else None
        self._readers: list[DatagramReader] = []
        self._stream_factories: list[StreamFactory] = []
        self._udp: DatagramReader | None = None
        self.udp_address: HostPort | None = None
        """Where UDP is received, once it is."""

    def open_ip(self) -> dict[str, str]:
        """Listen on UDP and TCP; return the addresses by transport."""
        settings, opened = self._settings, {}
        if address := settings.listen_udp:
            sock = self._inherited.open_udp(
                "statsd.listen-udp", address, settings.read_buffer
            )
            self._udp = self._start_reader(sock, "udp", self._denials)
            self.udp_address = HostPort(*sock.getsockname()[:2])
            opened["udp"] = str(self.udp_address)
        if address := settings.listen_tcp:
            reactor, streams = (
                self._components.reactor,
                self._streams("tcp", self._denials),
            )
            address = self._inherited.listen_tcp(
                reactor, "statsd.listen-tcp", address, streams
            )
            opened["tcp"] = str(address)
        return opened

    def open_unix(self) -> dict[str, str]:
        """Listen on Unix sockets; return the paths by transport."""
        settings, opened = self._settings, {}
        mode, size = settings.unixsocket_mode, settings.read_buffer
        if path := settings.listen_unixgram:
            flag = "statsd.listen-unixgram"
            sock = bind.open_unixgram(flag, path, mode=mode, read_buffer=size)
            self._start_reader(sock, "unixgram")
            opened["unixgram"] = path
        if path := settings.listen_unixstream:
            flag, streams = "statsd.listen-unixstream", self._streams("unixstream")
            bind.listen_unix(self._components.reactor, flag, path, mode, streams)
            opened["unixstream"] = path
        return opened

    def drain(self) -> None:
        """Receive all datagrams that the kernel has delivered until now."""
        for each in self._readers:
            each.drain()

    def drain_streams(self) -> None:
        """Read what the clients of TCP and Unix streams have sent until now."""
        for each in self._stream_factories:
            each.drain()

    def hold(self) -> None:
        """Receive datagrams that would not fit into the kernel's buffers for long."""
        for each in self._readers:
            each.hold()

    def release(self) -> None:
        """Process what was held."""
        for each in self._readers:
            each.release()

    def read_some(self) -> None:
        """Receive what the kernel has delivered, but not all that a flood brings."""
        for each in self._readers:
            each.read_some()

    def has_backlog(self) -> bool:
        """Return whether more datagrams wait than are read at once."""
        return any(each.has_backlog for each in self._readers)

    def close(self) -> None:
        """Close the datagram sockets; a reactor that runs does it when it stops."""
        for each in self._readers:
            self._components.reactor.removeReader(each)
            each.connectionLost(None)

    def kernel_drops(self) -> int | None:
        """Return the datagrams dropped at the UDP socket; None if that is unknown."""
        return self._udp.kernel_drops() if self._udp else None

    @property
    def truncated(self) -> int:
        """The datagrams that were too large and lost their end."""
        return sum(each.truncated for each in self._readers)

    @property
    def received_at(self) -> float | None:
        """When the last datagram was received, on the monotonic clock."""
        times = [each.received_at for each in self._readers]
        return max(filter(None, times), default=None)

    def _start_reader(
        self, sock: socket.socket, transport: str, denials: Denials | None = None
    ) -> DatagramReader:
        requested, granted = self._settings.read_buffer, bind.buffer_size(sock)
        if granted < requested:
            log.logger(__name__).warning(
                "the kernel grants a smaller receive buffer than requested, bursts may"
                " be lost; raise the sysctl net.core.rmem_max",
                transport=transport,
                requested=requested,
                granted=granted,
            )
        reader = DatagramReader(
            sock,
            self._components.pipeline,
            transport=transport,
            receive_buffer=granted,
            reactor=self._components.reactor,
            denials=denials,
        )
        self._readers.append(reader)
        reader.start()
        return reader

    def _streams(self, transport: str, denials: Denials | None = None) -> StreamFactory:
        factory = StreamFactory(
            self._components.pipeline,
            transport=transport,
            max_connections=self._components.limits.streams,
            denials=denials,
        )
        self._stream_factories.append(factory)
        return factory
