"""The bridge without sockets, on the path that it takes by default."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from prometheus_client.parser import text_string_to_metric_families

from statsd_bridge import exposition, mapping
from statsd_bridge.batch import FastPipeline
from statsd_bridge.model import Stats
from statsd_bridge.series import SeriesStore
from tests.statsd_bridge.in_memory import NoBugs

MAPPING = files("crocbot") / "mapping.yml"

Series = tuple[str, frozenset[tuple[str, str]]]
"""A name and its labels."""


class InMemoryBridge:
    """Takes datagrams, gives its page; it has the gateway's mapping file."""

    def __init__(self) -> None:
        self.stats = Stats()
        self._bugs = NoBugs()
        self._store = SeriesStore(
            clock=lambda: 0.0, reserved=exposition.reserved_names()
        )
        self._pipeline = FastPipeline(
            table=mapping.load(str(MAPPING), strict=True),
            store=self._store,
            stats=self.stats,
            bugs=self._bugs,
        )

    def feed(self, datagrams: Sequence[bytes]) -> None:
        """Take datagrams, one at a time."""
        for datagram in datagrams:
            self._pipeline.feed([datagram], "udp")

    def page(self) -> str:
        """Return the page, without the bridge's metrics of itself."""
        self._pipeline.flush()
        families = self._store.families()
        return b"".join(exposition.text.render(families, 0.0, self._bugs)).decode()

    def series(self) -> dict[Series, float]:
        """Return every sample of the page."""
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(self.page())
            for sample in family.samples
        }
