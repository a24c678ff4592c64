"""
A position in the order of all series: by name, then by the text of the labels.

A page of results ends at one, and the next page begins after it.  It is no number of
series, which would move when series come and go.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import NamedTuple, Self

MAX_KEY_LENGTH = 512
"""Characters of a text that are compared; all others count by their digest."""

MAX_TOKEN_LENGTH = 12_000
"""Two keys of characters that take four bytes each, in base64."""


def key_of(text: str) -> str:
    """Return a text of bounded length by which texts are ordered, each different."""
    if len(text) <= MAX_KEY_LENGTH:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return text[:MAX_KEY_LENGTH] + digest


class Position(NamedTuple):
    """The keys of a name and of a label text."""

    name: str
    labels: str = ""

    @classmethod
    def of(cls, name: str, label_text: str) -> Self:
        """Return the position of a series."""
        return cls(key_of(name), key_of(label_text))

    @classmethod
    def parse(cls, token: str) -> Self:
        """Read a token; raise ValueError if it is not one."""
        try:
            padded = token.encode("ascii") + b"=" * (-len(token) % 4)
            text = base64.b64decode(padded, b"-_", validate=True)
            found = json.loads(text.decode("utf-8", "surrogatepass"))
        except (ValueError, RecursionError, binascii.Error) as error:
            raise ValueError("is not a token of a page before") from error
        match found:
            case [str(name), str(labels)] if len(token) <= MAX_TOKEN_LENGTH:
                return cls(name, labels)
        raise ValueError("is not a token of a page before")

    def token(self) -> str:
        """Return the position as an opaque text for a URL."""
        text = json.dumps(self, ensure_ascii=False, separators=(",", ":"))
        data = text.encode("utf-8", "surrogatepass")
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


START = Position("")
"""Before all series: no name is empty."""
