"""
Send UDP packets by a connected socket, which learns that nothing receives them.

The host of a port without a listener answers a packet with an ICMP message, which is
the error of the next call on a connected socket.  Over loopback that is the same
packet's; from another host it comes after some more packets were sent.  A host that
answers nothing is not noticed.
"""

from __future__ import annotations

import errno
import socket
import sys
from ipaddress import ip_address

from statsd_bridge.model import HostPort
from statsd_bridge.relay.udp import LossReason, SocketAddress, UdpTarget

# linux/in.h, linux/in6.h: report hosts that cannot be reached, too.
IP_RECVERR = 11
IPV6_RECVERR = 25

_GONE = frozenset(
    {
        *(errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH),
        *(errno.EHOSTDOWN, errno.ENETDOWN, errno.ELOOP),
    }
)


class ConnectedUdpTarget(UdpTarget):
    """
    One destination, with a socket that is connected to it.

    `own_address` is where this program receives: a packet there would come back, and be
    sent again.
    """

    own_address: HostPort | None = None
    _connected: tuple[SocketAddress, socket.socket] | None = None

    def close(self) -> None:
        """Close the socket; the next packet opens another one."""
        if self._connected is not None:
            self._connected[1].close()
            self._connected = None

    def has_refused(self) -> bool:
        """Return whether the host has refused a packet since the last call."""
        return self._connected is not None and _error_of(self._connected[1]) in _GONE

    def send(self, packet: bytes) -> LossReason | None:
        """Send a packet; return why it is lost, or None as far as that is known now."""
        if self.destination is None:
            return LossReason.UNRESOLVED
        try:
            sock = self._connect(self.destination)
            sock.send(packet)
        except OSError as error:
            return _reason(error.errno)
        refused = _error_of(sock)
        return _reason(refused) if refused else None

    def _connect(self, destination: SocketAddress) -> socket.socket:
        """Return a socket that is connected to an address."""
        if self._connected is not None:
            address, sock = self._connected
            if address == destination:
                return sock
            self.close()
        if self._is_own(destination):
            problem = "a relay target is this bridge: write the address of another one"
            self._errors.error(problem, target=str(self._address))
            raise OSError(errno.ELOOP, problem)
        family, address_of_host = destination
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            if sys.platform == "linux" and family == socket.AF_INET:
                sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
            elif sys.platform == "linux":
                sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
            sock.connect(address_of_host)
        except OSError:
            sock.close()
            raise
        self._connected = destination, sock
        return sock

    def _is_own(self, destination: SocketAddress) -> bool:
        """Return whether this program receives what is sent to an address."""
        own, (family, address) = self.own_address, destination
        if own is None or own.port != address[1]:
            return False
        ours, theirs = ip_address(own.host), ip_address(address[0])
        if ours.is_unspecified:
            is_received = ours.version == 6 or theirs.version == 4
            return is_received and _is_local(family, str(theirs))
        return theirs == ours or (theirs.is_unspecified and ours.is_loopback)


def _is_local(family: socket.AddressFamily, host: str) -> bool:
    """Return whether an address is one of this host."""
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((host, 0))
        except OSError:
            return False
    return True


def _error_of(sock: socket.socket) -> int:
    """Return the error that a packet before has caused, or 0, and clear it."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def _reason(number: int | None) -> LossReason:
    if number in _GONE:
        return LossReason.REFUSED
    is_full = number in (errno.EAGAIN, errno.ENOBUFS)
    return LossReason.FULL if is_full else LossReason.ERROR
