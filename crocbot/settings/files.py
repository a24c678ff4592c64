"""
Reads `.env`, TOML files and files with a secret; an error names the file and the line.

    TELEGRAM_BOT_TOKEN: 123   in .env --> a warning: .env: line 1 is not NAME=value

Files are UTF-8; a byte order mark, which editors of Windows write, is no part of them.
"""

from __future__ import annotations

import logging
import os
import select
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings, DotEnvSettingsSource

from crocbot.errors import OperatorError
from crocbot.settings.values import expand

ENCODING = "utf-8-sig"
# Such a file may also be a device or a pipe, whose size is not known.
MAX_FILE_BYTES = 1024 * 1024
# A pipe may have no writer, or one that writes nothing.
READ_SECONDS = 5.0


def read_text(path: object, source: str) -> str:
    """Return the text of a file that the setting `source` names."""
    try:
        content = _read(expand(str(path)))
        if len(content) > MAX_FILE_BYTES:
            raise ValueError(f"it has more than {MAX_FILE_BYTES} bytes")
        return content.decode(ENCODING)
    except OSError as error:
        reason = error.strerror or str(error)
    except UnicodeDecodeError:
        reason = "it is not UTF-8"
    except ValueError as error:
        reason = str(error)
    raise OperatorError(f"{source}: cannot read {path}: {reason}")


def _read(file: Path) -> bytes:
    """Return the first bytes of a file or a pipe.  Raise OSError or ValueError."""
    deadline, content = time.monotonic() + READ_SECONDS, b""
    # To open a pipe without a writer would wait for one.
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
        while len(content) <= MAX_FILE_BYTES:
            left = max(deadline - time.monotonic(), 0.0)
            if not waiting.poll(left * 1000):
                raise ValueError(f"nothing was written to it in {READ_SECONDS:g} s")
            part = os.read(descriptor, MAX_FILE_BYTES + 1 - len(content))
            if not part:
                break
            content += part
    finally:
        os.close(descriptor)
    return content


def read_toml(
    path: str, source: str, *, parse_float: type = float
) -> Mapping[str, Any]:
    """
    Return the keys of a TOML file that are set; an empty text counts as unset.

    `parse_float` is the type of its numbers with a decimal point.
    """
    text = read_text(path, source)
    try:
        keys = tomllib.loads(text, parse_float=parse_float)
    except ValueError as error:
        raise OperatorError(f"{source}: {path} is not TOML: {error}") from error
    except RecursionError as error:
        raise OperatorError(
            f"{source}: {path} is not TOML: it is nested too deeply"
        ) from error
    return {
        key: value
        for key, value in keys.items()
        if not isinstance(value, str) or value.strip()
    }


def read_dotenv(file: Path | None) -> tuple[dict[str, str], list[str]]:
    """
    Return the variables of `.env`, and a warning about each line that is none.

    A variable without a value has an empty one.
    """
    with _unreadable_lines() as lines:
        try:
            source = DotEnvSettingsSource(BaseSettings, file, ENCODING)
        except OSError as error:
            reason = error.strerror or str(error)
            raise OperatorError(f"{file} cannot be read: {reason}") from error
        except UnicodeDecodeError as error:
            raise OperatorError(f"{file} cannot be read: it is not UTF-8") from error
    variables = {name: text or "" for name, text in source.env_vars.items()}
    return variables, [f"{file}: line {line} is not NAME=value" for line in lines]


@contextmanager
def _unreadable_lines() -> Iterator[list[object]]:
    """Collect the numbers of the lines that python-dotenv cannot read: it logs them."""
    logger = logging.getLogger("dotenv.main")
    handler = _LineNumbers()
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield handler.lines
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate


class _LineNumbers(logging.Handler):
    """Keeps the argument of each record, which is the number of a line."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[object] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the first argument."""
        arguments = record.args
        self.lines.append(arguments[0] if isinstance(arguments, tuple) else "?")
