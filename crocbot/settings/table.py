"""
The settings to the table in docs/settings.md.

    python -m crocbot.settings.table           writes it
    python -m crocbot.settings.table --check   exits 1 when it is stale
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr

from crocbot import generated
from crocbot.settings.fields import NAMES, SECRETS, Settings
from crocbot.settings.sources import CONFIG

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
MODULE = "crocbot.settings.table"
# What a machine decides cannot be in a file that is the same everywhere.
DEFAULTS = {"token": "", "state_dir": "`$XDG_STATE_HOME/crocbot`"}


def table() -> str:
    """Write the generated part."""
    rows = ["| Name | Default | Meaning | Value |", "|---|---|---|---|", *_rows()]
    return "\n".join(rows)


def _rows() -> Iterator[str]:
    for name, field in NAMES.items():
        info = Settings.model_fields[field]
        files = f", `{name}_FILE`" if name in SECRETS else ""
        right = str(info.description).removeprefix("must be ")
        yield f"| `{name}`{files} | {_default(field)} | {info.title} | {right} |"
    config = "A TOML file with the names of this table in lower case without `CROCBOT_`"
    yield f"| `{CONFIG}` |  | {config}. | a file |"


def _default(field: str) -> str:
    if field in DEFAULTS:
        return DEFAULTS[field]
    value = Settings.model_fields[field].default
    if not value or isinstance(value, SecretStr):
        return "0" if value == 0 else ""
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def main(arguments: list[str] | None = None) -> int:
    """Write the page, or with --check say that it is stale."""
    return generated.main(
        MODULE, lambda: {PAGE: generated.framed(PAGE, MODULE, table())}, arguments
    )


if __name__ == "__main__":
    sys.exit(main())
