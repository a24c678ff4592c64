"""What an operator may write, and the one line he gets when it cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from statsd_bridge import cli


def test_a_good_file_passes_the_check(tmp_path: Path) -> None:
    """--check-config reads everything, starts nothing and exits 0."""
    rules = tmp_path / "rules.yml"
    rules.write_text("mappings: [{match: a.*, name: a}]")

    assert cli.main([f"--statsd.mapping-config={rules}", "--check-config"]) == 0
    assert cli.main(["--statsd.mapping-config", str(rules), "--check-config"]) == 0
    assert cli.main(["--check-config"]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--nonsense"], "--nonsense"),
        (["stray"], "stray"),
        (["--statsd.listen-udp=9125"], "--statsd.listen-udp"),
        (["--statsd.listen-udp=", "--statsd.listen-tcp="], "at least one"),
        (["--web.listen-address=x:y"], "--web.listen-address"),
        (["--web.telemetry-path=metrics"], "--web.telemetry-path"),
        (["--statsd.cache-size=-1"], "--statsd.cache-size"),
        (["--statsd.cache-size=many"], "--statsd.cache-size"),
        (["--statsd.set-window=60"], "--statsd.set-window"),
        (["--statsd.set-window=0"], "--statsd.set-window"),
        (["--web.enable-lifecycle=false"], "--web.enable-lifecycle"),
        (["--statsd.parse-dogstatsd-tags=true"], "--statsd.parse-dogstatsd-tags"),
        (["--web.telemetry-path="], "--web.telemetry-path"),
        (["--web.telemetry-path=/-/healthy"], "--web.telemetry-path"),
        (["--web.telemetry-path=/explain"], "--web.telemetry-path"),
        (["--statsd.unixsocket-mode=9"], "--statsd.unixsocket-mode"),
        (["--statsd.read-buffer=-1"], "--statsd.read-buffer"),
        (["--statsd.event-flush-interval=soon"], "--statsd.event-flush-interval"),
        (["--statsd.cache-type=mru"], "--statsd.cache-type"),
        (["--statsd.relay.address=:9"], "--statsd.relay.address"),
        (["--statsd.relay.packet-length=-1"], "--statsd.relay.packet-length"),
        ([f"--statsd.listen-udp={'x' * 64}.org:1"], "--statsd.listen-udp"),
        (["--statsd.listen-udp=no.such.invalid:1"], "--statsd.listen-udp"),
        (["@/no/such/file"], "@/no/such/file"),
        (["--log.level=loud"], "--log.level"),
        (["--statsd.mapping-config=/no/such/file", "--check-config"], "/no/such/file"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line names the flag or the file, and there is no traceback."""
    code = cli.main(arguments)
    error = capsys.readouterr().err

    assert code == 2
    assert words in error
    assert error.count("\n") == 1


def test_switches_are_on_or_off_by_their_names(tmp_path: Path) -> None:
    """`--x` and `--no-x`, and the last one counts."""
    rules = tmp_path / "rules.yml"
    rules.write_text("nonsense: 1")
    check = [f"--statsd.mapping-config={rules}", "--check-config"]
    strict, loose = "--statsd.mapping-strict", "--no-statsd.mapping-strict"

    assert cli.main([*check, loose]) == 0
    assert cli.main([*check, strict]) == 2
    assert cli.main([*check, strict, loose]) == 0


def test_a_file_may_hold_the_arguments(tmp_path: Path) -> None:
    """One to a line, lines with # are comments, and more may stand around it."""
    rules, arguments = tmp_path / "rules.yml", tmp_path / "arguments"
    rules.write_text("mappings: [{match: a..b, name: a}]")
    arguments.write_text(f"# ours\n--statsd.mapping-config\n{rules}\n\n")

    assert cli.main(["--web.enable-lifecycle", f"@{arguments}", "--check-config"]) == 2
    rules.write_text("")
    assert cli.main(["--web.enable-lifecycle", f"@{arguments}", "--check-config"]) == 0


def test_a_value_that_begins_with_an_at_sign_is_no_file() -> None:
    """An abstract Unix socket may be named with or without an equals sign."""
    for flag in (["--statsd.listen-unixgram", "@x"], ["--statsd.listen-unixgram=@x"]):
        assert cli.main([*flag, "--check-config"]) == 0


def test_levels_may_be_written_large() -> None:
    """As statsd_exporter takes them."""
    assert cli.main(["--log.level=INFO", "--check-config"]) == 0


def test_flags_of_parts_that_do_not_exist_here_are_accepted() -> None:
    """A command line written for statsd_exporter goes on working."""
    idle = [
        *("--statsd.event-queue-size=10", "--statsd.event-flush-threshold=1"),
        *("--statsd.event-flush-interval=1s", "--statsd.udp-packet-queue-size=5"),
        "--statsd.cache-type=random",
    ]

    assert cli.main([*idle, "--check-config"]) == 0


def test_help_tells_of_flags_that_do_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each of them says so."""
    cli.main(["--help"])
    words = " ".join(capsys.readouterr().out.split())

    for name, _ in cli.IDLE_FLAGS:
        told = words.partition(f"--{name} ")[2].partition("--")[0]
        assert "does nothing here" in told


def test_the_rules_can_be_drawn(tmp_path: Path) -> None:
    """--debug.dump-fsm writes a Graphviz picture."""
    rules, picture = tmp_path / "rules.yml", tmp_path / "rules.dot"
    rules.write_text("mappings: [{match: a.*, name: a}]")
    code = cli.main(
        [
            f"--statsd.mapping-config={rules}",
            f"--debug.dump-fsm={picture}",
            "--check-config",
        ]
    )

    assert code == 0
    assert picture.read_text().startswith("digraph")


@pytest.mark.parametrize("flag", ["--help", "-h", "--version"])
def test_help_and_version_exit_0(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Both go to standard output."""
    assert cli.main([flag]) == 0
    assert capsys.readouterr().out
