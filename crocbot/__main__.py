"""`python -m crocbot`."""

import sys

from crocbot.cli import main

sys.exit(main())
