"""`statsd-bridge try` and `suggest` against a running bridge."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from tests.certificates import Authority
from tests.end_to_end.programs import BridgeProcess, Start

RULES = """
mappings:
- {match: app.req.*, name: app_requests_total, labels: {code: $1}}
- {match: app.secret, name: unused, action: drop}
- {match: app.time, name: app_seconds}
"""


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a subcommand."""
    command = [sys.executable, "-m", "statsd_bridge", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a mapping file."""
    path = tmp_path / "rules.yml"
    path.write_text(RULES)
    return path


@pytest.fixture
def bridge(start: Start, file: Path) -> BridgeProcess:
    """Return a bridge that has seen names."""
    bridge = start(f"--statsd.mapping-config={file}")
    lines = (
        *(b"app.req.200:1|c", b"app.req.404:1|c|#zone:eu", b"app.secret:1|c"),
        *(b"app.time:3|ms", b"shop.fr.hits:1|c", b"shop.de.hits:1|c"),
    )
    bridge.send(*lines * 3)
    bridge.scrape_until("\nshop_de_hits 3\n")
    return bridge


def test_a_mapping_is_tried(bridge: BridgeProcess, file: Path, tmp_path: Path) -> None:
    """The same is clean; each difference is named; nothing changes in the bridge."""
    url = f"http://127.0.0.1:{bridge.http}"
    same = run("try", "--against", url, file)
    assert (same.returncode, same.stderr) == (0, "")
    assert same.stdout == "clean: none of 6 names that the bridge has seen changes\n"

    new = tmp_path / "new.yml"
    new.write_text(
        RULES.replace("app_requests_total", "app_http_total").replace(
            ", action: drop", ""
        )
        + "- {match: shop.*.hits, name: shop_hits_total, labels: {shop: $1}}\n"
    )
    before = bridge.get("/metrics").count("\napp_")
    found = run("try", "--against", url, new)
    assert found.returncode == 1
    rows = found.stdout.splitlines()
    assert (
        'renamed: counter "app.req.200": counter app_requests_total{code="200"}'
        ' -> counter app_http_total{code="200"}'
    ) in rows
    assert 'appears: counter "app.secret": dropped -> counter unused' in rows
    assert "vanishes: counter shop_fr_hits" in rows
    assert bridge.get("/metrics").count("\napp_") == before

    printed = run("try", "--against", url, new, "--json")
    assert printed.returncode == 1, printed.stderr
    document: Any = json.loads(printed.stdout)
    assert document["counts"] == {"appears": 1, "labels": 2, "renamed": 4}


def test_what_cannot_be_tried(
    bridge: BridgeProcess, tmp_path: Path, start: Start
) -> None:
    """A file that is refused, one that is too large, a bridge without the page."""
    url = f"http://127.0.0.1:{bridge.http}"
    bad = tmp_path / "bad.yml"
    bad.write_text("mappings:\n- {match: a, nme: x}\n")
    refused = run("try", "--against", url, bad)
    assert refused.returncode == 2
    problem = f"statsd-bridge: {bad}: mappings[0].name: is missing; every rule needs"
    assert refused.stderr.startswith(problem)
    assert refused.stderr.endswith("(line 2)\n")
    bad.write_text("#" * (1 << 20) + "\n")
    assert "has more than 1 MiB" in run("try", "--against", url, bad).stderr

    bad.write_text(RULES)
    without = start("--no-web.ui")
    answer = run("try", "--against", f"http://127.0.0.1:{without.http}", bad)
    assert (answer.returncode, "with status 404" in answer.stderr) == (2, True)


def test_suggestions_make_a_try_that_maps_all(
    bridge: BridgeProcess, file: Path
) -> None:
    """Exit code 1 with rules to add; with these rules there is nothing to suggest."""
    url = f"http://127.0.0.1:{bridge.http}"
    found = run("suggest", "--bridge", url)
    assert (found.returncode, found.stderr) == (1, "")
    file.write_text(RULES + found.stdout.removeprefix("mappings:\n"))
    document = json.loads(run("try", "--against", url, file, "--json").stdout)
    assert document["counts"] == {"labels": 2, "renamed": 2}
    assert {each["after"]["name"] for each in document["changes"]} == {
        "shop_hits_total"
    }
    suggestions = json.loads(run("suggest", "--bridge", url, "--json").stdout)
    (rule,) = suggestions["rules"]
    assert (rule["match"], rule["labels"]) == ("shop.*.hits", {"shop": "$1"})


def test_a_user_and_a_certificate(start: Start, tmp_path: Path, file: Path) -> None:
    """Behind --web.config.file they are needed, also to try a file."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("127.0.0.1")
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    config = tmp_path / "web.yml"
    config.write_text(
        json.dumps(
            {
                "tls_server_config": {
                    "cert_file": str(certificate),
                    "key_file": str(key),
                },
                "basic_auth_users": {"me": hashed},
            }
        )
    )
    bridge = start(f"--web.config.file={config}").wait()
    password = tmp_path / "password"
    password.write_text("secret\n")
    url = f"https://127.0.0.1:{bridge.http}"
    ca_file = f"--ca-file={authority.file}"
    user = ("--user=me", f"--password-file={password}")

    tried = run("try", "--against", url, ca_file, *user, file)
    assert (tried.returncode, tried.stdout) == (
        0,
        "clean: the bridge has seen no names yet\n",
    )
    in_url = url.replace("//", "//me:secret@")
    assert run("suggest", "--bridge", in_url, ca_file).returncode == 0
    for arguments, problem in (
        ((url, ca_file), "refuses user and password"),
        ((url.replace("//", "//me:wrong@"), ca_file), "refuses user and password"),
        ((url, *user), "TLS: "),
    ):
        refused = run("try", file, "--against", *arguments)
        assert refused.returncode == 2
        assert refused.stderr.startswith(f"statsd-bridge: --against: {url}: {problem}")


def test_no_name_is_without_a_rule(start: Start) -> None:
    """Exit code 0."""
    bridge = start()
    found = run("suggest", "--bridge", f"http://127.0.0.1:{bridge.http}")
    assert (found.returncode, found.stdout) == (0, "no name is without a rule\n")
