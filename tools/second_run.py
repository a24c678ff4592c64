"""
Run the tests that have failed once more, alone: `make tests` after a failure.

    pytest, several at once --> failed: a, b --> pytest a b, one after the other

Tests with real processes wait for them with deadlines.  On a machine that stands still
for some seconds while several run at once, a deadline can pass and nothing is wrong.
What fails alone as well fails the build; what passes is named at the end, and is a test
to be mended.  More than MAX_TESTS are no chance, and are not run again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

FAILED = Path(".pytest_cache/v/cache/lastfailed")
"""Where pytest records the failed tests of a run that began with --cache-clear."""

MAX_TESTS = 3


def main(record: Path = FAILED) -> int:
    """Run the recorded tests again; return 0 if all of them pass, 1 otherwise."""
    failed = sorted(json.loads(record.read_text())) if record.exists() else []
    if not 0 < len(failed) <= MAX_TESTS:
        print(f"not run again: {len(failed)} failed, at most {MAX_TESTS} are run again")
        return 1
    print("run again, alone:", *failed, sep="\n  ", flush=True)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *failed]
    if subprocess.run(command, check=False).returncode:
        return 1
    print("failed only beside others, to be mended:", *failed, sep="\n  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
