"""The bridge without sockets, on the path that it takes by default."""

from __future__ import annotations

from importlib.resources import files

from prometheus_client.parser import text_string_to_metric_families

from statsd_bridge import exposition, mapping
from tests.statsd_bridge.in_memory import InMemoryPath

MAPPING = files("crocbot") / "mapping.yml"

Series = tuple[str, frozenset[tuple[str, str]]]
"""A name and its labels."""


class InMemoryBridge(InMemoryPath):
    """The path with the gateway's mapping file, and its page."""

    def __init__(self) -> None:
        super().__init__(
            mapping.load(str(MAPPING), strict=True),
            reserved=exposition.reserved_names(),
        )

    def series(self) -> dict[Series, float]:
        """Return every sample of the page."""
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(self.page())
            for sample in family.samples
        }
