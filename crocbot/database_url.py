"""
The URL of a PostgreSQL database, read like libpq reads it.

    postgresql://ada:p%40ss@db:5432/crocbot?sslmode=require
    --> user ada, password p@ss, host db, port 5432, database crocbot, parameters

libpq quotes a URL that it cannot read in its errors, with the password; so a URL is
checked here first, and no error of this module contains a part of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

SCHEMES = ("postgresql://", "postgres://")
SHOWN_PARAMETERS = (
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "hostaddr",
    "service",
)
SECRET_PARAMETERS = ("password", "sslpassword", "oauth_client_secret")
# The user and the password, which libpq looks for before the first slash.
CREDENTIALS = re.compile(r"([^@/:]*)(?::([^@/]*))?@")
ADDRESS = re.compile(r"(?:\[([^\]]+)\]|([^:/?,\[]*))(?::([^/?,]*))?")
BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")
ENCODED = "in a password @, / and % must be percent-encoded: %40, %2F, %25"


class DatabaseUrlError(ValueError):
    """What is wrong with a URL; the text contains no part of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseUrl:
    """
    A URL that libpq can read, and its parts, decoded.

    `hosts` are pairs of a host, "" for the default one, and a port, None for the
    default one.  `secrets` are all texts that no output may have, the URL among them.
    """

    text: str = field(repr=False)
    user: str
    hosts: tuple[tuple[str, int | None], ...]
    database: str
    parameters: Mapping[str, str] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> DatabaseUrl:
        """Read a URL; raise DatabaseUrlError."""
        scheme = next((each for each in SCHEMES if text.startswith(each)), None)
        if scheme is None:
            raise DatabaseUrlError(_wrong_scheme(text))
        if not text.isprintable() or any(map(str.isspace, text)):
            raise DatabaseUrlError("it has a blank or a control character in it")
        if BAD_PERCENT.search(text):
            raise DatabaseUrlError(f"it has a % that is not like %40; {ENCODED}")
        rest = text.removeprefix(scheme)
        user, password = "", ""
        if credentials := CREDENTIALS.match(rest):
            user, password = credentials[1], credentials[2] or ""
            rest = rest[credentials.end() :]
        hosts, rest = _hosts(rest)
        path, _, query = rest.partition("?")
        parameters = _parameters(query)
        passwords = (password, unquote(password))
        more = (parameters.get(name, "") for name in SECRET_PARAMETERS)
        return cls(
            text=text,
            user=unquote(user) or parameters.get("user", ""),
            hosts=_hosts_of_parameters(parameters) or hosts,
            database=unquote(path[1:]) or parameters.get("dbname", ""),
            parameters=parameters,
            secrets=(
                text,
                *dict.fromkeys(each for each in (*passwords, *more) if each),
            ),
        )

    def __str__(self) -> str:
        """Return the URL without the password and the parameters."""
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        hosts = ",".join(
            _shown_host(host) + ("" if port is None else f":{port}")
            for host, port in self.hosts
        )
        return f"postgresql://{user}{hosts}/{quote(self.database, safe='')}"

    @property
    def for_programs(self) -> str:
        """Return a URL that pg_dump and others connect with, without the password."""
        shown = [
            f"{name}={quote(self.parameters[name], safe='')}"
            for name in SHOWN_PARAMETERS
            if name in self.parameters
        ]
        return f"{self}{'?' if shown else ''}{'&'.join(shown)}"

    @property
    def is_unencrypted(self) -> bool:
        """Return whether TLS is switched off."""
        return self.parameters.get("sslmode") == "disable"


def _wrong_scheme(text: str) -> str:
    """Return what is wrong with a text that is no URL of PostgreSQL."""
    scheme, colon, _ = text.partition(":")
    lower = scheme.lower()
    if text.startswith(("/", "~", "./", "../")):
        return "it is a path: CROCBOT_DATABASE_URL_FILE takes one"
    if lower in ("sqlite", "sqlite3", "file") or lower.startswith("sqlite+"):
        return "SQLite needs no URL: its file is in CROCBOT_STATE_DIR"
    if colon and lower.startswith(("postgresql+", "postgres+", "jdbc")):
        return "the URL begins with postgresql:// itself, without a driver"
    if colon and lower in ("postgresql", "postgres", "pgsql", "psql"):
        return "it begins with postgresql:// in lower case, with two slashes"
    if "=" in text and "://" not in text:
        return "words such as host=... are no URL"
    return "it begins neither with postgresql:// nor with postgres://"


def _hosts(text: str) -> tuple[tuple[tuple[str, int | None], ...], str]:
    """Return hosts with their ports, and the rest; raise DatabaseUrlError."""
    hosts = []
    while True:
        found = ADDRESS.match(text)
        if found is None or (text.startswith("[") and not found[1]):
            raise DatabaseUrlError("an IPv6 address must be in brackets, [::1]")
        bracketed, plain, port = found.groups()
        host, port = unquote(bracketed or plain or ""), port or ""
        text = text[found.end() :]
        if "@" in host or "@" in port or (port and "@" in text):
            raise DatabaseUrlError(ENCODED)
        hosts.append((host, _port(port)))
        if not text.startswith(","):
            break
        text = text[1:]
    if text and text[0] not in "/?":
        raise DatabaseUrlError("it has a host that cannot be read")
    return tuple(hosts), text


def _hosts_of_parameters(
    parameters: Mapping[str, str],
) -> tuple[tuple[str, int | None], ...]:
    """Return the hosts that parameters name, which are in place of all others."""
    hosts = parameters.get("host", "").split(",")
    ports = parameters.get("port", "").split(",")
    if not any(hosts):
        return ()
    ports = ports * len(hosts) if len(ports) == 1 else ports
    return tuple(zip(hosts, map(_port, ports), strict=False))


def _port(text: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise DatabaseUrlError(f"its port is not a number, 1 to 65535; {ENCODED}")
    return int(text)


def _parameters(query: str) -> Mapping[str, str]:
    """Return the parameters, decoded; raise DatabaseUrlError."""
    found = {}
    for word in query.split("&") if query else []:
        name, equals, value = word.partition("=")
        if not name or not equals or "=" in value:
            raise DatabaseUrlError("a parameter after ? is not of the form name=value")
        found[unquote(name)] = unquote(value)
    return found


def _shown_host(host: str) -> str:
    """Return a host as it is in a URL; that of a socket is the path of its folder."""
    return f"[{host}]" if ":" in host else quote(host, safe="")
