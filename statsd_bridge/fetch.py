"""
Requests of subcommands to a running bridge: bounded in time and in bytes.

    http://user:password@bridge:9102/prefix   -->   Server   -->   Answer
"""

from __future__ import annotations

import base64
import http.client
import json
import math
import re
import signal
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

from statsd_bridge.errors import BridgeError, escaped

FETCH_SECONDS = 30.0
"""Time of a request, names of hosts and the whole answer included."""

MAX_ANSWER_BYTES = 16 * 1024 * 1024
MAX_PASSWORD_BYTES = 4_096

MAX_SHOWN_LENGTH = 500
"""Characters of the text of a server in a message."""

_PRINTABLE = re.compile(r"[!-~]+")


class FetchError(BridgeError):
    """An address that gives no answer, or not the expected one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """
    Where a bridge serves its pages.

    `url` is shown in messages, so it has no password; `flag` is the one that set it.
    """

    flag: str
    url: str
    host: str
    port: int
    prefix: str
    authorization: str
    tls: ssl.SSLContext | None

    def error(self, problem: str) -> FetchError:
        """Return the error for a problem with this server."""
        return FetchError(f"--{self.flag}: {self.url}: {problem}")


@dataclass(frozen=True, slots=True)
class Answer:
    """The status and the body of a response."""

    status: int
    body: bytes


def find_server(
    flag: str, url: str, *, user: str = "", password_file: str = "", ca_file: str = ""
) -> Server:
    """Read the URL of a bridge and the flags for it; BridgeError if one is wrong."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    is_url = parts.scheme in ("http", "https") and host and _PRINTABLE.fullmatch(url)
    # An @ in the path is that of a password with a slash.
    if not is_url or parts.query or parts.fragment or "@" in parts.path:
        raise BridgeError(
            f"--{flag}: {_without_password(url)!r} is not the URL of a bridge; write http://host:9102"
        )
    is_tls = parts.scheme == "https"
    shown_port = f":{port}" if port is not None else ""
    shown_host = f"[{host}]" if host and ":" in host else host
    return Server(
        flag=flag,
        url=f"{parts.scheme}://{shown_host}{shown_port}{parts.path}",
        host=str(host),
        port=port or (443 if is_tls else 80),
        prefix=parts.path.rstrip("/"),
        authorization=_authorization(
            unquote(parts.username or ""), parts.password, user, password_file
        ),
        tls=_tls_context(ca_file) if is_tls else None,
    )


def _without_password(url: str) -> str:
    """Return a URL without what may be a user and a password, if it is none, too."""
    return re.sub(r"\A(\w+://)?.*@", r"\1", url, flags=re.DOTALL)


def _authorization(
    url_user: str, url_password: str | None, user: str, password_file: str
) -> str:
    name = user or url_user
    password = unquote(url_password or "")
    if password_file:
        password = _read_password(password_file)
    if not name:
        if password_file:
            raise BridgeError("--password-file: is for a user: add --user")
        return ""
    token = base64.b64encode(f"{name}:{password}".encode()).decode()
    return f"Basic {token}"


def _read_password(file: str) -> str:
    try:
        with Path(file).open("rb") as opened:
            data = opened.read(MAX_PASSWORD_BYTES + 1)
        if len(data) > MAX_PASSWORD_BYTES:
            raise BridgeError(f"--password-file: {file}: is too long for a password")
        return data.decode().rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise BridgeError(f"--password-file: {file}: {reason}") from error


def _tls_context(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it has no certificate in PEM"
        if isinstance(error, ssl.SSLError):
            reason = "it has no certificate in PEM"
        raise BridgeError(f"--ca-file: {ca_file}: {reason}") from error


def fetch(
    server: Server,
    path: str,
    body: bytes | None = None,
    *,
    accept: str = "application/json",
    max_bytes: int = MAX_ANSWER_BYTES,
) -> Answer:
    """Send a GET, or a POST with a body; FetchError if there is no whole answer."""
    seconds = FETCH_SECONDS
    headers = {"Accept": accept, "Connection": "close"}
    if server.authorization:
        headers["Authorization"] = server.authorization
    connection = _connection(server, seconds)
    try:
        with _deadline(seconds):
            method = "GET" if body is None else "POST"
            connection.request(method, server.prefix + path, body, headers)
            with connection.getresponse() as response:
                data = response.read(max_bytes + 1)
                rest = response.length
    except TimeoutError as error:
        problem = f"gives no answer within {seconds:g} s"
        raise server.error(problem) from error
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", "") or error.reason or "it failed"
        raise server.error(f"TLS: {escaped(str(reason))}") from error
    except OSError as error:
        reason = error.strerror or "the connection was closed"
        raise server.error(f"cannot be reached: {reason}") from error
    except (http.client.HTTPException, ValueError) as error:
        problem = f"does not answer in HTTP ({type(error).__name__})"
        raise server.error(problem) from error
    finally:
        connection.close()
    if len(data) > max_bytes:
        raise server.error(f"answers with more than {max_bytes >> 20} MiB")
    if rest:
        raise server.error("closed the connection before the end of its answer")
    return Answer(response.status, data)


def _connection(server: Server, seconds: float) -> http.client.HTTPConnection:
    if server.tls is None:
        return http.client.HTTPConnection(server.host, server.port, timeout=seconds)
    return http.client.HTTPSConnection(
        server.host, server.port, timeout=seconds, context=server.tls
    )


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the block after some seconds, whatever it waits for."""

    def expire(*_: object) -> NoReturn:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def fetch_json(server: Server, path: str, body: bytes | None = None) -> Any:
    """Send a request; return the object of the answer, or raise FetchError."""
    answer = fetch(server, path, body)
    if answer.status == 401:
        raise server.error(
            "refuses user and password: write --user NAME --password-file FILE"
        )
    document = _decode(answer.body)
    if answer.status != 200:
        given = document.get("error") if isinstance(document, dict) else None
        problem = f"answers {path.partition('?')[0]} with status {answer.status}"
        if isinstance(given, str):
            problem += f": {escaped(given[:MAX_SHOWN_LENGTH])}"
        elif answer.status == 404:
            problem += "; write http://host:9102 of a statsd-bridge without --no-web.ui"
        raise server.error(problem)
    if not isinstance(document, dict):
        raise server.error("the answer is no JSON object: is it a statsd-bridge?")
    return document


def _decode(body: bytes) -> Any:
    try:
        return json.loads(body, parse_constant=lambda _: math.nan)
    except (ValueError, RecursionError):
        return None
