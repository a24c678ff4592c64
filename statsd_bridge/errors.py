"""
Exceptions that stop the bridge, in one hierarchy.

Bad input is not here: it is a value (model.ParseError, model.Rejection) and a count.
"""

from __future__ import annotations


class BridgeError(Exception):
    """An error that the operator must fix; its text is one line."""


class ConfigError(BridgeError):
    """A file that cannot be used; the text has the file, the key and the reason."""


class BindError(BridgeError):
    """An address or an inherited socket that cannot be listened on."""
