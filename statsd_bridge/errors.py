"""
What stops the bridge, as one tree.

Bad input is never here: it is a value (model.Fault, model.Refusal) and a count.
"""

from __future__ import annotations


class BridgeError(Exception):
    """Something that the operator must change; its text is the one line to show."""


class ConfigError(BridgeError):
    """A file of the operator's that cannot be used: file, key and reason."""


class BindError(BridgeError):
    """An address that cannot be listened on."""
