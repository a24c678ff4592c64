r"""
Relay lines to other statsd servers, over UDP: to all of them, or each line to one.

    line, line, line  ->  "line\nline\nline\n"  ->  each target, or the one of the line

Nothing here waits.  Lines are gathered until a packet is full or a second is over; a
packet that the kernel does not take at once is lost and counted.
"""

from statsd_bridge.relay.base import FLUSH_SECONDS
from statsd_bridge.relay.copies import Relay
from statsd_bridge.relay.rendezvous import Rendezvous
from statsd_bridge.relay.shards import ShardRelay
from statsd_bridge.relay.target import MAX_PACKET_BYTES

__all__ = ["FLUSH_SECONDS", "MAX_PACKET_BYTES", "Relay", "Rendezvous", "ShardRelay"]
