"""
A socket to batches of datagrams.

With Linux' recvmmsg one call receives hundreds of datagrams into one buffer, which is
allocated before.  A call per datagram would add 0.5 us to the kernel's work.

    heads   |  2 KiB  |  2 KiB  |  2 KiB  | ...     the first bytes of each datagram
    tails   |     62 KiB     |     62 KiB     | ... the rest of large ones

The heads are close together, so they stay in the CPU's cache; the tails cost nothing
until a large datagram arrives, since the kernel allocates memory when it is touched.
Their memory is given back after each batch that touched it, and while datagrams are
large a call receives fewer: 512 of 64 KiB would be 32 MiB, and several times as much
while they are processed.
An mmap is the only buffer of the standard library whose slices are bytes: 65 ns for a
datagram, where a bytearray or a memoryview needs a second object for each
(`python -m benchmarks`, gateway 10 a packet).
"""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
from functools import cache
from typing import Any, NamedTuple, Protocol

MAX_BATCH = 512
"""Datagrams in a batch; bounded, so that a flood does not starve the reactor."""

MIN_BATCH = 16
"""Datagrams that are always received at once, and all that the first batch has."""

MAX_BATCH_BYTES = 1024 * 1024
"""
Bytes in a batch, if its datagrams are as large as those of the last one: more than 512
of less than 2 KiB, or 16 of the largest.
"""

MAX_DATAGRAM_BYTES = 65_535
"""Length of a datagram that is received whole; UDP cannot carry more."""

HEAD_BYTES = 2_048
"""Size of a head; an Ethernet packet carries 1,472 bytes."""

_MSG_DONTWAIT = socket.MSG_DONTWAIT
_TAIL_BYTES = MAX_DATAGRAM_BYTES + 1 - HEAD_BYTES


class Received(NamedTuple):
    """
    A batch of datagrams in the order of their arrival.

    `truncated` is the number of those that were too large.  They are without their
    last line, whose end is lost: half a line could be read as another value.
    `is_full` means that more may be waiting.  `denied` is the number of datagrams that
    were dropped because of their senders (see allowed.py), one of whose addresses is
    `denied_sender`.
    """

    datagrams: list[bytes]
    truncated: int = 0
    is_full: bool = False
    denied: int = 0
    denied_sender: str = ""


class Receiver(Protocol):
    """Receives batches from one socket."""

    def receive(self) -> Received:
        """Return what the kernel has; OSError passes."""


class ReceivingSocket(Protocol):
    """The part of a socket that receives one datagram."""

    def recv(self, size: int, /) -> bytes:
        """Receive a datagram, cut to a number of bytes."""


def new_receiver(sock: socket.socket) -> BatchReceiver | SingleReceiver:
    """
    Return the fastest receiver that the system has for a non-blocking socket.

    It receives at most MAX_BATCH datagrams at once.  OSError passes.
    """
    return BatchReceiver(sock) if has_recvmmsg() else SingleReceiver(sock)


