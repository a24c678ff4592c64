"""Files that machines read: the workflow, forms of issues, locked libraries."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.utils import canonicalize_name

from tests.contract.extras import installed_by, read_setup, required_by

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
# What both programs use.
SHARED = {"click", "structlog", "typing-extensions", "crocbot"}


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("github-workflows", "workflows/ci.yml"),
        ("dependabot", "dependabot.yml"),
        ("github-issue-forms", "ISSUE_TEMPLATE/bug.yml"),
        ("github-issue-forms", "ISSUE_TEMPLATE/wish.yml"),
        ("github-issue-config", "ISSUE_TEMPLATE/config.yml"),
    ],
)
def test_a_file_of_the_hosting_platform_has_its_schema(schema: str, file: str) -> None:
    """The validator knows the schemas that the platform publishes."""
    command = ["-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
    done = subprocess.run(
        [sys.executable, *command, GITHUB / file], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_hooks_are_valid() -> None:
    """pre-commit accepts its file."""
    command = ["-m", "pre_commit", "validate-config", ROOT / ".pre-commit-config.yaml"]

    assert subprocess.run([sys.executable, *command], check=False).returncode == 0


def test_the_workflow_tests_each_python_of_the_metadata() -> None:
    """The versions of the matrix include those that setup.cfg names."""
    workflow = yaml.safe_load((GITHUB / "workflows" / "ci.yml").read_text())
    named = set(
        re.findall(r"Python :: (3\.\d+)", read_setup()["metadata"]["classifiers"])
    )

    assert named <= set(workflow["jobs"]["check"]["strategy"]["matrix"]["python"])


@pytest.mark.parametrize(
    ("lock", "extras"),
    [
        ("bridge", ["bridge"]),
        ("gateway", ["openai", "postgres", "socks"]),
        ("dev", ["dev"]),
    ],
)
def test_what_setup_requires_is_locked(lock: str, extras: list[str]) -> None:
    """`make lock` has been run since setup.cfg has changed."""
    locked = _locked(lock)
    for requirement in required_by(extras):
        version = locked.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement} is not in locks/{lock}.txt"
        assert requirement.specifier.contains(version), requirement


def test_all_locks_have_the_same_versions() -> None:
    """What the images have is what was tested."""
    tested = _locked("dev")
    for lock in ("bridge", "gateway"):
        assert _locked(lock).items() <= tested.items()


@pytest.mark.parametrize(
    ("extra", "other"), [("bridge", "gateway"), ("gateway", "bridge")]
)
def test_an_extra_brings_no_library_of_the_other_program(
    extra: str, other: str
) -> None:
    """Neither what it requires nor what that requires is required by the other one."""
    direct = {canonicalize_name(each.name) for each in required_by([other])} - SHARED

    assert not installed_by(extra) & direct


def _locked(name: str) -> dict[str, str]:
    """Return the versions of a lock file by name."""
    text = (ROOT / "locks" / f"{name}.txt").read_text()
    return {
        canonicalize_name(library): version
        for library, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", text, re.M)
    }
