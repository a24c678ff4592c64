"""
Typed access to the parsed JSON of an update.

    Fields({"id": "7"}, "message.chat").integer("id")
    --> EnvelopeError: message.chat.id is not an integer

A field that is null counts as missing, like one that is not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from crocbot.errors import EnvelopeError

# Old servers send these for a field that newer ones leave out.
ABSENT: tuple[Any, ...] = (None, False, "", [])
# Telegram's longest, and SQLite's.
MAX_INTEGER = 2**63 - 1


def is_integer(value: object) -> TypeGuard[int]:
    """Return whether a value is an integer of at most 64 bits, and no boolean."""
    return type(value) is int and abs(value) <= MAX_INTEGER


class Fields:
    """
    The fields of one object; `path` is its name in errors.

    Each method raises EnvelopeError if the field has another type; those without
    `optional` in their name, also if it is missing.
    """

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, Mapping):
            raise EnvelopeError(f"{path} is not an object")
        self._value: Mapping[str, Any] = value
        self.path = path

    def has(self, name: str) -> bool:
        """Return whether a field is there, and neither false nor an empty list."""
        return self._value.get(name) not in ABSENT

    def names(self) -> Sequence[str]:
        """Return the names of all fields."""
        return list(self._value)

    def raw(self, name: str) -> Any:
        """Return a field as it was sent, None if it is missing."""
        return self._value.get(name)

    def text(self, name: str) -> str:
        """Return a text."""
        value = self._required(name)
        if not isinstance(value, str):
            raise self._wrong(name, "a text")
        return value

    def optional_text(self, name: str) -> str | None:
        """Return a text, or None."""
        return None if self.raw(name) is None else self.text(name)

    def integer(self, name: str) -> int:
        """Return an integer."""
        value: object = self._required(name)
        if not is_integer(value):
            raise self._wrong(name, "an integer")
        return value

    def optional_integer(self, name: str) -> int | None:
        """Return an integer, or None."""
        return None if self.raw(name) is None else self.integer(name)

    def number(self, name: str) -> float:
        """Return a number."""
        value = self._required(name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self._wrong(name, "a number")
        return value

    def fields(self, name: str) -> Fields:
        """Return an object."""
        return Fields(self._required(name), f"{self.path}.{name}")

    def optional_fields(self, name: str) -> Fields | None:
        """Return an object, or None."""
        return None if self.raw(name) is None else self.fields(name)

    def objects(self, name: str) -> list[Fields]:
        """Return a list of objects; a missing one is empty."""
        value = self.raw(name)
        values = [] if value is None else value
        if not isinstance(values, list):
            raise self._wrong(name, "a list")
        path = f"{self.path}.{name}"
        return [Fields(each, f"{path}[{i}]") for i, each in enumerate(values)]

    def _required(self, name: str) -> Any:
        value = self.raw(name)
        if value is None:
            raise EnvelopeError(f"{self.path}.{name} is missing")
        return value

    def _wrong(self, name: str, type_: str) -> EnvelopeError:
        return EnvelopeError(f"{self.path}.{name} is not {type_}")
