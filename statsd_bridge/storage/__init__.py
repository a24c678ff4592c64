"""
The series of a run in a file, from its stop to the next start: `--storage.file`.

    stop    store --> write.py --> lines --> file.py --> FILE.tmp --> FILE
    start   FILE --> FILE.taken --> file.py --> lines --> read.py --> store, no file

A line is a JSON document: a header, chunks of series, and an end with a checksum.
`options.py` and `values.py` have the parts of a chunk.  Nothing in a file is executed,
and nothing in it raises an exception that leaves this package, but StorageError.
"""

from __future__ import annotations

from statsd_bridge.storage.clock import WrittenAt
from statsd_bridge.storage.file import SeriesFile, Taken, Written
from statsd_bridge.storage.read import SeriesReader
from statsd_bridge.storage.write import chunks_of_series

__all__ = [
    "SeriesFile",
    "SeriesReader",
    "Taken",
    "Written",
    "WrittenAt",
    "chunks_of_series",
]
