"""Benchmarks of both programs beside others, in one run: see README.md."""
