"""The settings of the gateway as the table in docs/settings.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import SecretStr

from crocbot.settings.fields import NAMES, SECRETS, Settings
from crocbot.settings.sources import CONFIG
from tools import markdown

# Defaults that depend on the machine.
_DEFAULTS = {"token": "", "state_dir": "`$XDG_STATE_HOME/crocbot`"}


def table() -> str:
    """Return the generated part of docs/settings.md."""
    return markdown.table(("Name", "Default", "Meaning", "Value"), _rows())


def _rows() -> Iterator[Sequence[str]]:
    for name, field in NAMES.items():
        info = Settings.model_fields[field]
        files = f", `{name}_FILE`" if name in SECRETS else ""
        value = str(info.description).removeprefix("must be ")
        yield f"`{name}`{files}", _default(field), str(info.title), value
    config = "A TOML file with the names of this table in lower case without `CROCBOT_`"
    yield f"`{CONFIG}`", "", f"{config}.", "a file"


def _default(field: str) -> str:
    if field in _DEFAULTS:
        return _DEFAULTS[field]
    info = Settings.model_fields[field]
    value = info.default
    if isinstance(value, bool):
        yes, no = str(info.description).removeprefix("must be ").split(" or ")
        return f"`{yes if value else no}`"
    if not value or isinstance(value, SecretStr):
        return "0" if value == 0 else ""
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
