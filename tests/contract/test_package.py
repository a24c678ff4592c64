"""What is installed: setup.cfg names everything that the programs need."""

from __future__ import annotations

import re
from configparser import ConfigParser
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("crocbot", "statsd_bridge")


@pytest.fixture(scope="module")
def setup() -> ConfigParser:
    """What setup.cfg says."""
    read = ConfigParser()
    read.read(ROOT / "setup.cfg")
    return read


@pytest.mark.parametrize("package", PACKAGES)
def test_a_wheel_has_every_file(setup: ConfigParser, package: str) -> None:
    """What is no Python is named in setup.cfg, the mark of a typed package too."""
    folder = ROOT / package
    files = (each for each in folder.rglob("*") if each.is_file())
    data = {
        str(each.relative_to(folder))
        for each in files
        if each.suffix != ".py" and "__pycache__" not in each.parts
    }

    named = setup["options.package_data"][package].split(",")
    assert {name.strip() for name in named} == data >= {"py.typed"}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_is_a_package(package: str) -> None:
    """find: leaves out a folder without an __init__.py, and so would the wheel."""
    folders = {each.parent for each in (ROOT / package).rglob("*.py")}

    assert all((folder / "__init__.py").exists() for folder in folders)


def test_the_programs_can_be_called(setup: ConfigParser) -> None:
    """Each command is a function that is there."""
    scripts = setup["options.entry_points"]["console_scripts"].strip().splitlines()

    assert [line.split(" = ")[0] for line in scripts] == ["crocbot", "statsd-bridge"]
    for line in scripts:
        module, _, function = line.split(" = ")[1].partition(":")
        assert callable(getattr(import_module(module), function))


def test_everybody_names_the_same_python(setup: ConfigParser) -> None:
    """Setup, Makefile, ruff, image and pages agree on the oldest one."""
    oldest = setup["options"]["python_requires"].removeprefix(">=")
    pages = [ROOT / "README.md", ROOT / "docs" / "deploy.md"]

    for page in pages:
        assert f"Python {oldest} or newer" in page.read_text()
    assert f"older than {oldest}" in (ROOT / "Makefile").read_text()
    assert f'"py{oldest.replace(".", "")}"' in (ROOT / "ruff.toml").read_text()
    versions = re.findall(r"Python :: (3\.\d+)", setup["metadata"]["classifiers"])
    assert versions[0] == oldest
    assert re.findall(r"^ARG BASE=python:(3\.\d+)", _dockerfile(), re.M)[0] in versions


def _dockerfile() -> str:
    return (ROOT / "compose" / "Dockerfile").read_text()
