"""
A gateway on a disk that is nearly full, as far as it can see.

    python -m tests.end_to_end.nearly_full_gateway FILE

FILE has the number of MiB that are free on a disk of 20 GiB.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from crocbot import cli
from crocbot.service import disk

MIB = 1 << 20


def main(file: Path) -> int:
    """Run the gateway."""
    real = os.statvfs

    def statvfs(path: Any) -> Any:
        real(path)
        free = int(file.read_text())
        return SimpleNamespace(f_frsize=MIB, f_blocks=20 * 1024, f_bavail=free)

    os.statvfs = statvfs
    disk.INTERVAL_SECONDS = 0.2
    return cli.main(["gateway"])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
