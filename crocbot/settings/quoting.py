"""
Values to the right-hand side of a line in `.env`, so that three readers agree.

    sk-1234         --> sk-1234              letters, digits and a few other characters
    a b $c          --> 'a b $c'             nothing is replaced between apostrophes
    it's            --> "it's"               backslash and quotation mark are escaped

The readers are python-dotenv, the `env_file` of docker compose, and systemd's
EnvironmentFile.  A value that they would read differently raises OperatorError.
"""

from __future__ import annotations

import re
import shlex

from crocbot.errors import OperatorError

PLAIN = re.compile(r"[A-Za-z0-9_./:,@%+=?&~-]*")
# Between apostrophes python-dotenv reads two backslashes as one, and all readers take
# one before an apostrophe for an escape.
IN_APOSTROPHES = re.compile(r"(?:[^'\\]|\\(?![\\']|\Z))*")
# docker compose replaces variables between quotation marks.
IN_QUOTATION_MARKS = re.compile(r"[^$]*")
# python-dotenv replaces it however it is quoted.
VARIABLE = "${"
COMMAND = "CROCBOT_AGENT_COMMAND"


def quote(name: str, value: str) -> str:
    """Return a value as the text after `NAME=`; OperatorError if none is safe."""
    for char in value:
        if not char.isprintable():
            raise OperatorError(f"{name}: {char!r} cannot be in a line of .env")
    spellings = [value, _respelled(value)] if name == COMMAND else [value]
    for text in spellings:
        if (quoted := _quoted(text)) is not None:
            return quoted
    raise OperatorError(
        f"{name}: its characters cannot be in a line of .env that every program reads"
        " alike: set it in the environment, or in the file that CROCBOT_CONFIG names"
    )


def _quoted(value: str) -> str | None:
    if PLAIN.fullmatch(value):
        return value
    if VARIABLE in value:
        return None
    if IN_APOSTROPHES.fullmatch(value):
        return f"'{value}'"
    if IN_QUOTATION_MARKS.fullmatch(value):
        escaped = re.sub(r'[\\"]', r"\\\g<0>", value)
        return f'"{escaped}"'
    return None


def _respelled(command: str) -> str:
    """Return a command with its words in quotation marks, not in apostrophes."""
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    return " ".join(
        word
        if word and PLAIN.fullmatch(word)
        else '"' + re.sub(r'[\\"]', r"\\\g<0>", word) + '"'
        for word in words
    )
