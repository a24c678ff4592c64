"""
The sources of values: the environment, else `.env`, else a TOML file.

    CROCBOT_ALLOW_FROM=1,2      in the environment, or a line of .env
    allow_from = [1, 2]         in the file that CROCBOT_CONFIG names
    OPENAI_API_KEY_FILE=/x      a secret, from a file

An empty variable counts as unset.  An unknown variable CROCBOT_... gets a warning,
since another program may use it; an unknown key of the TOML file is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from crocbot.errors import OperatorError
from crocbot.proxies import VARIABLES
from crocbot.settings.fields import NAMES, SECRETS, URLS, Settings
from crocbot.settings.files import read_dotenv, read_text, read_toml
from crocbot.settings.names import PREFIX, STATE_DIR, TOKEN
from crocbot.settings.price_file import read_prices
from crocbot.settings.rules import conflict
from crocbot.settings.values import HintError, expand, looks_like_token

CONFIG = "CROCBOT_CONFIG"
ENV_FILE = Path(".env")
FILES = {f"{name}_FILE": name for name in SECRETS}
KNOWN_NAMES = (*NAMES, *FILES, CONFIG)
NO_TOKEN = "0:none"  # noqa: S105
LONG_TOKEN = re.compile(r"[0-9]{6,}:[A-Za-z0-9_-]{30,}")
NO_FILES: Mapping[str, Path] = {}
NO_VARIABLES: Mapping[str, str] = {}
# What a program needs to run at all; any other variable may be a secret.
INHERITED = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TZ", "TMPDIR", "TERM"),
        *("LANG", "LANGUAGE", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONUTF8"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR"),
    }
)

Values = Mapping[str, tuple[Any, str]]
"""Names of settings --> their value, and the source where the operator finds it."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What the sources have: values, warnings, and the files that contain a secret."""

    values: Values
    warnings: list[str]
    secret_files: Mapping[str, Path]


def load(
    environment: Mapping[str, str], env_file: Path | None = ENV_FILE
) -> tuple[Settings, list[str]]:
    """Read all settings; return them with warnings to log.  Raise OperatorError."""
    found = _read(environment, env_file)
    values = _with_secrets(found.values)
    if TOKEN not in values:
        raise OperatorError(
            f"{TOKEN} is not set: make a bot with @BotFather, then run crocbot init, or"
            f" set it to the token, or {TOKEN}_FILE to a file with the token"
            f"{_other_token(environment)}"
            + "".join(f"; {warning}" for warning in found.warnings[:1])
        )
    files = {**found.secret_files, **_named_files(found.values)}
    proxy_variables = _proxy_variables(environment, env_file)
    settings = _validated(values, environment, files, proxy_variables)
    if (error := conflict(settings)) is not None:
        raise OperatorError(error)
    table = read_prices(settings.prices)
    return settings.model_copy(update={"price_table": table}), found.warnings


def load_for_sandbox(
    environment: Mapping[str, str],
    names: Set[str],
    fixed: Mapping[str, str],
    env_file: Path | None = ENV_FILE,
) -> Settings:
    """
    Read these settings, and `fixed` in place of what the sources have for them.

    All others, such as those of the real bot, have their defaults.  Raise
    OperatorError.
    """
    found = _read(environment, env_file).values
    wanted = names - fixed.keys()
    chosen = {name: found[name] for name in found if FILES.get(name, name) in wanted}
    values = {
        **_with_secrets(chosen),
        **{name: (text, name) for name, text in fixed.items()},
    }
    proxy_variables = _proxy_variables(environment, env_file)
    settings = _validated(values, environment, NO_FILES, proxy_variables)
    if (error := conflict(settings)) is not None:
        raise OperatorError(error)
    return settings


