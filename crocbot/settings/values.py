"""
The types of settings: texts to values, and what a wrong value looks like.

    '-1001234' as a user id --> HintError: -1001234 is a group's id: see CROCBOT_GROUPS

A validator raises HintError where it knows the mistake: the error that the operator
reads has the rule of the setting and then the hint.
"""

from __future__ import annotations

import ipaddress
import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from crocbot.chat_ids import parse_chat
from crocbot.database_url import DatabaseUrl, DatabaseUrlError
from crocbot.model import OFF, ChatThread, HostPort
from crocbot.settings.reactions import reaction

TOKEN_PATTERN = r"[0-9]+:[A-Za-z0-9_-]+"  # noqa: S105 (a pattern, not a token)
TELEGRAM_HOST = "api.telegram.org"
# Telegram's ids have at most 52 bits.
MAX_ID = 2**52 - 1
QUOTATION_MARKS = "'\"`"
COMPLETIONS = "/chat/completions"

GroupMode = Literal["mention", "always"]


class HintError(ValueError):
    """What is wrong with a value, in words that the operator reads after the rule."""


def expand(path: str | Path) -> Path:
    """Return the absolute path, with ~ replaced; ValueError if there is none."""
    if "\0" in str(path):
        raise ValueError("a path has no NUL character")
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError as error:
        raise ValueError("there is no such home directory") from error
    except OSError as error:
        raise HintError("the current directory was deleted") from error


def looks_like_token(text: str) -> bool:
    """Return whether a text contains what may be a bot token."""
    return re.search(r"[0-9]{3,}:[A-Za-z0-9_-]{10,}", text) is not None


def _without_decoration(value: object) -> object:
    """Refuse blanks and quotation marks around a text, which are never meant."""
    if not isinstance(value, str):
        return value
    if value != value.strip():
        raise HintError("it begins or ends with a blank")
    if len(value) > 1 and value[0] == value[-1] and value[0] in QUOTATION_MARKS:
        raise HintError("it has quotation marks around it")
    return value


def _on_off(value: object) -> object:
    """Read on and off, and the booleans of TOML."""
    return {"on": True, "off": False}.get(str(_lower(value)), value)


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _log_level(value: object) -> object:
    return "warn" if _lower(value) == "warning" else _lower(value)


def _number(value: object) -> object:
    """Refuse what is a number only for Python: true, 1_000."""
    if isinstance(value, bool) or (isinstance(value, str) and "_" in value):
        raise ValueError("it is not a number")
    return value


def _split(value: object) -> list[object]:
    """Split a text at its commas; a list of TOML is split already."""
    if isinstance(value, str):
        return [part for word in value.split(",") if (part := word.strip())]
    return list(value) if isinstance(value, list | frozenset | set) else [value]


def _id(value: object) -> int:
    """Return an id; a phone number, such as +49170, is none."""
    if type(value) is int:
        number = value
    elif isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,20}", value.strip()):
        number = int(value)
    else:
        raise ValueError("it is not an id")
    if not 0 < abs(number) <= MAX_ID:
        raise HintError(f"Telegram has no id {number}")
    return number


def _user_id(value: object) -> int:
    number = _id(value)
    if number < 0:
        raise HintError(f"{number} is a group's id: see CROCBOT_GROUPS")
    return number


def _group_id(value: object) -> int:
    number = _id(value)
    if number > 0:
        raise HintError(
            f"{number} is a user's id, which belongs in CROCBOT_ALLOW_FROM;"
            " a group's id is negative"
        )
    return number


def _group_modes(value: object) -> object:
    """Read `ID`, `ID:mention` and `ID:always`; a table of TOML is read already."""
    if isinstance(value, Mapping):
        return value
    parts = [str(word).partition(":") for word in _split(value)]
    modes = {
        number.strip(): mode.strip().lower() if colon else get_args(GroupMode)[0]
        for number, colon, mode in parts
    }
    if len(modes) < len(parts):
        raise HintError("a group is named twice")
    return modes


