"""
The page in protobuf: families.py begins a message for each family.

metrics.py and distributions.py encode a series, columns.py the labels of many of them,
native.py the native buckets of a histogram, wire.py numbers and texts.
"""

from __future__ import annotations

from statsd_bridge.exposition.protobuf.families import (
    encode_message,
    format_families,
    join_slices,
)

__all__ = ["encode_message", "format_families", "join_slices"]
