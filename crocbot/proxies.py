"""
The proxy of a request, by the variables that curl and most programs use.

    https_proxy  HTTPS_PROXY    for https://       http_proxy  HTTP_PROXY    for http://
    all_proxy    ALL_PROXY      for both, unless one of these is set
    no_proxy     NO_PROXY       hosts without a proxy: *, names, addresses, networks

    Proxies({"ALL_PROXY": "socks5://user:secret@proxy"}).for_url("https://example.org")
    --> Proxy("socks5", "proxy", 1080, ...)

The lower-case name wins.  An empty variable counts as unset.  Servers on this machine
are never requested through a proxy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from urllib.parse import unquote, urlsplit

from crocbot.errors import OperatorError
from crocbot.model import LOOPBACK_HOSTS

# With SOCKS 5 the proxy looks up names: a local look-up may be what does not work.
PORTS = {
    **{"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080},
    **{"socks": 1080, "socks5": 1080, "socks5h": 1080},
}
REMOTE_NAMES = frozenset({"socks", "socks4a", "socks5", "socks5h"})
VARIABLES = frozenset(
    name
    for word in ("http", "https", "all", "no")
    for name in (f"{word}_proxy", f"{word.upper()}_PROXY")
)
RULE = "must be a URL, http://host:port or socks5://host:port"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """
    A proxy, and the `variable` that names it.

    `remote_names` means that the proxy, not this machine, looks up host names.
    """

    variable: str
    scheme: str
    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def is_socks(self) -> bool:
        """Return whether it speaks SOCKS, not HTTP."""
        return self.scheme.startswith("socks")

    @property
    def remote_names(self) -> bool:
        """Return whether the proxy looks up the names of hosts."""
        return self.scheme in REMOTE_NAMES

    @property
    def url(self) -> str:
        """Return its URL, without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.url} ({self.variable})"


class Proxies:
    """The proxies of an environment; variables other than VARIABLES are ignored."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._variables = {
            name: text.strip()
            for name, text in environment.items()
            if name in VARIABLES and text.strip()
        }

    def for_url(self, url: str) -> Proxy | None:
        """Return the proxy of requests to a URL, or None.  Raise OperatorError."""
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        port = parts.port or PORTS.get(parts.scheme, 0)
        if host in LOOPBACK_HOSTS or _is_loopback(host) or self._excludes(host, port):
            return None
        for word in (parts.scheme, "all"):
            for name in (f"{word}_proxy", f"{word.upper()}_PROXY"):
                if name in self._variables:
                    return _parse(name, self._variables[name])
        return None

    def passwords(self) -> Iterator[str]:
        """Yield the passwords in the variables, as they are written and decoded."""
        for text in self._variables.values():
            try:
                password = urlsplit(_with_scheme(text)).password
            except ValueError:
                continue
            if password:
                yield password
                yield unquote(password)

    def _excludes(self, host: str, port: int) -> bool:
        variables = self._variables
        text = variables.get("no_proxy") or variables.get("NO_PROXY") or ""
        return any(
            _matches(entry, host, port) for entry in text.replace(",", " ").split()
        )


NO_PROXIES = Proxies({})


def _parse(name: str, text: str) -> Proxy:
    try:
        parts = urlsplit(_with_scheme(text))
        scheme, port = parts.scheme.lower(), parts.port
    except ValueError:
        raise OperatorError(f"{name} is not valid: {RULE}") from None
    if scheme not in PORTS or not parts.hostname or port == 0:
        raise OperatorError(f"{name} is not valid: {RULE}")
    return Proxy(
        variable=name,
        scheme=scheme,
        host=parts.hostname,
        port=port or PORTS[scheme],
        user=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
    )


def _with_scheme(text: str) -> str:
    """Return the URL of a proxy; without a scheme it speaks HTTP, as in curl."""
    return text if "://" in text else f"http://{text}"


def _matches(entry: str, host: str, port: int) -> bool:
    """
    Return whether an entry of NO_PROXY is about a host.

        *    example.org    .example.org    example.org:8081    10.0.0.0/8    [::1]
    """
    if entry == "*":
        return True
    name, colon, wanted_port = entry.rpartition(":")
    if colon and wanted_port.isdigit() and (":" not in name or name.endswith("]")):
        if int(wanted_port) != port:
            return False
        entry = name
    entry = entry.strip("[]").lower().removeprefix("*").strip(".")
    try:
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:
        return bool(entry) and f".{host.lower()}".endswith(f".{entry}")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower().endswith(".localhost")
