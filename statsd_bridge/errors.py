"""
Exceptions that stop the bridge, in one hierarchy, and the text of their messages.

Bad input is not here: it is a value (model.ParseError, model.Rejection) and a count.
"""

from __future__ import annotations


class BridgeError(Exception):
    """An error that the operator must fix; its text is one line."""


class ConfigError(BridgeError):
    """A file that cannot be used; the text has the file, the key and the reason."""


class BindError(BridgeError):
    """An address or an inherited socket that cannot be listened on."""


class StorageError(BridgeError):
    """A file with the series of an earlier run that cannot be used; the reason."""


def escaped(text: str) -> str:
    r"""
    Return a text with each character that cannot be seen as an escape.

    Those are control characters, line separators, characters that change the direction
    of a text or have no width, spaces other than U+0020, and lone surrogates: `\x1b`,
    `\u202e`.
    """
    return "".join(
        each
        if each.isprintable()
        else each.encode("unicode_escape", "surrogatepass").decode()
        for each in text
    )
