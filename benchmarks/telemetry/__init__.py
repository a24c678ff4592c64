"""The gateway's telemetry beside the plain statsd client, in one run."""
