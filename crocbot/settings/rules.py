"""
Rules about several settings: conflicts, which are errors, and advice, for warnings.

    CROCBOT_AGENT=http without CROCBOT_AGENT_URL      --> conflict
    CROCBOT_ACCESS=open with CROCBOT_AGENT=command    --> advice
"""

from __future__ import annotations

import ipaddress
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from crocbot.model import LOOPBACK_HOSTS
from crocbot.settings.fallback_fields import FIELDS as FALLBACK_FIELDS
from crocbot.settings.fields import (
    REQUIRED_FIELDS,
    Settings,
    in_fallback_names,
    name_of,
)
from crocbot.settings.names import DATABASE_URL
from crocbot.settings.values import TELEGRAM_HOST

MIN_SEND_SECRET_CHARS = 16
OPENAI_HOST = "api.openai.com"
# Telegram sends updates to no other ports.
WEBHOOK_PORTS = (443, 80, 88, 8443)
SCRIPT_SUFFIXES = (".py", ".sh", ".js", ".mjs", ".ts", ".rb", ".pl", ".php")
LOCAL_DOMAINS = (".local", ".localhost", ".internal", ".lan", ".home.arpa")
# Fields --> the agents that use them.
AGENT_FIELDS = {
    "agent_url": ("http",),
    "agent_secret": ("http",),
    "fetch_hosts": ("http", "python"),
    "agent_command": ("command",),
    "agent_function": ("python",),
    "model": ("openai",),
    "request_fields": ("openai",),
}


def conflict(settings: Settings) -> str | None:
    """Return the first error in the combination of settings, or None."""
    return next(_conflicts(settings), None)


def advice(settings: Settings) -> list[str]:
    """Return warnings about settings that work but are probably mistakes."""
    return [
        *_access(settings),
        *_unused(settings),
        *_missing_scripts(settings),
        *_keys(settings),
        *_fallback(settings),
        *_prices(settings),
        *_transcriptions(settings),
        *_pushes(settings),
        *_database(settings),
        *_alerts(settings),
    ]


def open_files(settings: Settings) -> list[str]:
    """Return a warning about each file with a secret that every user may read."""
    return [
        f"{source}: every user of this machine may read {file}: chmod 600"
        for source, file in settings.secret_files.items()
        if _readable_by_all(file)
    ]


def _conflicts(settings: Settings) -> Iterator[str]:
    yield from _missing_fields(settings)
    if (fallback := settings.fallback) is not None:
        yield from map(in_fallback_names, _missing_fields(fallback))
    if settings.webhook_url is not None:
        yield from _webhook(settings, settings.webhook_url)


def _missing_fields(settings: Settings) -> Iterator[str]:
    for field in REQUIRED_FIELDS.get(settings.agent, ()):
        if not getattr(settings, field):
            yield f"CROCBOT_AGENT is {settings.agent!r}: it needs {name_of(field)}"


def _webhook(settings: Settings, url: str) -> Iterator[str]:
    """Yield why a URL is no webhook; a Bot API server of one's own may call more."""
    if settings.webhook_listen == settings.health_address:
        yield (
            "CROCBOT_WEBHOOK_LISTEN and CROCBOT_HEALTH_ADDRESS are both"
            f" {str(settings.webhook_listen)!r}: each needs an address of its own"
        )
    parts = urlsplit(url)
    own_server = urlsplit(settings.telegram_api_url).hostname != TELEGRAM_HOST
    host = parts.hostname or ""
    if parts.scheme != "https" and not (own_server and _is_local(host)):
        yield (
            "CROCBOT_WEBHOOK_URL begins with http://: it must be https://, since"
            " messages pass over the network"
        )
    elif own_server:
        return
    elif _is_private(host):
        yield (
            f"CROCBOT_WEBHOOK_URL has the host {host!r}:"
            " Telegram can call only a public one"
        )
    elif (parts.port or 443) not in WEBHOOK_PORTS:
        ports = ", ".join(map(str, WEBHOOK_PORTS))
        yield (
            f"CROCBOT_WEBHOOK_URL has the port {parts.port}:"
            f" Telegram calls only the ports {ports}"
        )


