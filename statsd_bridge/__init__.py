"""Statsd in, Prometheus out. Start reading at model.py, then pipeline.py."""
