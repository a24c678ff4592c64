"""The command `statsd-bridge`, and `python -m statsd_bridge`."""

import sys

from statsd_bridge.signals import SIGNALS

# First, because the imports below take half a second.
SIGNALS.install_for(sys.argv[1:])

from statsd_bridge.cli import main  # noqa: E402
from statsd_bridge.stderr import open_missing_streams  # noqa: E402

open_missing_streams()

if __name__ == "__main__":
    sys.exit(main())
