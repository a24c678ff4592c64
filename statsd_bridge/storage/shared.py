"""
What many series of a file share: options and help texts, each once in memory.

The memory budget does not count them, since those of samples come from a mapping file,
which is bounded; those of a file of series have a bound of their own.
"""

from __future__ import annotations

from sys import getsizeof

from statsd_bridge.model import MetricOptions

MAX_SHARED_BYTES = 64 * 1024 * 1024
"""Options of 100,000 rules, with texts of 200 letters."""

OPTIONS_BYTES = 400
BUCKET_BYTES = 32
QUANTILE_BYTES = 120


class SharedParts:
    """Options and texts that series already have, to be used again."""

    def __init__(self) -> None:
        self._left = MAX_SHARED_BYTES
        self._texts: dict[str, str] = {}
        self._options: dict[MetricOptions, MetricOptions] = {}

    def text(self, text: str) -> str | None:
        """Return the same text; None if all together would be too large."""
        known = self._texts.get(text)
        if known is None and self._reserve(getsizeof(text)):
            known = self._texts[text] = text
        return known

    def options(self, options: MetricOptions) -> MetricOptions | None:
        """Return the same options; None if all together would be too large."""
        known = self._options.get(options)
        if known is None and self.text(options.help) is not None:
            size = OPTIONS_BYTES + BUCKET_BYTES * len(options.buckets)
            if self._reserve(size + QUANTILE_BYTES * len(options.quantiles)):
                known = self._options[options] = options
        return known

    def _reserve(self, size: int) -> bool:
        if size > self._left:
            return False
        self._left -= size
        return True