class SingleReceiver:
    """Receives one datagram a call, on systems or C libraries without recvmmsg."""

    def __init__(self, sock: ReceivingSocket) -> None:
        self._socket = sock

    def receive(self) -> Received:
        """Return what the kernel has, at most MAX_BATCH datagrams."""
        batch: list[bytes] = []
        size = 0
        recv = self._socket.recv
        try:
            while len(batch) < MAX_BATCH and size < MAX_BATCH_BYTES:
                # One byte more, to recognise a datagram that is too large.
                batch.append(recv(MAX_DATAGRAM_BYTES + 1))
                size += len(batch[-1])
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            # Process what was received; an error that persists is raised next time.
            if not batch:
                raise
        is_full = len(batch) >= MAX_BATCH or size >= MAX_BATCH_BYTES
        return _without_truncated_lines(batch, is_full=is_full)


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _MessageHeader(ctypes.Structure):
    """`struct msghdr`."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("iovecs", ctypes.c_void_p),
        ("iovecs_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """`struct mmsghdr`: a message header, and the length that was received."""

    _fields_ = (("header", _MessageHeader), ("length", ctypes.c_uint32))


# The lengths in an array of messages, read as an array of uint32.
_FIRST_LENGTH = _Message.length.offset // 4
_LENGTH_STRIDE = ctypes.sizeof(_Message) // 4


@cache
def _recvmmsg() -> Any:
    """Return the function of the C library, or None."""
    try:
        # Not CDLL, which releases the interpreter's lock although the call never waits:
        # a thread that computes would hold it before each batch is processed.
        call = ctypes.PyDLL(None, use_errno=True).recvmmsg
    except (AttributeError, OSError, TypeError):
        return None
    pointer, number = ctypes.c_void_p, ctypes.c_int
    call.argtypes = (number, pointer, ctypes.c_uint, number, pointer)
    return call


def has_recvmmsg() -> bool:
    """Return whether this system has recvmmsg."""
    return _recvmmsg() is not None


class BatchReceiver:
    """Receives with recvmmsg."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._limit = MIN_BATCH
        self._call = _recvmmsg()
        self._heads = mmap.mmap(-1, MAX_BATCH * HEAD_BYTES)
        self._tails = mmap.mmap(-1, MAX_BATCH * _TAIL_BYTES)
        self._starts = range(0, MAX_BATCH * HEAD_BYTES, HEAD_BYTES)
        head, tail = _address(self._heads), _address(self._tails)
        self._iovecs = (_Iovec * (2 * MAX_BATCH))()
        self._messages = (_Message * MAX_BATCH)()
        for slot, message in enumerate(self._messages):
            first, second = self._iovecs[2 * slot], self._iovecs[2 * slot + 1]
            first.base, first.length = head + slot * HEAD_BYTES, HEAD_BYTES
            second.base, second.length = tail + slot * _TAIL_BYTES, _TAIL_BYTES
            message.header.iovecs = ctypes.addressof(first)
            message.header.iovecs_length = 2
        self._address = ctypes.addressof(self._messages)
        self._words = memoryview(self._messages).cast("B").cast("I")

    def receive(self) -> Received:
        """Return what the kernel has, at most as many datagrams as the limit is now."""
        limit = self._limit
        try:
            count = self.receive_messages(limit)
        except (BlockingIOError, InterruptedError):
            return Received([])
        end = _FIRST_LENGTH + count * _LENGTH_STRIDE
        lengths = self._words[_FIRST_LENGTH:end:_LENGTH_STRIDE].tolist()
        longest = max(lengths)
        if longest <= HEAD_BYTES:
            heads = self._heads
            # There are more starts than lengths.
            batch = [heads[at : at + n] for n, at in zip(lengths, self._starts)]  # noqa: B905
            if count < limit:
                return Received(batch)
            self._limit = MAX_BATCH
            return Received(batch, is_full=True)
        batch = [self._datagram(slot, length) for slot, length in enumerate(lengths)]
        self._tails.madvise(mmap.MADV_DONTNEED)
        fitting = MAX_BATCH_BYTES * count // sum(lengths)
        self._limit = max(MIN_BATCH, min(MAX_BATCH, fitting))
        return _without_truncated_lines(batch, is_full=count == limit)

    def receive_messages(self, limit: int = MAX_BATCH) -> int:
        """Let the kernel fill the buffer; return the number of datagrams."""
        fileno = self._socket.fileno()
        count: int = self._call(fileno, self._address, limit, _MSG_DONTWAIT, None)
        if count < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
        return count

    def _datagram(self, slot: int, length: int) -> bytes:
        start = slot * HEAD_BYTES
        if length <= HEAD_BYTES:
            return self._heads[start : start + length]
        tail_start = slot * _TAIL_BYTES
        tail = self._tails[tail_start : tail_start + length - HEAD_BYTES]
        return self._heads[start : start + HEAD_BYTES] + tail


def _address(buffer: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def _without_truncated_lines(datagrams: list[bytes], *, is_full: bool) -> Received:
    """Drop the last line of each datagram that is too large."""
    too_large = [len(each) > MAX_DATAGRAM_BYTES for each in datagrams]
    whole = [
        each.rpartition(b"\n")[0] if is_too_large else each
        for each, is_too_large in zip(datagrams, too_large, strict=True)
    ]
    return Received(whole, sum(too_large), is_full)
