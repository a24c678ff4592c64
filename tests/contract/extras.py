"""What the extras of setup.cfg require, and what they install."""

from __future__ import annotations

from configparser import ConfigParser
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


def read_setup() -> ConfigParser:
    """Return setup.cfg."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config


def required_by(extras: list[str]) -> list[Requirement]:
    """Return what extras require, those of other extras of the project included."""
    setup, found = read_setup(), []
    lines = setup["options"]["install_requires"].split("\n")
    for extra in extras:
        lines += setup["options.extras_require"][extra].split("\n")
    for line in filter(None, lines):
        requirement = Requirement(line)
        if requirement.name == "crocbot":
            found += required_by(sorted(requirement.extras))
        else:
            found.append(requirement)
    return found


def installed_by(*extras: str) -> set[str]:
    """Return the names of all libraries that extras install; without one, the base."""
    found: set[str] = set()
    waiting = required_by(list(extras))
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in found:
            continue
        found.add(name)
        for line in distribution(name).requires or ():
            needed = Requirement(line)
            asked = ["", *requirement.extras]
            if needed.marker is None or any(
                needed.marker.evaluate({"extra": each}) for each in asked
            ):
                waiting.append(needed)
    return found
