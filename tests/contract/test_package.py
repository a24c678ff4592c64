"""The wheel, its extras, and the oldest Python that every page names."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.request
from collections.abc import Iterator
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.contract.extras import ROOT, installed_by, read_setup

TIMEOUT_SECONDS = 300
EXTRAS = {"crocbot": "gateway", "statsd_bridge": "bridge"}
BASE = ("click", "structlog")
# Folders in which several libraries have files, none of which are imported.
SHARED = ("__pycache__",)
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
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the source archive from a copy of the files under version control."""
    if not (ROOT / ".git").exists():
        pytest.skip("what is under version control is not known without .git")
    home = tmp_path_factory.mktemp("sdist")
    for name in _tracked():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, home / name)
    build = "from setuptools.build_meta import build_sdist; build_sdist('dist')"
    subprocess.run(
        [sys.executable, "-c", build], cwd=home, check=True, stdout=subprocess.DEVNULL
    )
    (built,) = (home / "dist").iterdir()
    return built


def _tracked() -> set[str]:
    """Return the files of the project, those included that are not yet committed."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    names = listed.stdout.decode().splitlines()
    return {name for name in names if (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from the source archive, like a release."""
    home = tmp_path_factory.mktemp("wheel")
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", home, sdist)
    (built,) = home.glob("*.whl")
    return built


def _pip(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", *arguments], check=True)


def test_the_source_archive_is_whole(sdist: Path) -> None:
    """It has each file under version control, and what setuptools writes."""
    with tarfile.open(sdist) as archive:
        files = {
            each.name.partition("/")[2]
            for each in archive.getmembers()
            if each.isfile()
        }
    written = {name for name in files if ".egg-info/" in name}

    assert files - written - {"PKG-INFO"} == _tracked()


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


def _environment(wheel: Path, home: Path, *extras: str) -> Path:
    """Install the wheel with extras in a new environment; return its commands."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    python = home / "bin" / "python"
    _pip("--python", python, "install", "--no-deps", "--no-index", wheel)
    # Links to the libraries of this environment, since a test has no package index.
    (packages,) = home.glob("lib/python*/site-packages")
    for name in installed_by(*extras):
        library = distribution(name)
        for top in {file.parts[0] for file in library.files or ()} - {"..", *SHARED}:
            link = packages / top
            if not link.exists():
                link.symlink_to(Path(str(library.locate_file(top))))
    return home / "bin"


@pytest.fixture(scope="module")
def base(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel without extras; return the folder of its commands."""
    return _environment(wheel, tmp_path_factory.mktemp("base"))


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


def test_the_bridge_alone(wheel: Path, tmp_path: Path) -> None:
    """With its extra only, the wheel serves the page and all that the page loads."""
    commands = _environment(wheel, tmp_path, "bridge")
    flags = ["--statsd.listen-udp=127.0.0.1:0", "--statsd.listen-tcp="]
    with subprocess.Popen(
        [commands / "statsd-bridge", *flags, "--web.listen-address=127.0.0.1:0"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    ) as bridge:
        try:
            assert bridge.stderr is not None
            ready = next(line for line in bridge.stderr if "event=ready" in line)
            (address,) = re.findall(r" http=(\S+)", ready)
            page = _get(f"http://{address}/")
            loaded = re.findall(r'"(ui/static/[^"]+)"', page)
            assert all(_get(f"http://{address}/{each}") for each in loaded)
            metrics = _get(f"http://{address}/metrics")
        finally:
            bridge.terminate()

    version = read_setup()["metadata"]["version"]
    assert f'statsd_bridge_build_info{{version="{version}"}} 1' in metrics
    assert {each.partition("?")[0].rpartition(".")[2] for each in loaded} == {
        *("css", "js", "svg")
    }


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
        body: bytes = response.read()
    return body.decode()


def test_the_gateway_alone(wheel: Path, tmp_path: Path) -> None:
    """With its extra only, the wheel answers a message of its own sandbox."""
    commands = _environment(wheel, tmp_path, "gateway")
    run = subprocess.run(
        [commands / "crocbot", "chat"],
        input="hello\n",
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )

    assert (run.returncode, run.stdout) == (0, "hello\n"), run.stderr


def test_examples_name_the_version_of_the_package() -> None:
    """The tags of images in pages and manifests are the version of setup.cfg."""
    tags = re.compile(r"(?:registry\.example\.org/[\w-]+:|^ *tag: )(\d[\w.]*)", re.M)
    files = [*ROOT.glob("docs/*.md"), *ROOT.glob("compose/**/*.yml")]
    named = {tag for file in files for tag in tags.findall(file.read_text())}

    assert named == {read_setup()["metadata"]["version"]}


@pytest.mark.parametrize("package", EXTRAS)
def test_an_extra_is_what_the_package_imports(package: str) -> None:
    """Base and extra name each library that the package imports, and no other."""
    named = _requirements(EXTRAS[package]) | set(BASE)
    if package == "crocbot":
        for extra in ("openai", "postgres", "socks"):
            named |= _requirements(extra) - {"crocbot"}
        # The demo needs both extras: it reads the bridge's page.
        named.add("prometheus-client")

    imported = _imported(ROOT / package)

    assert {BROUGHT_ALONG.get(name, name) for name in imported} == named


def _requirements(extra: str) -> set[str]:
    """Return the names of the distributions that an extra lists itself."""
    lines = read_setup()["options.extras_require"][extra].strip().splitlines()
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


def test_everything_names_the_same_oldest_python() -> None:
    """setup.cfg, Makefile, ruff, the image and the pages agree."""
    setup = read_setup()
    oldest = setup["options"]["python_requires"].removeprefix(">=")
    dockerfile = (ROOT / "compose" / "Dockerfile").read_text()

    for page in (ROOT / "README.md", ROOT / "docs" / "deploy.md"):
        assert f"Python {oldest} or newer" in page.read_text()
    assert f"older than {oldest}" in (ROOT / "Makefile").read_text()
    assert f'"py{oldest.replace(".", "")}"' in (ROOT / "ruff.toml").read_text()
    versions = re.findall(r"Python :: (3\.\d+)", setup["metadata"]["classifiers"])
    assert versions[0] == oldest
    assert re.findall(r"^ARG BASE=python:(3\.\d+)", dockerfile, re.M)[0] in versions
