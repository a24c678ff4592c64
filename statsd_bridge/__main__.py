"""The command `statsd-bridge`, and `python -m statsd_bridge`."""

import gc
import sys

from statsd_bridge.signals import SIGNALS

# First, because the imports below take a quarter of a second.
SIGNALS.install_for(sys.argv[1:])
# Imports make many objects and hardly any garbage: 50 ms of 300.  A bridge enables it
# again when it starts.
gc.disable()

from statsd_bridge.cli import main  # noqa: E402
from statsd_bridge.stderr import open_missing_streams  # noqa: E402

open_missing_streams()

if __name__ == "__main__":
    sys.exit(main())
