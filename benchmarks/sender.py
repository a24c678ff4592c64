"""
Send packets at a given rate, or as fast as possible.

    python -m benchmarks.sender --port 9125 --profile gateway --lines 10 --rate 50000

`sendmmsg` hands the kernel many packets in one call, so one core can send more than any
server here can receive.  Prints the number of packets and the seconds as JSON.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import socket
import time

from benchmarks import traffic

MAX_CALL_PACKETS = 64
"""Packets in one system call."""


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_char_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("iovecs", ctypes.POINTER(_Iovec)),
        ("iovecs_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    _fields_ = (("header", _Header), ("sent", ctypes.c_uint32))


class Sender:
    """Packets in the kernel's format, sent in order and again from the start."""

    def __init__(self, sock: socket.socket, packets: list[bytes]) -> None:
        self._iovecs = (_Iovec * len(packets))(*[_Iovec(p, len(p)) for p in packets])
        self._messages = (_Message * len(packets))()
        for message, iovec in zip(self._messages, self._iovecs, strict=True):
            message.header.iovecs = ctypes.pointer(iovec)
            message.header.iovecs_length = 1
        self._sock = sock
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._next = 0

    def send(self, count: int) -> int:
        """Send at most `count` of the next packets in one call; return how many."""
        count = min(count, len(self._messages) - self._next)
        at = ctypes.byref(self._messages, self._next * ctypes.sizeof(_Message))
        sent: int = self._libc.sendmmsg(self._sock.fileno(), at, count, 0)
        if sent < 0:
            raise OSError(ctypes.get_errno(), "sendmmsg")
        self._next = (self._next + sent) % len(self._messages)
        return sent


def run(sender: Sender, rate: int, seconds: float, count: int) -> tuple[int, float]:
    """
    Send at `rate` packets a second, 0 for the highest, and return packets and seconds.

    It ends after `seconds`, or after `count` packets if that is not 0.
    """
    sent, began = 0, time.perf_counter()
    while True:
        passed = time.perf_counter() - began
        if passed >= seconds or (count and sent >= count):
            return sent, passed
        due = (
            MAX_CALL_PACKETS
            if not rate
            else min(MAX_CALL_PACKETS, int(rate * passed) - sent)
        )
        if count:
            due = min(due, count - sent)
        if due > 0:
            sent += sender.send(due)
        elif rate < 20_000:
            # A busy loop disturbs the server; a faster sender has no time to sleep.
            time.sleep(0.0001)


def main() -> None:
    """Print `ready`, wait for a line on standard input, send."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--profile", default="gateway")
    parser.add_argument("--lines", type=int, default=10)
    parser.add_argument("--rate", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--pool", type=int, default=20_000)
    parser.add_argument("--cpu", type=int, default=-1)
    args = parser.parse_args()
    if args.cpu >= 0:
        os.sched_setaffinity(0, {args.cpu})
    packets = traffic.packets(args.profile, args.lines, args.pool)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", args.port))
        sender = Sender(sock, packets)
        print("ready", flush=True)
        input()
        sent, seconds = run(sender, args.rate, args.seconds, args.count)
    print(json.dumps({"packets": sent, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
