"""
Linux' recvmmsg: hundreds of datagrams in one call, into one buffer made before.

    heads   |  2 KiB  |  2 KiB  |  2 KiB  | ...     a datagram's first bytes
    tails   |     62 KiB     |     62 KiB     | ... the rest of a large one

A system call for each datagram would cost 0.5 us more than the kernel's own work.  The
heads lie close together, so they stay in the cache of the processor; the tails cost
nothing until a large datagram comes, since memory that was never touched is not there.

An mmap is the only buffer of the standard library whose slices are bytes: 65 ns for a
datagram, where a bytearray or a memoryview needs a second object for each.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from functools import cache
from typing import Any

SLOTS = 512
"""Datagrams in one call."""

HEAD = 2_048
"""Bytes of a slot; an Ethernet packet carries 1,472."""

LARGEST = 65_535
"""Bytes of the largest datagram that is taken whole; UDP cannot carry more."""

_TAIL = LARGEST + 1 - HEAD
_MSG_DONTWAIT = 0x40


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """struct msghdr."""

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
    """struct mmsghdr: a msghdr, and how many bytes came."""

    _fields_ = (("header", _Header), ("length", ctypes.c_uint32))


# The lengths are every so many uint32 in the array of messages.
_FIRST = _Message.length.offset // 4
_STRIDE = ctypes.sizeof(_Message) // 4


@cache
def _recvmmsg() -> Any:
    """Find the call in the C library; None where there is none."""
    try:
        call = ctypes.CDLL(None, use_errno=True).recvmmsg
    except (AttributeError, OSError, TypeError):
        return None
    pointer, number = ctypes.c_void_p, ctypes.c_int
    call.argtypes = (number, pointer, ctypes.c_uint, number, pointer)
    return call


def is_there() -> bool:
    """Tell whether this system has recvmmsg."""
    return _recvmmsg() is not None


class Slots:
    """The buffer, and what recvmmsg wants to know of it.  For one socket at a time."""

    def __init__(self) -> None:
        self.longest = 0
        """Bytes of the longest datagram of the batch; beyond LARGEST it was cut."""
        self._call = _recvmmsg()
        self._heads = mmap.mmap(-1, SLOTS * HEAD)
        self._tails = mmap.mmap(-1, SLOTS * _TAIL)
        self._starts = range(0, SLOTS * HEAD, HEAD)
        head, tail = _address(self._heads), _address(self._tails)
        self._iovecs = (_Iovec * (2 * SLOTS))()
        self._messages = (_Message * SLOTS)()
        for slot, message in enumerate(self._messages):
            first, second = self._iovecs[2 * slot], self._iovecs[2 * slot + 1]
            first.base, first.length = head + slot * HEAD, HEAD
            second.base, second.length = tail + slot * _TAIL, _TAIL
            message.header.iovecs = ctypes.addressof(first)
            message.header.iovecs_length = 2
        self._at = ctypes.addressof(self._messages)
        self._words = memoryview(self._messages).cast("B").cast("I")

    def fill(self, fileno: int) -> int:
        """Have the kernel fill slots; returns how many."""
        count: int = self._call(fileno, self._at, SLOTS, _MSG_DONTWAIT, None)
        if count < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
        return count

    def receive(self, fileno: int) -> list[bytes]:
        """Receive what is there; a BlockingIOError if nothing is."""
        count = self.fill(fileno)
        words = self._words
        lengths = words[_FIRST : _FIRST + count * _STRIDE : _STRIDE].tolist()
        heads = self._heads
        self.longest = max(lengths)
        if self.longest <= HEAD:
            # The starts go on to the last slot, the lengths to the last datagram.
            return [heads[at : at + n] for n, at in zip(lengths, self._starts)]  # noqa: B905
        return [self._whole(slot, length) for slot, length in enumerate(lengths)]

    def _whole(self, slot: int, length: int) -> bytes:
        at = slot * HEAD
        if length <= HEAD:
            return self._heads[at : at + length]
        rest = slot * _TAIL
        tail = self._tails[rest : rest + length - HEAD]
        return self._heads[at : at + HEAD] + tail


def _address(buffer: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))
