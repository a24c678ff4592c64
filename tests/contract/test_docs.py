"""The documents: what they point to is there, and the code map is the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("crocbot", "statsd_bridge", "compose", "benchmarks", "docs", "tests", ".ci")
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    + list((ROOT / "benchmarks").rglob("*.md"))
)
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
LINES = 400


def prose(page: Path) -> str:
    """A page without its examples."""
    return re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in headings
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_leads_somewhere(page: Path) -> None:
    """The file that is linked to is there, and so is the heading."""
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if link.startswith("http"):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page

        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def names(text: str) -> set[str]:
    """Every file and folder that a text names in backticks."""
    return set(re.findall(r"`([\w.*/-]+(?:\.(?:py|md|yml|cfg|toml)|/))`", text))


def parts(package: str) -> set[str]:
    """What is in a package, but for what every package has."""
    everywhere = {"__init__.py", "__main__.py", "cli.py", "service.py", "service/"}
    inside = (ROOT / package).iterdir()
    files = {each.name for each in inside if each.suffix == ".py"}
    folders = {f"{each.parent.name}/" for each in ROOT.glob(f"{package}/*/__init__.py")}
    return (files | folders) - everywhere


@pytest.mark.parametrize("package", ["crocbot", "statsd_bridge"])
def test_the_code_map_is_the_code(package: str) -> None:
    """Each part of a package is in its table, and nothing else is."""
    (table,) = re.findall(rf"^\| {package} \| \|\n(.*?)\n\n", ARCHITECTURE, re.M | re.S)
    shown = set().union(*(names(row.split("|")[1]) for row in table.splitlines()))

    assert shown - {"service/"} == parts(package)


def test_what_the_architecture_names_exists() -> None:
    """Files, folders and tests, wherever they are; a star stands for some."""
    every = [each for folder in FOLDERS for each in (ROOT / folder).rglob("*")]
    every += ROOT.glob("*.*")

    for name in names(ARCHITECTURE):
        assert any(each.match(name) for each in every), name


@pytest.mark.parametrize("package", ["crocbot", "statsd_bridge", "benchmarks"])
def test_no_file_is_longer_than_we_say(package: str) -> None:
    """CONTRIBUTING.md has the limit."""
    assert f"never over {LINES}" in (ROOT / "CONTRIBUTING.md").read_text()

    files = (ROOT / package).rglob("*.py")
    long = [each for each in files if each.read_bytes().count(b"\n") > LINES]
    assert long == []
