"""The command line: flags, argument files, errors in one line, exit codes."""

from __future__ import annotations

import builtins
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from statsd_bridge import cli
from statsd_bridge.settings import IGNORED_FLAGS


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--statsd.listen-unixgram", "@x"],
        ["--statsd.listen-unixgram=@x"],
        ["--statsd.relay.address="],
        ["--log.level=INFO"],
        ["--statsd.read-buffer=8.388608e+06"],
        [
            *("--statsd.event-queue-size=10", "--statsd.event-flush-threshold=1e3"),
            *("--statsd.event-flush-interval=1s", "--statsd.udp-packet-queue-size=5"),
            "--statsd.cache-type=random",
        ],
    ],
)
def test_a_good_command_line_passes_the_check(arguments: list[str]) -> None:
    """--check-config starts nothing and exits 0."""
    assert cli.main([*arguments, "--check-config"]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--nonsense"], "--nonsense"),
        (["stray"], "stray"),
        (["--statsd.listen-udp=9125"], "--statsd.listen-udp: '9125'"),
        (["--statsd.listen-udp=", "--statsd.listen-tcp="], "at least one"),
        (["--statsd.relay.address=:9"], "--statsd.relay.address: ':9'"),
        (["--statsd.cache-size=1.5"], "--statsd.cache-size: '1.5'"),
        (["--statsd.event-queue-size=x"], "--statsd.event-queue-size: 'x'"),
        (["--web.enable-lifecycle=false"], "--web.enable-lifecycle"),
        (["--statsd.parse-dogstatsd-tags=true"], "--statsd.parse-dogstatsd-tags"),
        ([f"--statsd.listen-udp={'x' * 64}.org:1"], "--statsd.listen-udp: cannot"),
        (["--statsd.listen-udp=no.such.invalid:1"], "--statsd.listen-udp: cannot"),
        (["@/no/such/file"], "@/no/such/file"),
        (["lint", "/no/\x1b[31m\nfile"], r"/no/\x1b[31m\nfile"),
        (["explain", "--expect", "/no/\nfile"], r"--expect: /no/\nfile"),
        (["--statsd.mapping-config=/no/such/file", "--check-config"], "/no/such/file"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The line names the flag or the file, without a traceback."""
    code = cli.main(arguments)
    error = capfd.readouterr().err

    assert code == 2
    assert error.startswith("statsd-bridge: ")
    assert words in error
    assert error.count("\n") == 1


def test_the_last_of_repeated_switches_counts(tmp_path: Path) -> None:
    """`--x` and `--no-x`."""
    rules = tmp_path / "rules.yml"
    rules.write_text("nonsense: 1")
    check = [f"--statsd.mapping-config={rules}", "--check-config"]
    strict, loose = "--statsd.mapping-strict", "--no-statsd.mapping-strict"

    assert cli.main([*check, loose]) == 0
    assert cli.main([*check, strict]) == 2
    assert cli.main([*check, strict, loose]) == 0


def test_a_file_may_hold_the_arguments(tmp_path: Path) -> None:
    """One per line, comments with #, with more arguments around it."""
    rules, arguments = tmp_path / "rules.yml", tmp_path / "arguments"
    rules.write_text("mappings: [{match: a..b, name: a}]")
    arguments.write_text(f"# comment\n--statsd.mapping-config\n{rules}\n\n")
    command = ["--web.enable-lifecycle", f"@{arguments}", "--check-config"]

    assert cli.main(command) == 2
    rules.write_text("")
    assert cli.main(command) == 0


def test_the_rules_can_be_drawn(tmp_path: Path) -> None:
    """--debug.dump-fsm writes a Graphviz graph."""
    rules, graph = tmp_path / "rules.yml", tmp_path / "rules.dot"
    rules.write_text("mappings: [{match: a.*, name: a}]")
    flags = [f"--statsd.mapping-config={rules}", f"--debug.dump-fsm={graph}"]

    assert cli.main([*flags, "--check-config"]) == 0
    assert graph.read_text().startswith("digraph")


@pytest.mark.parametrize("flag", ["--help", "-h", "--version"])
def test_help_and_version_exit_0(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Both are printed to standard output."""
    assert cli.main([flag]) == 0
    assert capsys.readouterr().out


def test_help_marks_flags_that_do_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Each of them."""
    cli.main(["--help"])
    words = " ".join(capsys.readouterr().out.split())

    for flag in IGNORED_FLAGS:
        help_ = words.partition(f"--{flag.name} ")[2].partition("--")[0]
        assert "does nothing here" in help_


def test_help_imports_no_library_but_click() -> None:
    """So it is quick; a command imports what it needs when it runs."""
    program = (
        "import sys; from statsd_bridge import cli; cli.main(['--help']);"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    modules = {name.partition(".")[0] for name in done.stdout.split()}
    heavy = {"OpenSSL", "bcrypt", "cryptography", "prometheus_client", "re2"}

    assert "click" in modules
    assert not modules & (heavy | {"structlog", "twisted", "yaml"})


@pytest.mark.parametrize("module", ["twisted", "prometheus_client"])
def test_a_missing_extra_is_named(
    module: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """One line says what to install; the exit code is 2."""

    def import_(name: str, *args: Any, **named: Any) -> Any:
        if name == "statsd_bridge.service" or name.partition(".")[0] == module:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)
        return original(name, *args, **named)

    original = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", import_)
    code = cli.main(["--check-config"])

    assert code == 2
    assert capfd.readouterr().err == (
        "statsd-bridge needs the extra \"bridge\": pip install 'crocbot[bridge]'\n"
    )


@pytest.mark.parametrize("arguments", [["--help"], ["explain", "a:1|c"]])
def test_output_that_cannot_be_written(arguments: list[str]) -> None:
    """A full disk is one line on standard error; the exit code is 2."""
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(
            [sys.executable, "-m", "statsd_bridge", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )

    assert run.returncode == 2
    assert run.stderr == (
        "statsd-bridge: the output cannot be written: No space left on device\n"
    )
