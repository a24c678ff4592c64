"""
Where values come from: the environment, else `.env`, else a TOML file.

    CROCBOT_ALLOW_FROM=1,2      in the environment, or a line of .env
    allow_from = [1, 2]         in the file that CROCBOT_CONFIG names
    OPENAI_API_KEY_FILE=/x      a secret, from a file

An empty variable counts as unset.  A variable that looks like ours and is not gets a
warning; a key of the TOML file that nobody reads is refused, since the file is ours.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import DotEnvSettingsSource

from crocbot.errors import OperatorError
from crocbot.settings.fields import (
    DATABASE,
    NAMES,
    NEEDS,
    PREFIX,
    SECRETS,
    TOKEN,
    TOKEN_RIGHT,
    Settings,
)

CONFIG = "CROCBOT_CONFIG"
ENV_FILE = Path(".env")
FILES = {f"{name}_FILE": name for name in SECRETS}
KNOWN = (*NAMES, *FILES, CONFIG)
# What a program needs to run at all; everything else may be a secret.
INHERITED = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TZ", "TMPDIR", "TERM"),
        *("LANG", "LANGUAGE", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONUTF8"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR"),
    }
)

Values = Mapping[str, tuple[Any, str]]
"""By the name of a setting: its value, and where the operator finds it."""


def load(
    environment: Mapping[str, str], env_file: Path | None = ENV_FILE
) -> tuple[Settings, list[str]]:
    """Read the settings; also returns warnings to show."""
    values, warnings = _read(environment, env_file)
    values = _with_secrets(values)
    if TOKEN not in values:
        raise OperatorError(
            f"{TOKEN} is not set: make a bot with @BotFather and set it to the token,"
            f" or {TOKEN}_FILE to a file with the token"
        )
    fields = {_keyword(name): value for name, (value, _) in values.items()}
    given = {"state_dir": _default_state_dir(environment), **fields}
    try:
        settings = Settings(inherited=_inherited(environment), **given)
    except ValidationError as error:
        # Without its cause, which shows the values, the token among them.
        raise OperatorError(_one_line(error, values)) from None
    for field in NEEDS.get(settings.agent, ()):
        if not getattr(settings, field):
            raise OperatorError(
                f"CROCBOT_AGENT is {settings.agent!r}: it needs {PREFIX}{field.upper()}"
            )
    return settings, warnings


def load_database(
    environment: Mapping[str, str], env_file: Path | None = ENV_FILE
) -> Path:
    """Read only where the state is: for commands that need no bot."""
    values, _ = _read(environment, env_file)
    if "CROCBOT_STATE_DIR" not in values:
        return _default_state_dir(environment) / DATABASE
    return _path(*values["CROCBOT_STATE_DIR"]) / DATABASE


def _path(value: object, place: str) -> Path:
    try:
        return Path(str(value)).expanduser()
    except RuntimeError as error:
        raise OperatorError(f"{place} is {value!r}: nobody has this home") from error


def _read(
    environment: Mapping[str, str], env_file: Path | None
) -> tuple[Values, list[str]]:
    """Everything that is set and known, and warnings about the rest."""
    dotenv = _dotenv(env_file)
    texts = _set(dotenv) | _set(environment)
    found: dict[str, tuple[Any, str]] = {}
    if CONFIG in texts:
        keys = _toml(_path(texts[CONFIG], CONFIG))
        # A secret and the file for it are one setting.
        found |= {name: key for name, key in keys.items() if _twin(name) not in texts}
    found |= {name: (text, name) for name, text in texts.items() if name in KNOWN}
    found.pop(CONFIG, None)
    return found, _warnings([*dotenv, *environment])


def _set(variables: Mapping[str, str]) -> dict[str, str]:
    return {name.upper(): text for name, text in variables.items() if text.strip()}


def _twin(name: str) -> str:
    return FILES.get(name, f"{name}_FILE")


def _dotenv(env_file: Path | None) -> dict[str, str]:
    """The lines of `.env`; a name without a value has an empty one."""
    try:
        source = DotEnvSettingsSource(Settings, env_file, "utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorError(f"{env_file} cannot be read: {error}") from error
    return {name: text or "" for name, text in source.env_vars.items()}


def _toml(file: Path) -> dict[str, tuple[Any, str]]:
    """The keys of the TOML file, under the names of the environment."""
    try:
        keys = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise OperatorError(
            f"{CONFIG}: cannot read {file}: {error.strerror}"
        ) from error
    except ValueError as error:
        raise OperatorError(f"{file} is no TOML: {error}") from error
    names = {name.removeprefix(PREFIX).lower(): name for name in KNOWN}
    del names["config"]
    for key in keys:
        if key not in names:
            hint = _nearest(key, {name: name for name in names})
            raise OperatorError(f"{file}: {key[:80]!r} is no setting of crocbot{hint}")
    return {names[key]: (value, f"{file}: {key}") for key, value in keys.items()}


def _with_secrets(values: Values) -> Values:
    """Replace the files that secrets are in by the secrets."""
    found = {name: value for name, value in values.items() if name not in FILES}
    for variable, name in FILES.items():
        if variable not in values:
            continue
        file, place = values[variable]
        if name in values:
            raise OperatorError(f"{name} and {variable} are both set: keep one")
        try:
            found[name] = (Path(str(file)).read_text(encoding="utf-8").strip(), place)
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise OperatorError(f"{place}: cannot read {file}: {why}") from error
        if not found[name][0]:
            raise OperatorError(f"{place}: {file} is empty")
    return found


def _keyword(name: str) -> str:
    """What the constructor of Settings calls it."""
    field = NAMES[name]
    return str(Settings.model_fields[field].validation_alias or field)


def _default_state_dir(environment: Mapping[str, str]) -> Path:
    """Where the XDG rules want what a program must remember."""
    home = Path(environment.get("HOME") or "~").expanduser()
    state = Path(environment.get("XDG_STATE_HOME") or "")
    # The rules say that a relative path there is to be ignored.
    return (state if state.is_absolute() else home / ".local/state") / "crocbot"


def _inherited(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: text
        for name, text in environment.items()
        if name in INHERITED or name.startswith("LC_")
    }


def _one_line(error: ValidationError, values: Values) -> str:
    """The first thing that is wrong: where it is, what, and what would be right."""
    first = error.errors(include_url=False)[0]
    keyword = str(first["loc"][0])
    name = next(name for name in NAMES if _keyword(name) == keyword)
    right = Settings.model_fields[NAMES[name]].description
    value, place = values[name]
    if name == TOKEN:
        return f"{place} is not a token: {TOKEN_RIGHT}"
    if name in SECRETS:
        return f"{place} is not right: {right}"
    # Of a list it is enough to see what is wrong in it.
    wrong = value if isinstance(value, str | int | float) else first["input"]
    return f"{place} is {repr(wrong)[:80]}: {right}"


def _warnings(names: Iterable[str]) -> list[str]:
    """A word about each CROCBOT_ variable that nobody reads."""
    known = {name.removeprefix(PREFIX): name for name in KNOWN}
    return [
        f"{name[:80]!r} is no setting of crocbot{_nearest(word, known)}"
        for name in sorted({name.upper() for name in names})
        if (word := name.removeprefix(PREFIX)) != name and word not in known
    ]


def _nearest(word: str, known: Mapping[str, str]) -> str:
    near = get_close_matches(word, known, n=1)
    return f"; did you mean {known[near[0]]}?" if near else ""
