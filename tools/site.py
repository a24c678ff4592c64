"""
What makes a site of docs/: a hook of MkDocs, which mkdocs.yml names.

- README.md is the home page; other pages outside docs/ have a name in `PAGES`.
- A link to a file outside docs/ leads to a copy of the file in the site.
- RUNBOOKS and DECISIONS in the navigation are all pages of their folders.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "SECURITY.md": "SECURITY.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "examples/README.md": "examples.md",
    "benchmarks/README.md": "benchmarks.md",
    "benchmarks/gateway/README.md": "benchmarks-gateway.md",
    "benchmarks/telemetry/README.md": "benchmarks-telemetry.md",
}
"""Pages outside docs/ --> their pages in the site."""

FOLDERS = {"RUNBOOKS": "runbooks", "DECISIONS": "adr"}
SOURCES = "source"
"""The folder of the site for copies of files outside docs/."""

BACKGROUND, BACKGROUND_BOOST = ("adr/", "CHANGELOG"), 0.2
"""Pages that a search shows after those for users, and the weight of what it finds."""

_LINK = re.compile(r"(?<=\]\()([^)#\s:]+)(?=[)#])")


def on_config(config: Any) -> Any:
    """Put all pages of a folder in the place of its name in the navigation."""
    config.nav = [_expanded(entry) for entry in config.nav]
    return config


def _expanded(entry: Any) -> Any:
    if isinstance(entry, dict):
        return {title: _expanded(value) for title, value in entry.items()}
    if isinstance(entry, list):
        return [_expanded(each) for each in entry]
    folder = FOLDERS.get(entry)
    if folder is None:
        return entry
    names = sorted(page.name for page in (ROOT / "docs" / folder).glob("*.md"))
    # The index page comes first.
    names.sort(key=lambda name: name != "README.md")
    return [f"{folder}/{name}" for name in names]


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the top folder, and the files that pages link to."""
    texts = {
        page: _in_site((ROOT / name).read_text(), Path(name).parent)
        for name, page in PAGES.items()
    }
    for page, text in texts.items():
        files.append(File.generated(config, page, content=text))
    for file in list(files.documentation_pages()):
        text = texts.get(file.src_uri) or (ROOT / "docs" / file.src_uri).read_text()
        for target in _LINK.findall(text):
            source = _source(target, file.src_uri)
            if source is not None and files.get_file_from_path(source) is None:
                copy = ROOT / source.removeprefix(f"{SOURCES}/")
                files.append(File.generated(config, source, content=copy.read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links to files outside docs/ lead to their copies; rank it in a search."""
    if page.file.src_uri.startswith(BACKGROUND):
        page.meta["search"] = {"boost": BACKGROUND_BOOST}
    if page.file.src_uri in PAGES.values():
        return markdown
    return _in_site(markdown, Path("docs", page.file.src_uri).parent)


def _in_site(text: str, folder: Path) -> str:
    """Return a page of a folder of the repository, with its links as in the site."""
    # Pages outside docs/ are at the top of the site.
    home = folder.relative_to("docs") if folder.is_relative_to("docs") else Path()
    return _LINK.sub(lambda link: _target(link[1], folder, home), text)


def _target(link: str, folder: Path, home: Path) -> str:
    """Return where a link leads in the site, relative to `home`."""
    file = (ROOT / folder / link).resolve()
    if not file.is_relative_to(ROOT) or not file.exists():
        return link
    name = file.relative_to(ROOT).as_posix()
    if name in PAGES:
        name = PAGES[name]
    elif name.startswith("docs/"):
        name = name.removeprefix("docs/")
    elif file.is_file():
        name = f"{SOURCES}/{name}"
    else:
        return link
    return "../" * len(home.parts) + name


def _source(link: str, page: str) -> str | None:
    """Return the copy of a file in the site that a rewritten or plain link leads to."""
    if link.startswith(f"{SOURCES}/"):
        return link
    folder = Path("docs", page).parent
    target = _target(link, folder, folder.relative_to("docs"))
    name = target.removeprefix("../" * len(folder.relative_to("docs").parts))
    return name if name.startswith(f"{SOURCES}/") else None
