"""What the page and /api/v1/ show, put together for one bridge."""

from __future__ import annotations

import time
from typing import Protocol

from statsd_bridge.exposition import BridgeState
from statsd_bridge.inspection.cardinality import Cardinality, CardinalityQuery
from statsd_bridge.inspection.growth import Growth, Sample, take_sample
from statsd_bridge.inspection.makers import RuleFinder
from statsd_bridge.inspection.rows import series_row
from statsd_bridge.inspection.rules import RulesQuery, rules_page
from statsd_bridge.inspection.search import (
    Selection,
    SeriesQuery,
    search,
    search_sample,
)
from statsd_bridge.inspection.status import ServiceState, status
from statsd_bridge.inspection.steps import Json, Steps, json_length, run_at_once
from statsd_bridge.inspection.traffic import Look, TrafficHistory, take_look
from statsd_bridge.inspection.unmapped import Suggestions, with_suggestions
from statsd_bridge.model import Clock
from statsd_bridge.pipeline import Pipeline
from statsd_bridge.series import GrowingSeries, SeriesStore

MAX_PAGE_BYTES = 512 * 1024
"""Bytes of a page of series, about; beyond it the page ends early."""

MAX_SAMPLE_BYTES = 64 * 1024
"""The same of a page of a sample, which is made at once."""

ROW_BYTES, NUMBER_BYTES = 200, 20
"""A row besides its labels and buckets, and a number of a bucket."""

LINE_BYTES = 32
"""Bytes that take as long as a line of a counter on a page."""

MAX_SAMPLE_SERIES = 500
MAX_SAMPLE_FAMILIES = 500
MAX_SAMPLE_RULES = 1_000
"""What is looked at for a page without JavaScript, about a millisecond."""


class Source(Protocol):
    """The bridge that is shown."""

    def state(self) -> BridgeState:
        """Return the counters and sizes now."""

    @property
    def plain(self) -> Pipeline:
        """The path, a line at a time: the rules, and what they did not match."""

    def service_state(self) -> ServiceState:
        """Return what else is known of the process."""

    def flush(self) -> None:
        """Receive and process what has arrived until now."""


class Inspector:
    """
    Looks at one bridge; `wall_clock` is Unix time.

    The methods return values for JSON, or the steps of making them.
    """

    def __init__(
        self, source: Source, store: SeriesStore, wall_clock: Clock = time.time
    ) -> None:
        self._source = source
        self._store = store
        self._wall_clock = wall_clock
        self.started_at = wall_clock()
        self._history = TrafficHistory(self._look())
        self._growth = Growth(Sample(clock=store.now()))
        self._cardinality = Cardinality(store, source.state().stats)
        self._suggestions = Suggestions()
        self._rule_finder: RuleFinder | None = None

    def look(self) -> None:
        """Take a look at the counters; call it every STEP_SECONDS."""
        self._history.add(self._look())

    def _look(self) -> Look:
        return take_look(self._source.state(), self._wall_clock(), self._store.now())

    def status(self) -> Json:
        """Return whether all is well, and the head of the page."""
        source = self._source
        return status(
            source.state(),
            source.service_state(),
            self._history,
            self._look(),
            self.started_at,
        )

    def traffic(self, since: float = 0.0) -> Json:
        """Return the charts, from a Unix time on."""
        return self._history.charts(since)

    def series(self, query: SeriesQuery) -> Steps[Json]:
        """Return a page of series."""
        self._source.flush()
        yield from self._find_rules()
        selection = yield from search(self._store, query)
        page = yield from self._page(selection)
        return page

    def _find_rules(self) -> Steps[None]:
        """Prepare to find the rules of series, once for each mapping file."""
        table = self._source.plain.table
        if self._rule_finder is None or self._rule_finder.table is not table:
            finder = RuleFinder(table)
            yield from finder.build()
            self._rule_finder = finder

    def rules(self, query: RulesQuery) -> Steps[Json]:
        """Return a page of rules."""
        self._source.flush()
        page = yield from rules_page(self._source.plain.table, query)
        return page

    def unmapped(self) -> Json:
        """Return unmapped names, each with a rule for it, and refused lines."""
        self._source.flush()
        return with_suggestions(self._source.plain, self._suggestions)

    def sample_series(self, query: SeriesQuery) -> Json:
        """Return a page of a bounded sample of the series, at once."""
        self._source.flush()
        if len(self._source.plain.table) <= MAX_SAMPLE_RULES:
            run_at_once(self._find_rules())
        selection = search_sample(self._store, query, MAX_SAMPLE_SERIES)
        page = run_at_once(self._page(selection, MAX_SAMPLE_BYTES))
        is_all = selection.looked_at >= len(self._store) or query.name is not None
        return page | {"complete": page["complete"] and is_all}

    def sample_growth(self) -> Steps[None]:
        """Take a sample of the sizes of families; call it every SAMPLE_SECONDS."""
        sample = yield from take_sample(self._store)
        self._growth.add(sample)

    def cardinality(self, query: CardinalityQuery) -> Steps[Json]:
        """Return the families with the most series, bytes or growth."""
        self._source.flush()
        answer = yield from self._cardinality.rank(query, self._growth.oldest)
        return answer

    def sample_cardinality(self, query: CardinalityQuery) -> Json:
        """Return the same of a bounded sample of the families, at once."""
        self._source.flush()
        before = self._growth.oldest
        return self._cardinality.sample(query, before, MAX_SAMPLE_FAMILIES)

    def _page(
        self, selection: Selection, max_bytes: int = MAX_PAGE_BYTES
    ) -> Steps[Json]:
        finder = self._rule_finder
        if finder is not None and finder.table is not self._source.plain.table:
            finder = None
        found, has_more = selection.found()
        now, rows, size, after = self._store.now(), list[Json](), 0, None
        for each in found:
            if max_bytes == MAX_SAMPLE_BYTES and isinstance(each.series, GrowingSeries):
                size += each.series.page_lines(now) * LINE_BYTES
            row = series_row(each, now, finder)
            rows.append(row)
            after = each.position
            numbers = row.get("buckets") or row.get("quantiles") or ()
            size += ROW_BYTES + json_length(each.label_text)
            size += 2 * NUMBER_BYTES * len(numbers) + row.get("buckets_left_out", 0)
            if size > max_bytes:
                break
            yield
        is_cut = len(rows) < len(found)
        return {
            "series": rows,
            "next": after.token() if after and (has_more or is_cut) else None,
            "complete": not is_cut,
            "looked_at": selection.looked_at,
        }
