"""The style sheet, the script and the icon, which a browser keeps."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Final

from statsd_bridge.web.base import NOT_DONE_YET, Page, PageRequest, plain_error

FOLDER: Final = "ui/static/"

TYPES: Final = {
    "page.css": b"text/css; charset=utf-8",
    "page.js": b"text/javascript; charset=utf-8",
    "icon.svg": b"image/svg+xml",
}

KEPT: Final = b"public, max-age=31536000, immutable"
"""For an address with the hash of the content: another content has another address."""

CHECKED: Final = b"no-cache"


class Assets:
    """All files, read at the start."""

    def __init__(self) -> None:
        folder = files("statsd_bridge.web.ui") / "static"
        self._pages = {
            name: Asset((folder / name).read_bytes(), type_)
            for name, type_ in TYPES.items()
        }

    def address(self, name: str) -> str:
        """Return the address of a file, relative to the root of the bridge."""
        return f"{FOLDER}{name}?v={self._pages[name].hash}"

    def pages(self) -> dict[str, Page]:
        """Return the pages by their paths."""
        return {f"/{FOLDER}{name}": each for name, each in self._pages.items()}


class Asset(Page):
    """One file."""

    def __init__(self, body: bytes, type_: bytes) -> None:
        self._body = body
        self._type = type_
        self.hash = hashlib.sha256(body).hexdigest()[:16]
        self._tag = f'"{self.hash}"'.encode()

    def render(self, request: PageRequest) -> bytes | int:
        """Return the file, or 304 if the client has it."""
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"allow", b"GET, HEAD")
            return plain_error(request, 405, b"405 method not allowed\n")
        is_addressed = request.args == {b"v": [self.hash.encode()]}
        request.setHeader(b"cache-control", KEPT if is_addressed else CHECKED)
        request.setHeader(b"etag", self._tag)
        request.setHeader(b"x-content-type-options", b"nosniff")
        known = (request.getHeader(b"if-none-match") or b"").split(b",")
        if any(each.strip().removeprefix(b"W/") in (self._tag, b"*") for each in known):
            request.setResponseCode(304)
            # Returned, an empty body would be sent with its length.
            request.finish()
            return NOT_DONE_YET
        request.setHeader(b"content-type", self._type)
        return self._body
