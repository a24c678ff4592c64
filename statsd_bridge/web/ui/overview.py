"""The first section: whether all is well, and what runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from statsd_bridge.web.ui import numbers
from statsd_bridge.web.ui.markup import EMPTY, Html, code, fill, html, join

Status = Mapping[str, Any]
"""The document of /api/v1/status."""

TRANSPORTS: Final = {
    "udp": "UDP",
    "tcp": "TCP",
    "unixgram": "Unix datagrams",
    "unixstream": "Unix stream",
    "http": "HTTP",
}


def render(status: Status, up: str) -> Html:
    """Return the section; `up` leads from the page to the root of the bridge."""
    return fill(
        '<section id="overview" aria-labelledby="overview-title">'
        '<h2 id="overview-title" class="hidden">Overview</h2>{state}{facts}</section>',
        state=_state(status, up),
        facts=_facts(status),
    )


def _state(status: Status, up: str) -> Html:
    """Return the state; the script announces `data-state` when it changes."""
    problems = status["problems"]
    names = ", ".join(each["name"].replace("_", " ") for each in problems)
    if status["is_well"]:
        return Html(
            '<div class="state well" data-live="state" data-state="All is well.">'
            '<p><span class="mark" aria-hidden="true">✓</span> All is well.</p></div>'
        )
    return fill(
        '<div class="state ill" data-live="state" data-state="Not well: {names}.">'
        '<p><span class="mark" aria-hidden="true">!</span> Not well:</p>'
        "<ul>{problems}</ul></div>",
        names=names,
        problems=join(_problem(each, up) for each in problems),
    )


def _problem(problem: Mapping[str, Any], up: str) -> Html:
    address = problem["link"]
    if address.startswith("/"):
        address = up + address[1:] or "."
    return fill(
        '<li>{text} <a href="{href}">{label}<span class="hidden"> about {name}</span>'
        "</a></li>",
        text=problem["text"],
        href=address,
        label="details",
        name=problem["name"].replace("_", " "),
    )


def _facts(status: Status) -> Html:
    now = status["now"]
    rows = {
        "Version": html(status["version"]),
        "Running since": fill(
            "{at}<br><small>{ago} ago</small>",
            at=numbers.timestamp(status["started_at"]),
            ago=numbers.duration(now - status["started_at"]),
        ),
        "Addresses": _addresses(status["addresses"]),
        "Mapping file": _mapping(status["mapping"]),
        "Last reload": _reload(status["reload"], now),
    }
    if targets := status.get("relay_targets"):
        rows["Relay targets"] = _targets(targets)
    items = [
        fill("<div><dt>{name}</dt><dd>{value}</dd></div>", name=name, value=value)
        for name, value in rows.items()
    ]
    return fill('<dl class="facts" data-live="facts">{items}</dl>', items=join(items))


def _addresses(addresses: Mapping[str, str | None]) -> Html:
    items = [
        fill(
            "<li>{name} {address}</li>",
            name=TRANSPORTS.get(transport, transport),
            address=code(address),
        )
        for transport, address in addresses.items()
        if address
    ]
    return fill('<ul class="plain">{items}</ul>', items=join(items))


def _targets(targets: Sequence[Mapping[str, Any]]) -> Html:
    items = [
        fill(
            "<li>{mode} {address} {state}</li>",
            mode=each["mode"],
            address=code(each["address"]),
            state=EMPTY if each["up"] else Html('<span class="bad">gone</span>'),
        )
        for each in targets
    ]
    return fill('<ul class="plain">{items}</ul>', items=join(items))


def _mapping(mapping: Mapping[str, Any]) -> Html:
    if not mapping["file"]:
        return Html("none: every name is unmapped")
    return fill(
        '{file}<br><small><a href="#rules">{rules}</a></small>{error}',
        file=code(mapping["file"]),
        rules=numbers.count(mapping["rules"], "rule"),
        error=_error(mapping.get("error")),
    )


def _error(error: str | None) -> Html:
    if not error:
        return EMPTY
    return fill('<p class="bad">{error}</p>', error=code(error))


def _reload(reload: Mapping[str, Any] | None, now: float) -> Html:
    if reload is None:
        return Html("none since the start")
    return fill(
        "{ago}: {result}", ago=numbers.ago(reload["at"], now), result=reload["result"]
    )