def _request_fields(value: object) -> object:
    """Read a JSON object; a table of TOML is read already, and may have dates."""
    try:
        fields = json.loads(value) if isinstance(value, str) else value
        json.dumps(fields, allow_nan=False)
    except (TypeError, RecursionError) as error:
        raise ValueError("it is not JSON") from error
    if not isinstance(fields, Mapping):
        raise ValueError("it is not an object")
    if named := {"model", "messages"} & fields.keys():
        raise HintError(f"the gateway sets {min(named)}")
    return fields


def _program(value: object) -> object:
    words = shlex.split(value) if isinstance(value, str) else value
    if isinstance(value, str) and not words:
        raise ValueError("there is no program")
    if isinstance(words, list):
        if words and not words[0]:
            raise HintError("the name of the program is empty")
        if any("\0" in word for word in words if isinstance(word, str)):
            raise HintError("no argument can have a NUL character")
    return words


def _function_name(name: str) -> str:
    """Accept `module:name`, both with dots; a path is none of them."""
    if name.endswith(".py") or "/" in name or ".py:" in name:
        raise HintError("a module has no path and no .py: agent:answer for agent.py")
    module, colon, attributes = name.partition(":")
    words = [*module.split("."), *attributes.split(".")]
    if not colon or not all(word.isidentifier() for word in words):
        raise ValueError("it is not module:name")
    return name


