"""
Series by their line, for the lines that do not come often enough for a buffer.

    name        suffix
    api.hits    c               -->  counter        + 3

A number is added to its series at once: with very many names in turn each of them has
one number in a batch, and a buffer, which is emptied for each number, costs more time
than it saves, and 100 bytes more.

- A series has at most one such line, and knows it: the line goes with the series.
- The lines are charged to the account of the buffers; without room a new line is
  looked up each time.
"""

from __future__ import annotations

from typing import final

from statsd_bridge.memory import Account
from statsd_bridge.model import SampleFormat
from statsd_bridge.series import Series

MAX_KEY_BYTES = 1_024
"""Length of name and suffix of a line that is remembered."""

KNOWN_LINE_BYTES = 97
"""The place of a line in its table, and its key besides the text."""

TABLE_BYTES = 300
"""A table without lines, and its suffix."""

Table = dict[bytes, Series]


@final
class KnownLines:
    """
    Series by name and suffix of a line, at most one line for each series.

    `tables` are by suffix; lines with tags, whose suffixes differ, are in the one table
    `tagged` by `name|suffix`, since a table for each takes 300 bytes.
    """

    __slots__ = ("_account", "_used", "tables", "tagged")

    def __init__(self, account: Account) -> None:
        self._account = account
        self._used = 0
        self.tables: dict[bytes | None, Table] = {}
        self.tagged: Table = {}

    def add(self, series: Series, key: bytes, format: SampleFormat) -> bool:
        """Add the line of a series that has none; return whether there is room."""
        size = KNOWN_LINE_BYTES + len(key)
        suffix = format.suffix
        table = self.tables.get(suffix) if suffix else self.tagged
        if table is None:
            size += TABLE_BYTES
        account = self._account
        if account.used + size > account.limit:
            return False
        account.used += size
        if table is None:
            table = self.tables[suffix] = {}
        self._used += size
        series.line_key = key
        series.line_format = format
        table[key] = series
        return True

    def find(self, name: bytes, suffix: bytes) -> Series | None:
        """Return the series of a line."""
        table = self.tables.get(suffix)
        if table is not None:
            return table.get(name)
        return self.tagged.get(tagged_key(name, suffix))

    def has(self, series: Series) -> bool:
        """Return whether a series has a line."""
        return self._table_of(series) is not None

    def remove(self, series: Series) -> None:
        """Remove the line of a series, if it has one."""
        table, format = self._table_of(series), series.line_format
        series.line_format = None
        if table is None or format is None:
            return
        key = series.line_key
        del table[key]
        size = KNOWN_LINE_BYTES + len(key)
        if not table and format.suffix:
            del self.tables[format.suffix]
            size += TABLE_BYTES
        self._used -= size
        self._account.release(size)

    def clear(self) -> None:
        """Remove all lines; a series keeps its key until it gets another."""
        self.tables.clear()
        self.tagged.clear()
        self._account.release(self._used)
        self._used = 0

    def _table_of(self, series: Series) -> Table | None:
        """Return the table with the line of a series, unless it was cleared."""
        format = series.line_format
        if format is None:
            return None
        suffix = format.suffix
        table = self.tables.get(suffix) if suffix else self.tagged
        if table is None or table.get(series.line_key) is not series:
            return None
        return table


def tagged_key(name: bytes, suffix: bytes) -> bytes:
    """Return the key of a line with tags; a plain name has no bar."""
    return b"%b|%b" % (name, suffix)
