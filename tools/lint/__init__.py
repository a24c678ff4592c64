"""Checks of prose, links and structure that ruff does not have: `make lint`."""
