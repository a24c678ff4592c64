"""The longest texts that a series may have by default, in bytes of UTF-8."""

from __future__ import annotations

from typing import Final

MAX_NAME_BYTES: Final = 1_024
MAX_LABEL_NAME_BYTES: Final = 256
MAX_LABEL_VALUE_BYTES: Final = 4_096
