"""The gateway's telemetry against the plain statsd client, in one run."""
