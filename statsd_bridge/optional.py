"""
Leave out optional parts of libraries that a run does not use.

    OpenSSL   Twisted imports it if it is installed, although only TLS needs it: 70 ms
              of CPU at a start, and 10 MB
    rich      structlog imports it if it is installed, for tracebacks on a terminal,
              which the bridge does not print: 30 ms, and 3 MB

Both libraries work without them.  Modules of the bridge that need a library late import
it in the function that does: `document/tree.py` (yaml), `mapping/regex.py` (re2),
`web/guard.py` (OpenSSL, cryptography, bcrypt).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

OF_TLS = ("OpenSSL",)
OF_LOG = ("rich",)


@contextmanager
def left_out(*names: str) -> Iterator[None]:
    """Let no import in the body find these libraries, unless one did before."""
    # Python's import refuses a name that is None here.
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
