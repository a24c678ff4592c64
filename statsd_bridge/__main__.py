"""The command `statsd-bridge`, and `python -m statsd_bridge`."""

from statsd_bridge import stderr
from statsd_bridge.signals import SIGNALS

# First, because the imports below take half a second.
SIGNALS.install()
stderr.open_missing_streams()

import sys  # noqa: E402

from statsd_bridge.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