def load_only(
    environment: Mapping[str, str], *names: str, env_file: Path | None = ENV_FILE
) -> Settings:
    """
    Read these settings, also a secret in a file, for commands that need no token.

    No other field of the result may be used: the token, for example, is a placeholder.
    The proxies are those of all requests.
    """
    values = _read(environment, env_file).values
    wanted = {*names, *map(_alternative, names)}
    chosen = _with_secrets({each: values[each] for each in wanted & values.keys()})
    placeholders = {TOKEN: NO_TOKEN, STATE_DIR: "."}
    unused = {name: (text, name) for name, text in placeholders.items()}
    for name in names:
        unused.pop(name, None)
    proxy_variables = _proxy_variables(environment, env_file)
    return _validated({**unused, **chosen}, environment, NO_FILES, proxy_variables)


def names_set(
    environment: Mapping[str, str], env_file: Path | None = ENV_FILE
) -> frozenset[str]:
    """Return the names of the settings that have a value anywhere; none is checked."""
    return frozenset(
        FILES.get(name, name) for name in _read(environment, env_file).values
    )


def _validated(
    values: Values,
    environment: Mapping[str, str],
    secret_files: Mapping[str, Path] = NO_FILES,
    proxy_variables: Mapping[str, str] = NO_VARIABLES,
) -> Settings:
    if STATE_DIR not in values:
        values = {STATE_DIR: (_default_state_dir(environment), STATE_DIR), **values}
    fields = {_keyword(name): value for name, (value, _) in values.items()}
    try:
        return Settings(
            agent_environment=_agent_environment(environment),
            secret_files=secret_files,
            proxy_variables=proxy_variables,
            **fields,
        )
    except ValidationError as error:
        # Without its cause, which shows the values, the token among them.
        raise OperatorError(_one_line(error, values)) from None


def _read(environment: Mapping[str, str], env_file: Path | None) -> _Found:
    """Return all settings that are set."""
    dotenv, warnings = read_dotenv(env_file)
    texts = _set(dotenv) | _set(environment)
    values: dict[str, tuple[Any, str]] = {}
    files: dict[str, Path] = {}
    if env_file is not None and (secret := _first_secret(_set(dotenv))):
        files[secret] = env_file
    if CONFIG in texts:
        keys = _toml(texts[CONFIG])
        if _first_secret(keys):
            files[CONFIG] = expand(texts[CONFIG])
        # A secret and the file with it are one setting: the environment wins.
        values |= {
            name: key for name, key in keys.items() if _alternative(name) not in texts
        }
    values |= {
        name: (text, name) for name, text in texts.items() if name in KNOWN_NAMES
    }
    values.pop(CONFIG, None)
    warnings += _unknown_names([*dotenv, *environment])
    return _Found(values, warnings, files)


def _first_secret(names: Iterable[str]) -> str:
    return next((name for name in names if name in SECRETS), "")


def _set(variables: Mapping[str, str]) -> dict[str, str]:
    return {name.upper(): text for name, text in variables.items() if text.strip()}


def _alternative(name: str) -> str:
    """Return the other name under which a secret can be set."""
    return FILES.get(name, f"{name}_FILE")


def _toml(path: str) -> dict[str, tuple[Any, str]]:
    """Return the keys of the TOML file, under the names of the environment."""
    keys = read_toml(path, CONFIG)
    names = {name.removeprefix(PREFIX).lower(): name for name in KNOWN_NAMES}
    del names["config"]
    for key in keys:
        if key not in names:
            word = key.lower().removeprefix(PREFIX.lower())
            hint = _nearest(word, {name: name for name in names})
            raise OperatorError(
                f"{path}: {key[:80]!r} is not a setting of crocbot{hint}"
            )
    return {names[key]: (value, f"{path}: {key}") for key, value in keys.items()}


def _with_secrets(values: Values) -> Values:
    """Replace the paths of files with secrets by the secrets."""
    found = {name: value for name, value in values.items() if name not in FILES}
    for variable, name in FILES.items():
        if variable not in values:
            continue
        if name in values:
            raise OperatorError(f"{name} and {variable} are both set: keep one")
        found[name] = _secret(name, *values[variable])
    return found


