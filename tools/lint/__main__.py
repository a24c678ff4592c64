"""
Run all checks and print what is wrong, a line each.

    python -m tools.lint

The exit code is 1 if anything is wrong.
"""

from __future__ import annotations

import sys

from tools.lint import pages, structure, words

CHECKS = (
    pages.check_links,
    pages.check_code_map,
    pages.check_named_files,
    structure.check_length,
    structure.check_test_docstrings,
)
PENDING = (
    structure.check_constructors,
    structure.check_bounds,
    words.check_words,
)
"""Checks whose problems are printed and not yet errors."""


def main() -> int:
    """Run all checks; return the exit code."""
    problems = [problem for check in CHECKS for problem in check()]
    warnings = [problem for check in PENDING for problem in check()]
    for problem in (*problems, *warnings):
        print(problem)
    print(f"tools.lint: {len(problems)} errors, {len(warnings)} warnings")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