def _is_local(host: str) -> bool:
    """Return whether only a local network has this host, by its name or address."""
    if _is_private(host):
        return True
    return "." not in host or host.endswith(LOCAL_DOMAINS)


def _is_private(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host in LOOPBACK_HOSTS


def _access(settings: Settings) -> Iterator[str]:
    if settings.access == "open" and settings.agent == "command":
        yield (
            "CROCBOT_ACCESS is open and CROCBOT_AGENT is command: everyone on Telegram"
            " can have CROCBOT_AGENT_COMMAND run on this machine"
        )
    bot_id = int(settings.token.get_secret_value().partition(":")[0])
    if bot_id in settings.allow_from | settings.operators:
        yield f"{bot_id} is the id of the bot itself, not of a user"
    unanswered = settings.operators - settings.allow_from
    if unanswered and settings.access == "allowlist":
        ids = ", ".join(map(str, sorted(unanswered)[:5]))
        yield (
            f"CROCBOT_OPERATORS has ids that CROCBOT_ALLOW_FROM lacks ({ids}):"
            " they are not answered in private chats"
        )


def _keys(settings: Settings) -> Iterator[str]:
    """Yield warnings about keys that are missing, or can be read on the network."""
    if _is_exposed(settings.telegram_api_url):
        yield (
            "CROCBOT_TELEGRAM_API_URL begins with http://: the token passes over the"
            " network unencrypted"
        )
    yield from _keys_of_agent(settings)


def _keys_of_agent(settings: Settings) -> Iterator[str]:
    if settings.agent != "openai":
        return
    if settings.openai_api_key is not None:
        if _is_exposed(settings.openai_base_url):
            yield (
                "OPENAI_BASE_URL begins with http://: the key passes over the network"
                " unencrypted"
            )
    elif urlsplit(settings.openai_base_url).hostname == OPENAI_HOST:
        yield f"OPENAI_API_KEY is not set, and {OPENAI_HOST} needs a key"


def _fallback(settings: Settings) -> Iterator[str]:
    """Yield warnings about the fallback agent."""
    fallback = settings.fallback
    if fallback is None:
        for field in FALLBACK_FIELDS:
            if getattr(settings, field):
                no_effect = f"{name_of(field)} has no effect"
                yield f"{no_effect}: CROCBOT_FALLBACK_AGENT is not set"
        return
    for name, field in FALLBACK_FIELDS.items():
        agents = AGENT_FIELDS.get(field, (fallback.agent,))
        if _is_priced(settings, field):
            continue
        if getattr(settings, name) and fallback.agent not in agents:
            others = " or ".join(map(repr, agents))
            yield (
                f"{name_of(name)} has no effect: CROCBOT_FALLBACK_AGENT is"
                f" {fallback.agent!r}, not {others}"
            )
    yield from map(in_fallback_names, _missing_scripts(fallback))
    yield from map(in_fallback_names, _keys_of_agent(fallback))
    if settings.agent_first_byte_seconds >= settings.agent_total_seconds:
        yield (
            "CROCBOT_AGENT_FIRST_BYTE_SECONDS is not below"
            " CROCBOT_AGENT_TOTAL_SECONDS: no time is left for the fallback agent if"
            " the first one does not answer"
        )


def _prices(settings: Settings) -> Iterator[str]:
    """Yield a warning about each model without a price, if there are prices."""
    if settings.prices is None:
        return
    for each in (settings, settings.fallback):
        name = "" if each is None or each.agent == "echo" else each.model_name
        if name and name not in settings.price_table:
            yield f"CROCBOT_PRICES has no price for {name!r}: its answers count as $0"


def _transcriptions(settings: Settings) -> Iterator[str]:
    """Yield warnings about the server that turns voice messages into words."""
    url, key = settings.transcribe_url, settings.transcribe_api_key
    if url is None:
        if key is not None:
            yield (
                "CROCBOT_TRANSCRIBE_API_KEY has no effect: CROCBOT_TRANSCRIBE_URL is"
                " not set"
            )
        return
    if settings.media_max_bytes == 0:
        yield (
            "CROCBOT_TRANSCRIBE_URL has no effect: CROCBOT_MEDIA_MAX_BYTES is 0, so no"
            " voice message is loaded"
        )
    if key is not None and _is_exposed(url):
        yield (
            "CROCBOT_TRANSCRIBE_URL begins with http://: the key passes over the"
            " network unencrypted"
        )
    if key is None and urlsplit(url).hostname == OPENAI_HOST:
        yield f"CROCBOT_TRANSCRIBE_API_KEY is not set, and {OPENAI_HOST} needs a key"


def _pushes(settings: Settings) -> Iterator[str]:
    """Yield warnings about the page that sends messages."""
    secret, address = settings.send_secret, settings.health_address
    if secret is None:
        return
    if address is None:
        yield "CROCBOT_SEND_SECRET has no effect: CROCBOT_HEALTH_ADDRESS is off"
    elif _is_of_a_network(address.host):
        yield (
            f"CROCBOT_HEALTH_ADDRESS is {str(address)!r}: other machines may reach the"
            " page of CROCBOT_SEND_SECRET, and the secret passes over the network"
            " unencrypted"
        )
    if len(secret.get_secret_value()) < MIN_SEND_SECRET_CHARS:
        yield (
            "CROCBOT_SEND_SECRET can be guessed: it has fewer than"
            f" {MIN_SEND_SECRET_CHARS} characters"
        )


def _is_of_a_network(host: str) -> bool:
    """Return whether a server at an address can be reached from other machines."""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _database(settings: Settings) -> Iterator[str]:
    """Yield a warning if messages pass to the database over a network openly."""
    url = settings.postgresql
    if url is not None and url.is_unencrypted:
        open_hosts = [host for host, _ in url.hosts if host and not _is_near(host)]
        if open_hosts:
            yield (
                f"{DATABASE_URL} has sslmode=disable: messages, and perhaps the"
                " password, pass over the network unencrypted"
            )


def _is_near(host: str) -> bool:
    """Return whether a host is the folder of a socket, or in a local network."""
    return host.startswith(("/", "@")) or _is_local(host)


def _alerts(settings: Settings) -> Iterator[str]:
    """Yield warnings about the ways of alerts."""
    webhook = settings.alert_webhook
    if webhook is not None and _is_exposed(webhook.get_secret_value()):
        yield (
            "CROCBOT_ALERT_WEBHOOK begins with http://: alerts, and what is secret in"
            " the URL, pass over the network unencrypted"
        )
    if settings.runbooks_url is not None and not settings.has_alerts:
        yield (
            "CROCBOT_RUNBOOKS_URL has no effect: neither CROCBOT_ALERT_CHAT nor"
            " CROCBOT_ALERT_WEBHOOK is set"
        )


def _is_exposed(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and not _is_local(parts.hostname or "")


def _unused(settings: Settings) -> Iterator[str]:
    for field, agents in AGENT_FIELDS.items():
        used = {settings.agent}
        if field not in FALLBACK_FIELDS.values():
            used.add(settings.fallback_agent or settings.agent)
        if _is_priced(settings, field):
            continue
        if getattr(settings, field) and used.isdisjoint(agents):
            others = " or ".join(map(repr, agents))
            yield (
                f"{name_of(field)} has no effect: CROCBOT_AGENT is"
                f" {settings.agent!r}, not {others}"
            )


def _is_priced(settings: Settings, field: str) -> bool:
    """Return whether a field names a model only for its price."""
    return field == "model" and settings.prices is not None


def _missing_scripts(settings: Settings) -> Iterator[str]:
    """Yield a warning about each argument that looks like a file and is none."""
    if settings.agent == "command":
        for word in settings.agent_command[1:]:
            if word.endswith(SCRIPT_SUFFIXES) and not Path(word).exists():
                yield f"CROCBOT_AGENT_COMMAND: there is no file {word!r}"


def _readable_by_all(file: Path) -> bool:
    try:
        return bool(file.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False
