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
    pages.check_paths,
    pages.check_named_files,
    pages.check_named_tests,
    structure.check_length,
    structure.check_drawings,
    structure.check_constructors,
    structure.check_bounds,
    structure.check_test_docstrings,
    words.check_words,
)


def main() -> int:
    """Run all checks; return the exit code."""
    problems = [problem for check in CHECKS for problem in check()]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