def _fetch_host(value: object) -> str:
    """Return the name of a host, with an optional port, in lower case."""
    if not isinstance(value, str) or "/" in value:
        raise HintError("a host has no scheme and no path")
    host = value.strip().lower()
    if not re.fullmatch(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*(:[0-9]{1,5})?", host):
        raise ValueError("it is not the name of a host")
    port = host.rpartition(":")[2]
    if port.isdecimal() and ":" in host and not 1 <= int(port) <= 65535:
        raise HintError(f"{port} is not a port, 1 to 65535")
    return host


def _valid_host(url: str) -> str:
    parts = urlsplit(url)
    # Both raise ValueError for what cannot be a name or a port.
    _ = (parts.hostname or "").encode("idna"), parts.port
    if parts.scheme == "http" and parts.hostname == TELEGRAM_HOST:
        raise HintError("Telegram's own server needs https://")
    return url


def _api_url(url: str) -> str:
    if "/bot" in urlsplit(url).path:
        raise HintError("without /bot and the token, which the gateway adds")
    return url


def _model_server_url(url: str) -> str:
    if url.endswith(COMPLETIONS):
        raise HintError(f"without {COMPLETIONS}, which the gateway adds")
    return url


def _statsd_host(host: str) -> str:
    """Refuse a URL, and a host with its port; an IPv6 address has colons, too."""
    if host.lower() == OFF:
        return OFF
    if "/" in host or (not _is_ipv6(host) and set(host) & set(":[]")):
        raise HintError("without scheme and port; the port is CROCBOT_STATSD_PORT")
    host.encode("idna")
    return host


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def _address(value: object) -> HostPort:
    return value if isinstance(value, HostPort) else HostPort.parse(str(value))


def _address_or_off(value: object) -> HostPort | None:
    return None if value is None or _lower(value) == OFF else _address(value)


def _alert_chat(value: object) -> object:
    return value if isinstance(value, ChatThread) else parse_chat(value)


def _secret_url(value: SecretStr) -> SecretStr:
    url = value.get_secret_value()
    if re.fullmatch(r"https?://[^\s/?#]+[^\s#]*", url) is None:
        raise ValueError("it is not a URL")
    _valid_host(url)
    return value


def _database_url(value: SecretStr) -> SecretStr:
    try:
        DatabaseUrl.parse(value.get_secret_value())
    except DatabaseUrlError as error:
        raise HintError(str(error)) from None
    return value


def _secret(pattern: str) -> AfterValidator:
    """Make a validator that accepts a secret only if all of it matches."""
    compiled = re.compile(pattern)

    def validate(value: SecretStr | None) -> SecretStr | None:
        if value is not None and not compiled.fullmatch(value.get_secret_value()):
            raise ValueError("it has a character that is not allowed")
        return value

    return AfterValidator(validate)


def _token(value: object) -> object:
    """Refuse what was pasted in place of a token; the text itself is never shown."""
    if isinstance(value, str) and not re.fullmatch(TOKEN_PATTERN, value):
        for hint, found in (
            (
                "it is a path: TELEGRAM_BOT_TOKEN_FILE takes one",
                value.startswith(("/", "~", ".")),
            ),
            ("it has more than one line", "\n" in value),
            ("it has a blank in it", any(map(str.isspace, value))),
            ("it begins with bot, as in a URL", value.lower().startswith("bot")),
            ("it has no colon", ":" not in value),
            ("it has a character that no token has", True),
        ):
            if found:
                raise HintError(hint)
    return value


Decorated = BeforeValidator(_without_decoration)
Text = Annotated[str, Decorated]
Secret = Annotated[SecretStr, Decorated]
Directory = Annotated[Path, AfterValidator(expand), Decorated]
Whole = Annotated[int, BeforeValidator(_number)]
Number = Annotated[float, BeforeValidator(_number)]
Seconds = Annotated[Number, Field(ge=0.1, le=86400)]
Ids = Annotated[
    frozenset[Annotated[int, BeforeValidator(_user_id)]], BeforeValidator(_split)
]
Hosts = Annotated[
    frozenset[Annotated[str, BeforeValidator(_fetch_host)]], BeforeValidator(_split)
]
Groups = Annotated[
    Mapping[Annotated[int, BeforeValidator(_group_id)], GroupMode],
    BeforeValidator(_group_modes),
]
RequestFields = Annotated[Mapping[str, Any], BeforeValidator(_request_fields)]
Flag = Annotated[bool, BeforeValidator(_lower)]
OnOff = Annotated[bool, BeforeValidator(_on_off)]
Reaction = Annotated[str, BeforeValidator(reaction)]
Program = Annotated[tuple[str, ...], BeforeValidator(_program)]
FunctionName = Annotated[str, AfterValidator(_function_name), Decorated]
Access = Annotated[Literal["allowlist", "pairing", "open"], BeforeValidator(_lower)]
Edits = Annotated[Literal["ignore", "answer"], BeforeValidator(_lower)]
AgentName = Annotated[
    Literal["echo", "http", "openai", "command", "python"], BeforeValidator(_lower)
]
LogLevel = Annotated[
    Literal["debug", "info", "warn", "error"], BeforeValidator(_log_level)
]
LogFormat = Annotated[Literal["console", "json"], BeforeValidator(_lower)]
Url = Annotated[
    str, Field(pattern=r"^https?://[^\s/?#]+[^\s?#]*$"), AfterValidator(_valid_host)
]
UrlWithQuery = Annotated[
    str, Field(pattern=r"^https?://[^\s/?#]+[^\s#]*$"), AfterValidator(_valid_host)
]
BaseUrl = Annotated[Url, AfterValidator(lambda url: url.rstrip("/"))]
ApiUrl = Annotated[BaseUrl, AfterValidator(_api_url)]
ModelServerUrl = Annotated[BaseUrl, AfterValidator(_model_server_url)]
StatsdHost = Annotated[str, Field(pattern=r"^\S+$"), AfterValidator(_statsd_host)]
AlertChat = Annotated[ChatThread, BeforeValidator(_alert_chat)]
SecretUrl = Annotated[SecretStr, AfterValidator(_secret_url), Decorated]
DatabaseSecretUrl = Annotated[SecretStr, AfterValidator(_database_url), Decorated]
Address = Annotated[HostPort, BeforeValidator(_address)]
AddressOrOff = Annotated[HostPort | None, BeforeValidator(_address_or_off)]
# Validators before the value run from right to left.
Token = Annotated[SecretStr, BeforeValidator(_token), Decorated]
# What an HTTP header can carry.
ApiKey = Annotated[SecretStr | None, _secret(r"[!-~]+"), Decorated]
# What Telegram takes in setWebhook.
WebhookSecret = Annotated[SecretStr | None, _secret(r"[A-Za-z0-9_-]{1,256}"), Decorated]
