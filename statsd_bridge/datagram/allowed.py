"""
Datagrams of allowed senders only; those of others are counted and dropped.

Used for UDP with --statsd.allow-from alone: without it no address is asked for.  With
recvmmsg the kernel writes the sender of each datagram into a second buffer.

    names   | sockaddr |    | sockaddr |    | ...       32 bytes for each datagram

    struct sockaddr_in   family 2, port 2, address 4
    struct sockaddr_in6  family 2, port 2, flow 4, address 16, scope 4
"""

from __future__ import annotations

import ctypes
import mmap
import socket
from collections.abc import Sequence

from statsd_bridge.datagram.receive import (
    MAX_BATCH,
    BatchReceiver,
    Received,
    SingleReceiver,
    has_recvmmsg,
)
from statsd_bridge.networks import AllowedSenders, plain_address

NAME_BYTES = 32
"""Size of the place for a sender: that of a sockaddr_in6, 28, and a few more."""

ADDRESS_PLACES = {socket.AF_INET: slice(4, 8), socket.AF_INET6: slice(8, 24)}
"""Where the IP address is in the sockaddr of each family."""


def new_allowed_receiver(
    sock: socket.socket, senders: AllowedSenders
) -> AllowedBatchReceiver | AllowedSingleReceiver:
    """Return the fastest receiver of the system that drops what `senders` denies."""
    if has_recvmmsg():
        return AllowedBatchReceiver(sock, senders)
    return AllowedSingleReceiver(sock, senders)


class AllowedBatchReceiver(BatchReceiver):
    """Receives with recvmmsg, addresses too."""

    def __init__(self, sock: socket.socket, senders: AllowedSenders) -> None:
        super().__init__(sock)
        self._senders = senders
        self._names = mmap.mmap(-1, MAX_BATCH * NAME_BYTES)
        names = ctypes.addressof(ctypes.c_char.from_buffer(self._names))
        place = ADDRESS_PLACES[sock.family]
        starts = range(0, MAX_BATCH * NAME_BYTES, NAME_BYTES)
        self._places = [slice(at + place.start, at + place.stop) for at in starts]
        for message, start in zip(self._messages, starts, strict=True):
            message.header.name = names + start
            # The kernel replaces it by the length of a sockaddr, which is that of the
            # socket's family and so the same each time.
            message.header.name_length = NAME_BYTES

    def receive(self) -> Received:
        """Return what the kernel has of allowed senders."""
        received = super().receive()
        names = self._names
        addresses = [names[each] for each in self._places[: len(received.datagrams)]]
        return _without_denied(received, addresses, self._senders)


class AllowedSingleReceiver:
    """Receives one datagram a call, with its address."""

    def __init__(self, sock: socket.socket, senders: AllowedSenders) -> None:
        self._socket = _AddressRecorder(sock)
        self._receiver = SingleReceiver(self._socket)
        self._senders = senders

    def receive(self) -> Received:
        """Return what the kernel has of allowed senders."""
        self._socket.addresses.clear()
        received = self._receiver.receive()
        return _without_denied(received, self._socket.addresses, self._senders)


class _AddressRecorder:
    """A socket that remembers the sender of each datagram."""

    def __init__(self, sock: socket.socket) -> None:
        self.addresses: list[str] = []
        self._socket = sock

    def recv(self, size: int) -> bytes:
        """Receive a datagram."""
        data, address = self._socket.recvfrom(size)
        self.addresses.append(address[0])
        return data


def _without_denied(
    received: Received, addresses: Sequence[str | bytes], senders: AllowedSenders
) -> Received:
    """Drop the datagrams of denied senders; `addresses` has the sender of each."""
    denied = {each for each in set(addresses) if not senders.allows(each)}
    if not denied:
        return received
    pairs = list(zip(received.datagrams, addresses, strict=True))
    allowed = [each for each, address in pairs if address not in denied]
    return received._replace(
        datagrams=allowed,
        denied=len(pairs) - len(allowed),
        denied_sender=str(plain_address(denied.pop())),
    )
