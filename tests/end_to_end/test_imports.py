"""What a bridge imports until it has answered a scrape: each library costs a start."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.programs import BridgeProcess, Start

pytestmark = pytest.mark.end_to_end

NEEDED_BY_FILES = {
    *("OpenSSL._util", "cryptography.x509", "bcrypt._bcrypt"),
    *("re2._re2", "yaml.reader"),
}
"""A module of each library: an import of the library that fails is logged, too."""

RULES = "mappings: [{match: 'x(.*)', match_type: regex, name: x}]"


def imported(bridge: BridgeProcess) -> set[str]:
    """Return the modules that a process has imported, which Python logs."""
    bridge.scrape_until("statsd_bridge_build_info")
    rows = [line.rpartition("|") for line in bridge.log().splitlines()]
    return {
        name.strip() for before, _, name in rows if before.startswith("import time:")
    }


def test_a_default_run_imports_no_optional_library(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes time and memory at every start, and OpenSSL the most."""
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    bridge = start().wait()
    bridge.send(b"a:1|c\nb:1|g\nc:1|ms\nd:1|h\ne:x|s")
    bridge.scrape_until("\ne 1\n")
    modules = imported(bridge)

    assert {"twisted", "structlog", "prometheus_client"} <= modules
    assert not modules & {*NEEDED_BY_FILES, "rich.console", "twisted.web.server"}


def test_rules_and_users_import_what_they_need(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A library that is imported late is found."""
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    rules, web = tmp_path / "rules.yml", tmp_path / "web.yml"
    rules.write_text(RULES)
    web.write_text("http_server_config: {http2: false}\n")
    flags = f"--statsd.mapping-config={rules}", f"--web.config.file={web}"
    modules = imported(start(*flags).wait())

    assert modules >= NEEDED_BY_FILES