def _secret(name: str, path: Any, source: str) -> tuple[str, str]:
    """Read a secret from a file; what may be the secret itself is not shown."""
    if not str(path).startswith(("/", "~", ".")) and not _is_file(path):
        raise OperatorError(
            f"{source} names no file: it must be the path of a file;"
            f" the secret itself belongs in {name}"
        )
    text = read_text(path, source).strip()
    if not text:
        raise OperatorError(f"{source}: {path} is empty")
    return text, source


def _named_files(values: Values) -> dict[str, Path]:
    """Return the files that settings NAME_FILE name; they were read before."""
    named = [values[variable] for variable in FILES if variable in values]
    return {source: expand(str(path)) for path, source in named}


def _is_file(path: object) -> bool:
    try:
        return expand(str(path)).exists()
    except (OSError, ValueError):
        return False


def _other_token(environment: Mapping[str, str]) -> str:
    """Return a remark about a variable with another name that contains a token."""
    for name, text in environment.items():
        if LONG_TOKEN.fullmatch(text.strip()):
            return f"; {name[:80]} contains one"
    return ""


def _keyword(name: str) -> str:
    """Return the name of the argument of Settings."""
    field = NAMES[name]
    return str(Settings.model_fields[field].validation_alias or field)


def _default_state_dir(environment: Mapping[str, str]) -> Path:
    """Return the state directory of the XDG Base Directory Specification."""
    state = Path(environment.get("XDG_STATE_HOME") or "")
    # The specification says to ignore a relative path.
    if state.is_absolute():
        return state / "crocbot"
    try:
        home = Path(environment.get("HOME") or "~").expanduser()
    except RuntimeError as error:
        raise OperatorError(
            f"{STATE_DIR} is not set, and there is no home directory:"
            f" set {STATE_DIR} to a directory"
        ) from error
    return home / ".local/state" / "crocbot"


def _agent_environment(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: text
        for name, text in environment.items()
        if name in INHERITED or name.startswith("LC_")
    }


def _proxy_variables(
    environment: Mapping[str, str], env_file: Path | None
) -> dict[str, str]:
    """Return the variables about proxies; those of `.env` only if there are none."""
    for variables in (environment, read_dotenv(env_file)[0]):
        found = {name: variables[name] for name in VARIABLES & variables.keys()}
        if any(text.strip() for text in found.values()):
            return found
    return {}


def _one_line(error: ValidationError, values: Values) -> str:
    """Return the first error: the source, the value, and the rule."""
    first = error.errors(include_url=False)[0]
    keyword = str(first["loc"][0])
    name = next(name for name in NAMES if _keyword(name) == keyword)
    rule = Settings.model_fields[NAMES[name]].description
    value, source = values[name]
    hint = first.get("ctx", {}).get("error")
    if isinstance(hint, HintError):
        rule = f"{rule}; {hint}"
    if name == TOKEN:
        return f"{source} is not a token: {rule}"
    if name in SECRETS or (name in URLS and _may_have_secret(str(value))):
        return f"{source} is not valid: {rule}"
    # Of a list only the item that is wrong.
    wrong = value if isinstance(value, str | int | float) else first["input"]
    return f"{source} is {repr(wrong)[:80]}: {rule}"


def _may_have_secret(url: str) -> bool:
    return "@" in url or looks_like_token(url)


def _unknown_names(names: Iterable[str]) -> list[str]:
    """Return a warning about each CROCBOT_ variable that is no setting."""
    known = {name.removeprefix(PREFIX): name for name in KNOWN_NAMES}
    return [
        f"{name[:80]!r} is not a setting of crocbot{_nearest(word, known)}"
        for name in sorted({name.upper() for name in names})
        if (word := name.removeprefix(PREFIX)) != name and word not in known
    ]


def _nearest(word: str, known: Mapping[str, str]) -> str:
    near = get_close_matches(word, known, n=1)
    return f"; did you mean {known[near[0]]}?" if near else ""
