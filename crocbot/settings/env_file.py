"""
A `.env` file that a command changes: its lines, the changes, and how it is replaced.

    file = EnvFile.read(path)
    new = file.with_values({"CROCBOT_AGENT": "http", "OPENAI_API_KEY_FILE": None})
    file.changes(new)       --> ["- CROCBOT_AGENT=echo", "+ CROCBOT_AGENT=http"]
    file.replace(new)       --> the copy of the old file

Lines that do not change stay as they are, with comments, order and line ends.  The new
file has mode 600 from its first byte on and takes the place of the old one at once; if
anything fails, or the process is ended, the old one is still there.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from io import StringIO
from itertools import count
from pathlib import Path

from dotenv.parser import Binding, parse_stream

from crocbot.errors import OperatorError
from crocbot.settings.fields import SECRETS, URLS
from crocbot.settings.files import MAX_FILE_BYTES
from crocbot.settings.quoting import quote
from crocbot.settings.values import looks_like_token

PRIVATE_FILE = 0o600
HEADER = "# Settings of crocbot; docs/settings.md has all of them.\n"
BYTE_ORDER_MARK = "\ufeff"
# A line NAME=value: what is before the value, the value, and a comment after it.
LINE = re.compile(
    r"""(\s*(?:export[^\S\r\n]+)?[^=\s]+[^\S\r\n]*=[^\S\r\n]*)
    (?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[^\r\n]*?)
    ([^\S\r\n]+\#[^\r\n]*)?[^\S\r\n]*((?:\r\n|\n|\r)?)""",
    re.VERBOSE | re.DOTALL,
)
MASK = "***"


@dataclass(frozen=True, slots=True)
class EnvFile:
    """A file, at the end of all links, and its text; None if there is no file."""

    path: Path
    text: str | None = None

    @classmethod
    def read(cls, path: Path) -> EnvFile:
        """Read a file; raise OperatorError if it is not a text file."""
        with _operator_errors(path):
            file = path.resolve()
            try:
                mode = file.stat().st_mode
            except FileNotFoundError:
                return cls(file)
            if not stat.S_ISREG(mode):
                raise OperatorError(f"{path} is not a regular file")
            content = file.read_bytes()
            if len(content) > MAX_FILE_BYTES:
                raise OperatorError(f"{path} has more than {MAX_FILE_BYTES} bytes")
            return cls(file, content.decode())

    @property
    def values(self) -> dict[str, str]:
        """Return the variables that are set, under their names in upper case."""
        found = {
            binding.key.upper(): binding.value or ""
            for binding in self._bindings()
            if binding.key
        }
        return {name: value for name, value in found.items() if value.strip()}

    def with_values(self, values: Mapping[str, str | None]) -> EnvFile:
        """Return the file with these values; a variable with None is removed."""
        present = self.values
        wanted = {
            name: value for name, value in values.items() if value != present.get(name)
        }
        bindings = self._bindings()
        last = {each.key.upper(): n for n, each in enumerate(bindings) if each.key}
        lines = [
            self._line(binding, wanted, is_last=last.get(_name(binding)) == number)
            for number, binding in enumerate(bindings)
        ]
        text = "".join(lines) or HEADER
        end = "\r\n" if "\r\n" in text else "\n"
        added = [
            f"{name}={quote(name, value)}{end}"
            for name, value in wanted.items()
            if value is not None and name not in last
        ]
        if added and not text.endswith(("\n", "\r")):
            text += end
        if self.text is not None and self.text.startswith(BYTE_ORDER_MARK):
            text = BYTE_ORDER_MARK + text
        return replace(self, text=text + "".join(added))

    def changes(self, new: EnvFile) -> list[str]:
        """Return a line for each value that differs; secrets are masked."""
        old_values, new_values = self.values, new.values
        lines = []
        for name in dict.fromkeys([*old_values, *new_values]):
            old, changed = old_values.get(name), new_values.get(name)
            if old == changed:
                continue
            lines += [] if old is None else [f"- {name}={masked(name, old)}"]
            lines += [] if changed is None else [f"+ {name}={masked(name, changed)}"]
        return lines

    def replace(self, new: EnvFile) -> Path | None:
        """Write the new text; return where the copy of the old file is, if any."""
        copy = None
        with _operator_errors(self.path), private_copy(self.path, new) as draft:
            if EnvFile.read(self.path).text != self.text:
                raise OperatorError(f"{self.path} was changed meanwhile: try again")
            if self.text is not None:
                copy = _keep(self.path, self.text)
            draft.rename(self.path)
            _sync(self.path.parent)
        return copy

    def _bindings(self) -> list[Binding]:
        text = (self.text or "").removeprefix(BYTE_ORDER_MARK)
        return list(parse_stream(StringIO(text, newline="")))

    @staticmethod
    def _line(
        binding: Binding, wanted: Mapping[str, str | None], *, is_last: bool
    ) -> str:
        """Return the line of a binding, changed, unchanged, or removed."""
        line, name = binding.original.string, _name(binding)
        if name not in wanted:
            return line
        value = wanted[name]
        blank = line[: len(line) - len(line.lstrip())]
        if value is None:
            return blank
        if not is_last:
            return line
        if (parts := LINE.fullmatch(line)) is None:
            # NAME alone, without an equals sign.
            return f"{blank}{name}={quote(name, value)}\n"
        return f"{parts[1]}{quote(name, value)}{parts[2] or ''}{parts[3]}"


@contextmanager
def private_copy(path: Path, file: EnvFile) -> Iterator[Path]:
    """Write a text beside a path, for its owner only; removed at the end if there."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
    try:
        _write_new(draft, file.text or "")
        yield draft
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()


def masked(name: str, value: str) -> str:
    """Return a value for the terminal: nothing of a secret, no control character."""
    if name in SECRETS or (name in URLS and "@" in value) or looks_like_token(value):
        return MASK
    return escaped(value)


def escaped(text: str) -> str:
    """Return a text with every character escaped that a terminal may obey."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in text
    )


def _name(binding: Binding) -> str:
    return (binding.key or "").upper()


def _keep(path: Path, text: str) -> Path:
    """Write a copy under the first name that is free."""
    names: Iterable[str] = (f".{number}" if number else "" for number in count())
    for end in names:
        copy = path.with_name(f"{path.name}.bak{end}")
        try:
            _write_new(copy, text)
        except FileExistsError:
            continue
        return copy
    raise AssertionError


def _write_new(path: Path, text: str) -> None:
    """Write a file that does not exist, which only its owner can ever read."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, PRIVATE_FILE)
    try:
        # A umask may take further bits away.
        os.fchmod(descriptor, PRIVATE_FILE)
        with open(descriptor, "w", encoding="utf-8", newline="") as file:  # noqa: PTH123
            file.write(text)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _sync(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _operator_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise OperatorError(f"{path} cannot be read: it is not UTF-8") from error
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OperatorError(f"{path} cannot be written: {reason}") from error
