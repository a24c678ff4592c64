"""
The least CPU that Python can spend: a loop that only counts packets.

It receives like the bridge, with `recvmmsg`, sleeps in the kernel until there is at
least one packet, reads none of them, and prints the count to each TCP connection.
"""

from __future__ import annotations

import argparse
import select
import socket

from statsd_bridge.datagram.receive import BatchReceiver


def main() -> None:
    """Count until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--udp", type=int, required=True)
    parser.add_argument("--tcp", type=int, required=True)
    parser.add_argument("--buffer", type=int, required=True)
    parser.add_argument("--rules", help="ignored")
    args = parser.parse_args()
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, args.buffer)
    udp.bind(("127.0.0.1", args.udp))
    udp.setblocking(False)
    tcp = socket.create_server(("127.0.0.1", args.tcp))
    poll = select.epoll()
    poll.register(udp, select.EPOLLIN)
    poll.register(tcp, select.EPOLLIN)
    receiver, count = BatchReceiver(udp), 0
    while True:
        for ready, _ in poll.poll():
            if ready == udp.fileno():
                count += receiver.receive_messages()
                continue
            connection, _ = tcp.accept()
            with connection:
                connection.sendall(b"packets %d\n" % count)


if __name__ == "__main__":
    main()
