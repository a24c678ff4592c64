"""The wheel, its extras, and the oldest Python that every page names."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
EXTRAS = {"crocbot": "gateway", "statsd_bridge": "bridge"}
BASE = ("click", "structlog")
# Imported, and installed by another requirement.
BROUGHT_ALONG = {
    "cryptography": "twisted",
    "httpx2": "openai",
    "pydantic": "pydantic-settings",
    "pyopenssl": "twisted",
    "yarl": "aiohttp",
    "zope-interface": "twisted",
}


@pytest.fixture(scope="module")
def setup() -> ConfigParser:
    """Read setup.cfg."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the sources."""
    home = tmp_path_factory.mktemp("wheel")
    for name in EXTRAS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, home / name, ignore=ignored)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, home)
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", home, home)
    (built,) = home.glob("*.whl")
    return built


def _pip(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", *arguments], check=True)


def test_the_wheel_has_both_packages_and_nothing_else(wheel: Path) -> None:
    """Every file of the packages is in it; tests, tools and benchmarks are not."""
    files = {
        str(file.relative_to(ROOT))
        for name in EXTRAS
        for file in (ROOT / name).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }

    names = set(ZipFile(wheel).namelist())

    assert {name for name in names if ".dist-info/" not in name} == files
    assert files >= {"crocbot/py.typed", "statsd_bridge/py.typed"}


@pytest.fixture(scope="module")
def base(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel without extras; return the folder of its commands."""
    home = tmp_path_factory.mktemp("base")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    python = home / "bin" / "python"
    _pip("--python", python, "install", "--no-deps", "--no-index", wheel)
    # Copied from here, since a test has no package index.
    (packages,) = home.glob("lib/python*/site-packages")
    for name in (*BASE, "typing_extensions"):
        for file in distribution(name).files or ():
            if ".." not in file.parts and file.suffix != ".pyc":
                (packages / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file.locate(), packages / file)
    return home / "bin"


@pytest.mark.parametrize(
    ("command", "arguments", "extra"),
    [
        ("crocbot", ["gateway"], "gateway"),
        ("crocbot", ["check"], "gateway"),
        ("crocbot", ["demo"], "gateway"),
        ("statsd-bridge", [], "bridge"),
        ("statsd-bridge", ["explain", "a:1|c"], "bridge"),
    ],
)
def test_a_command_without_its_extra_names_it(
    base: Path, tmp_path: Path, command: str, arguments: list[str], extra: str
) -> None:
    """The error is one line with the extra to install, and the exit code is 2."""
    run = subprocess.run(
        [base / command, *arguments],
        cwd=tmp_path,
        env={"TELEGRAM_BOT_TOKEN": "1:test", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 2, run.stderr
    (line,) = run.stderr.splitlines()
    assert f"pip install 'crocbot[{extra}" in line


@pytest.mark.parametrize("command", ["crocbot", "statsd-bridge"])
def test_help_needs_no_extra(base: Path, command: str) -> None:
    """`--help` is printed by a base installation."""
    run = subprocess.run([base / command, "--help"], capture_output=True, text=True)

    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("Usage: ")


@pytest.mark.parametrize("package", EXTRAS)
def test_an_extra_is_what_the_package_imports(
    setup: ConfigParser, package: str
) -> None:
    """Base and extra name each library that the package imports, and no other."""
    named = _requirements(setup, EXTRAS[package]) | set(BASE)
    if package == "crocbot":
        for extra in ("openai", "socks"):
            named |= _requirements(setup, extra) - {"crocbot"}
        # The demo needs both extras: it reads the bridge's page.
        named.add("prometheus-client")

    imported = _imported(ROOT / package)

    assert {BROUGHT_ALONG.get(name, name) for name in imported} == named


def _requirements(setup: ConfigParser, extra: str) -> set[str]:
    """Return the names of the distributions that an extra lists itself."""
    lines = setup["options.extras_require"][extra].strip().splitlines()
    return {re.split(r"[\[<>=]", line.lower())[0] for line in lines}


def _imported(folder: Path) -> set[str]:
    """Return the distributions that the modules of a folder import."""
    distributions = packages_distributions()
    return {
        distributions[module][0].lower().replace("_", "-").replace(".", "-")
        for file in folder.rglob("*.py")
        for module in _modules(ast.parse(file.read_text()))
        if module in distributions and module not in EXTRAS
    }


def _modules(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def test_everything_names_the_same_oldest_python(setup: ConfigParser) -> None:
    """setup.cfg, Makefile, ruff, the image and the pages agree."""
    oldest = setup["options"]["python_requires"].removeprefix(">=")
    dockerfile = (ROOT / "compose" / "Dockerfile").read_text()

    for page in (ROOT / "README.md", ROOT / "docs" / "deploy.md"):
        assert f"Python {oldest} or newer" in page.read_text()
    assert f"older than {oldest}" in (ROOT / "Makefile").read_text()
    assert f'"py{oldest.replace(".", "")}"' in (ROOT / "ruff.toml").read_text()
    versions = re.findall(r"Python :: (3\.\d+)", setup["metadata"]["classifiers"])
    assert versions[0] == oldest
    assert re.findall(r"^ARG BASE=python:(3\.\d+)", dockerfile, re.M)[0] in versions
