"""Raw JSON of an update, of which nothing is known yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def object_at(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the object under a key; an empty one if there is none."""
    found = value.get(name)
    return found if isinstance(found, Mapping) else {}
