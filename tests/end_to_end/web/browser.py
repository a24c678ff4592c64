"""Debian's chromium, driven by playwright: for tests of the page, and its pictures."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Error,
    Page,
    Request,
    sync_playwright,
)

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")

WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 320, "height": 640}

TIMEOUT_MILLISECONDS = 90_000
"""The machine may be busy with other tests."""

SERIOUS = ("serious", "critical")


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Run a browser without a window; skip the test where there is none."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("there is no browser: Debian has one in the package chromium")
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=program)
        except Error as error:
            pytest.skip(f"{program} does not start: {error.message.splitlines()[0]}")
        yield browser
        browser.close()


class Tab:
    """
    A page in a browser profile of its own, and what it should not have done.

    `faults` are errors of scripts, messages in the console but for those that contain
    `expected`, and requests to other hosts than that of the page.
    """

    def __init__(self, browser: Browser, origin: str, **options: Any) -> None:
        self.faults: list[str] = []
        self.expected: str | None = None
        self.requests: list[str] = []
        self._origin = origin
        self._context = browser.new_context(**{"viewport": WIDE, **options})
        self._context.set_default_timeout(TIMEOUT_MILLISECONDS)
        self.page: Page = self._context.new_page()
        self.page.on("console", self._note_message)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", self._note_request)

    def open(self, path: str = "/") -> Page:
        """Open a path of the bridge."""
        self.page.goto(self._origin + path)
        return self.page

    def close(self) -> None:
        """Close it."""
        self._context.close()

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        element = "document.documentElement"
        widths = f"{element}.scrollWidth - {element}.clientWidth"
        found: int = self.page.evaluate(widths)
        return found

    def accessibility_faults(self) -> list[str]:
        """Return what axe-core finds that is serious or critical."""
        found = Axe().run(self.page).response["violations"]
        return [
            f"{each['id']}: {node['html'][:200]}"
            for each in found
            if each["impact"] in SERIOUS
            for node in each["nodes"]
        ]

    def _note_message(self, message: ConsoleMessage) -> None:
        is_expected = self.expected is not None and self.expected in message.text
        if message.type in ("error", "warning") and not is_expected:
            self.faults.append(message.text)

    def _note_request(self, request: Request) -> None:
        self.requests.append(request.url)
        if not request.url.startswith(f"{self._origin}/"):
            self.faults.append(f"a request to {request.url}")
