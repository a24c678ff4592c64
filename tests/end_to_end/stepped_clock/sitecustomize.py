"""
A system clock that a test steps: Python imports this module at its start.

The file that STEPPED_CLOCK_FILE names has the seconds to add to the system's time.
The monotonic clock is left alone, as by a real step.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_time = time.time
_file = Path(os.environ["STEPPED_CLOCK_FILE"])


def _stepped() -> float:
    return _time() + float(_file.read_text(encoding="ascii") or 0)


time.time = _stepped
time.time_ns = lambda: int(_stepped() * 1_000_000_000)
