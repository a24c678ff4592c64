"""Recorded pages of statsd_exporter 0.30.0 in protobuf, against the path in memory."""

from __future__ import annotations

from typing import Any

import pytest

from statsd_bridge.exposition import protobuf
from tests.statsd_bridge.client_model import decode
from tests.statsd_bridge.in_memory import InMemoryPath, MakePipeline
from tests.statsd_bridge.recorded import NATIVE_CASES, assert_same_messages


@pytest.mark.parametrize("case", NATIVE_CASES, ids=lambda case: case["name"])
def test_a_page_in_protobuf_is_the_recorded_one(
    case: dict[str, Any], make_pipeline: MakePipeline
) -> None:
    """Types, values, classic and native buckets, quantiles, times of creation."""
    memory = InMemoryPath(case["mapping"] or "", make_pipeline=make_pipeline)
    memory.feed(*[packet.encode("latin-1") for packet in case["packets"]])
    memory.pipeline.flush()
    chunks = protobuf.format_families(
        memory.store.families(), memory.now, memory.bugs, memory.memory.encoded
    )
    page = b"".join(protobuf.join_slices(chunks))

    assert_same_messages(decode(page), case["want"]["families"])
