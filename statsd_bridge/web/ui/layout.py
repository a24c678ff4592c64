"""What all pages share: head, navigation, style and script, and the HTTP headers."""

from __future__ import annotations

import os
from typing import Final
from urllib.parse import quote

from statsd_bridge.web.base import PageRequest
from statsd_bridge.web.ui.assets import Assets
from statsd_bridge.web.ui.markup import EMPTY, Html, fill, join

HTML: Final = b"text/html; charset=utf-8"

POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    b" connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

HEADERS: Final = {
    b"content-security-policy": POLICY,
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",
    b"vary": b"Accept",
}

SECTIONS: Final = {
    "traffic": "Traffic",
    "series": "Series",
    "cardinality": "Cardinality",
    "rules": "Rules",
    "unmapped": "Unmapped",
    "explain": "Explain",
    "try": "Try",
}


class Layout:
    """
    The frame of the pages of one bridge.

    `home` is the path of the main page, `metrics` that of the metrics.  All links are
    relative, so that a proxy may serve the bridge below a path of its own.
    """

    def __init__(self, home: str, metrics: str, assets: Assets) -> None:
        self._home = home
        self._metrics = metrics
        self._assets = assets

    def page(
        self, title: str, up: str, content: Html, *, is_home: bool = False
    ) -> bytes:
        """Return a page; `up` leads from its path to the root of the bridge."""
        home = _relative(up, self._home)
        return fill(
            _PAGE,
            title=title,
            up=up,
            style=up + self._assets.address("page.css"),
            script=up + self._assets.address("page.js"),
            icon=up + self._assets.address("icon.svg"),
            home=home,
            live=Html(f' data-live-from="{up}ui/live"') if is_home else EMPTY,
            navigation=_navigation("" if is_home else home),
            metrics=_relative(up, self._metrics),
            content=content,
        ).encode("utf-8", "backslashreplace")


def _relative(up: str, path: str) -> str:
    return up + quote(os.fsencode(path.removeprefix("/"))) or "./"


def write_headers(request: PageRequest) -> None:
    """Set the headers of a page; those of the operator's file take precedence."""
    request.setHeader(b"content-type", HTML)
    for name, value in HEADERS.items():
        if not request.responseHeaders.hasHeader(name):
            request.setHeader(name, value)


def _navigation(home: str) -> Html:
    return join(
        fill(
            '<li><a href="{home}#{name}">{title}</a></li>',
            home=home,
            name=name,
            title=title,
        )
        for name, title in SECTIONS.items()
    )


_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="{icon}" type="image/svg+xml">
<link rel="stylesheet" href="{style}">
<script src="{script}" defer></script>
</head>
<body{live}>
<a class="skip" href="#main">Skip to content</a>
<header>
<a class="brand" href="{home}">statsd-bridge</a>
<nav aria-label="Sections">
<ul>{navigation}<li><a href="{metrics}">Metrics</a></li></ul>
</nav>
<p id="link-state" class="muted"><noscript>reload for the newest</noscript></p>
</header>
<p id="announcement" class="hidden" role="status"></p>
<main id="main" tabindex="-1">
<h1 class="hidden">{title}</h1>
{content}
</main>
</body>
</html>
"""
