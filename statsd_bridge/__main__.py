"""`python -m statsd_bridge`."""

import sys

from statsd_bridge.cli import main

sys.exit(main())
