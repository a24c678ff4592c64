"""The systemd units, checked by systemd's own tools; nothing is started."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

import pytest

from crocbot.settings.fields import Settings
from statsd_bridge.listener.inherited import FLAGS
from statsd_bridge.storage.file import MAX_WRITE_SECONDS

UNITS = Path(__file__).parents[2] / "compose" / "systemd"
SERVICES = sorted(UNITS.glob("*.service"))
SOCKETS = sorted(UNITS.glob("*.socket"))


def read(file: Path) -> RawConfigParser:
    """Read a unit; the last value of a repeated key counts."""
    unit = RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",))
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(file)
    return unit


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Copy the units, with the paths of this environment's programs."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is missing: it comes with systemd")
    for file in (*SERVICES, *SOCKETS):
        text = file.read_text().replace("/opt/crocbot/bin", str(_programs()))
        (tmp_path / file.name).write_text(text)
    return tmp_path


def _programs() -> Path:
    return Path(sys.executable).parent


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze."""
    return subprocess.run(
        ["systemd-analyze", *map(str, arguments)], capture_output=True, text=True
    )


def test_systemd_accepts_the_units(installed: Path) -> None:
    """It knows every key and value, and the programs exist."""
    done = analyze("verify", *sorted(installed.iterdir()))

    assert (done.returncode, done.stderr) == (0, "")


def test_the_page_about_statsd_exporter_opens_the_ports(installed: Path) -> None:
    """Its commands change the addresses of the sockets, in keys that systemd knows."""
    page = UNITS.parents[1] / "docs" / "from-statsd-exporter.md"
    folder = "/etc/systemd/system"
    commands = [
        line.replace(folder, str(installed))
        for line in page.read_text().splitlines()
        if folder in line and line.startswith(("mkdir ", "printf "))
    ]
    subprocess.run("\n".join(commands), shell=True, check=True)
    read_all = ["systemd-analyze", "verify", *map(str, installed.glob("*.socket"))]
    done = subprocess.run(
        read_all,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{installed}:"},
        capture_output=True,
        text=True,
    )
    changed = {
        file.parent.name: read(file)["Socket"]
        for file in installed.glob("*.socket.d/addresses.conf")
    }

    assert (done.returncode, done.stderr) == (0, "")
    assert changed["statsd-bridge-udp.socket.d"]["ListenDatagram"] == "9125"
    assert changed["statsd-bridge-http.socket.d"]["ListenStream"] == "9102"


@pytest.mark.parametrize("name", [file.name for file in SERVICES])
def test_a_service_is_hardened(installed: Path, name: str) -> None:
    """systemd's exposure level is below 2 of 10, which it calls OK."""
    security = ("security", "--offline=true", "--no-pager", "--threshold=19")
    done = analyze(*security, installed / name)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze is older than 250 and cannot look at files")

    assert done.returncode == 0, done.stdout


def test_the_bridge_knows_its_sockets() -> None:
    """Each has a name that the bridge knows, is on loopback, and starts the bridge."""
    sockets = {
        unit["Socket"]["FileDescriptorName"]: unit["Socket"]
        for unit in map(read, SOCKETS)
    }
    service = read(UNITS / "statsd-bridge.service")["Service"]

    assert sockets.keys() == {"udp", "http"} <= FLAGS.keys()
    assert sockets["udp"]["ListenDatagram"] == "127.0.0.1:9125"
    assert sockets["http"]["ListenStream"] == "127.0.0.1:9102"
    assert {each["Service"] for each in sockets.values()} == {"statsd-bridge.service"}
    assert service["Sockets"].split() == [file.name for file in reversed(SOCKETS)]


def test_the_stop_timeout() -> None:
    """systemd waits longer than the gateway waits for answers."""
    service = read(UNITS / "crocbot.service")["Service"]

    drain = Settings.model_fields["drain_seconds"].default
    assert int(service["TimeoutStopSec"]) > 2 * drain


@pytest.mark.parametrize(
    "name", ["statsd-bridge.service", "statsd-bridge-shard@.service"]
)
def test_a_bridge_keeps_its_series(name: str) -> None:
    """In its state directory, with the time to write them."""
    service = read(UNITS / name)["Service"]
    [flag] = [
        each
        for each in service["ExecStart"].split()
        if each.startswith("--storage.file=")
    ]

    assert flag == f"--storage.file=%S/{service['StateDirectory']}/series"
    assert int(service["TimeoutStopSec"]) > MAX_WRITE_SECONDS


@pytest.mark.parametrize("file", SERVICES, ids=lambda file: str(file.name))
def test_exit_code_2_is_not_restarted(file: Path) -> None:
    """Exit code 2 needs the operator; any other end is restarted."""
    service = read(file)["Service"]

    assert service["Restart"] == "always"
    assert service["RestartPreventExitStatus"] == "2"


def test_the_template_is_the_same_service() -> None:
    """It differs from crocbot.service only in the files of the bot, and its name."""
    one, many = (
        [
            line
            for line in (UNITS / name).read_text().splitlines()
            if not line.startswith("#") and not line.startswith("After=")
        ]
        for name in ("crocbot.service", "crocbot@.service")
    )
    changed = {line.partition("=")[0] for line in set(one) ^ set(many)}

    assert changed == {
        "Description",
        "StateDirectory",
        "WorkingDirectory",
        "Environment",
        "EnvironmentFile",
        "LoadCredential",
    }
    assert all("%i" in line for line in set(many) - set(one))


def test_the_page_names_every_unit() -> None:
    """docs/deploy.md names the units to enable."""
    page = (UNITS.parents[1] / "docs" / "deploy.md").read_text()

    for file in (*SERVICES, *SOCKETS):
        assert file.name in page
