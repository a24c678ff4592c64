"""Changes of `.env`: quoting, lines that stay, copies, modes."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot.errors import OperatorError
from crocbot.settings import env_file
from crocbot.settings.env_file import HEADER, EnvFile, escaped
from crocbot.settings.files import read_dotenv
from crocbot.settings.quoting import quote

ONE_LINE = st.text(
    st.characters(exclude_categories=["Cs"]).filter(str.isprintable)
    | st.sampled_from("""'"\\$# {}=`\t;%&"""),
    max_size=30,
)
# Each with characters that a reader may take for something else.
VALUES = (
    "plain",
    "a b",
    " a ",
    "it's",
    'say "hi"',
    "a#b # c",
    "back\\slash",
    "two\\\\ it's",
    "cost $5",
    "$HOME",
    "`id`",
    "%h",
    "ünï 🐊",
    """sh -c "echo \\"$1\\"" -""",
)


def read(path: Path, text: str) -> dict[str, str]:
    """Return what the gateway reads from a text."""
    path.write_bytes(text.encode())
    variables, warnings = read_dotenv(path)
    assert warnings == []
    return {name.upper(): value for name, value in variables.items()}


def names(folder: Path) -> list[str]:
    """Return the names of the files in a folder."""
    return sorted(file.name for file in folder.iterdir())


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of a file."""
    return tmp_path_factory.mktemp("env") / ".env"


@given(value=ONE_LINE)
def test_a_value_comes_back(path: Path, value: str) -> None:
    """What is quoted is read as the same value, or it is refused."""
    try:
        quoted = quote("CROCBOT_MODEL", value)
    except OperatorError as error:
        assert "${" in value or set(value) & set("\\'\t")
        assert str(error).startswith("CROCBOT_MODEL: ")
        return
    assert read(path, f"A=1\nCROCBOT_MODEL={quoted}\nB=2\n") == {
        "A": "1",
        "CROCBOT_MODEL": value,
        "B": "2",
    }


@given(words=st.lists(ONE_LINE, min_size=1, max_size=4))
def test_a_command_comes_back(path: Path, words: list[str]) -> None:
    """The words of a program are the same, however they had to be quoted."""
    name = "CROCBOT_AGENT_COMMAND"
    try:
        quoted = quote(name, shlex.join(words))
    except OperatorError:
        assert set("".join(words)) & set("$\\\t")
        return
    assert shlex.split(read(path, f"{name}={quoted}\n")[name]) == words


def test_docker_compose_reads_the_same(tmp_path: Path) -> None:
    """The `env_file` of docker compose gives a container the same values."""
    if shutil.which("docker") is None:
        pytest.skip("docker is missing")
    lines = [f"V{n}={quote('V', value)}\n" for n, value in enumerate(VALUES)]
    (tmp_path / "values.env").write_text("".join(lines))
    (tmp_path / "compose.yml").write_text(
        "name: x\nservices: {a: {image: x, env_file: values.env}}\n"
    )
    done = subprocess.run(
        ["docker", "compose", "config", "--format", "json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"docker compose does not work: {done.stderr}")
    found = json.loads(done.stdout)["services"]["a"]["environment"]
    # `config` prints a $ as $$, so that its output can be read again.
    values = [found[f"V{n}"].replace("$$", "$") for n in range(len(VALUES))]
    assert values == list(VALUES)


GENERATOR = Path("/usr/lib/systemd/user-environment-generators")


def test_systemd_reads_the_same(tmp_path: Path) -> None:
    """systemd's reader of such files, in its generator of environments, agrees."""
    generator = GENERATOR / "30-systemd-environment-d-generator"
    if not generator.exists():
        pytest.skip("systemd's generator of environments is missing")
    # It replaces variables afterwards, which EnvironmentFile does not.
    values = [value for value in VALUES if "$" not in value]
    folder = tmp_path / "environment.d"
    folder.mkdir()
    lines = [f"V{n}={quote('V', value)}\n" for n, value in enumerate(values)]
    (folder / "1.conf").write_text("".join(lines))
    done = subprocess.run(
        [generator], env={"XDG_CONFIG_HOME": str(tmp_path)}, capture_output=True
    )
    lines = [line for line in done.stdout.decode().splitlines() if line[0] == "V"]
    found = {line.partition("=")[0]: shell_value(line) for line in lines}
    assert found == {f"V{n}": value for n, value in enumerate(values)}


def shell_value(line: str) -> str:
    """Return the value of a line NAME=value, which is quoted for a shell."""
    name, _, _ = line.partition("=")
    script = f'{line}; printf %s "${name}"'
    return subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True
    ).stdout


def test_lines_that_stay(tmp_path: Path) -> None:
    """Comments, order, line ends, unreadable lines and other variables stay."""
    path = tmp_path / ".env"
    text = (
        "\ufeff# first\r\n\r\nexport CROCBOT_AGENT = 'http'  # mine\r\n"
        "not a line of it\r\nOPENAI_API_KEY_FILE=/x\r\ncrocbot_model=a\r\n"
        "CROCBOT_MODEL=b # last"
    )
    path.write_bytes(text.encode())
    old = EnvFile.read(path)
    new = old.with_values(
        {
            "CROCBOT_AGENT": "echo",
            "OPENAI_API_KEY_FILE": None,
            "CROCBOT_MODEL": "c d",
            "OPENAI_API_KEY": "sk-1",
        }
    )

    assert new.text == (
        "\ufeff# first\r\n\r\nexport CROCBOT_AGENT = echo  # mine\r\n"
        "not a line of it\r\ncrocbot_model=a\r\n"
        "CROCBOT_MODEL='c d' # last\r\nOPENAI_API_KEY=sk-1\r\n"
    )
    assert old.changes(new) == [
        "- CROCBOT_AGENT=http",
        "+ CROCBOT_AGENT=echo",
        "- OPENAI_API_KEY_FILE=/x",
        "- CROCBOT_MODEL=b",
        "+ CROCBOT_MODEL=c d",
        "+ OPENAI_API_KEY=***",
    ]


def test_changes_in_the_order_of_the_answers(tmp_path: Path) -> None:
    """New variables are shown in the order in which they will be in the file."""
    names = ["TELEGRAM_BOT_TOKEN", *(f"CROCBOT_{each}" for each in "HGFEDCBA")]
    old = EnvFile(tmp_path / ".env")
    lines = old.changes(old.with_values(dict.fromkeys(names, "1")))
    assert [line.split("=")[0] for line in lines] == [f"+ {name}" for name in names]


@given(
    before=st.lists(
        st.sampled_from(
            ["# c", "", "A=1", "export B='x y' # z", "C", "nonsense here", "D=''"]
        ),
        max_size=6,
    ),
    end=st.sampled_from(["\n", "\r\n"]),
    value=ONE_LINE.filter(str.strip),
)
def test_other_variables_keep_their_values(
    path: Path, before: list[str], end: str, value: str
) -> None:
    """A change of one variable changes no other one, and a second change nothing."""
    path.write_bytes(end.join(before).encode())
    old, known = EnvFile.read(path), read_dotenv(path)[0]
    try:
        new = old.with_values({"B": value, "E": "5"})
    except OperatorError:
        return
    path.write_bytes((new.text or "").encode())
    found = read_dotenv(path)[0]

    expected = {**known, "b": value, "e": "5"}
    assert {k: v for k, v in found.items() if v.strip()} == {
        k: v for k, v in expected.items() if v.strip()
    }
    assert EnvFile.read(path).with_values({"B": value, "E": "5"}).text == new.text


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_a_new_file(tmp_path: Path, umask: int) -> None:
    """It has mode 600 whatever the umask is, and nothing else is left."""
    old = EnvFile.read(tmp_path / ".env")
    before = os.umask(umask)
    try:
        copy = old.replace(old.with_values({"CROCBOT_AGENT": "echo"}))
    finally:
        os.umask(before)

    assert copy is None
    assert names(tmp_path) == [".env"]
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert (tmp_path / ".env").read_text() == f"{HEADER}CROCBOT_AGENT=echo\n"


def test_copies_are_numbered(tmp_path: Path) -> None:
    """Each replaced file is kept, behind a link, too."""
    target = tmp_path / "real"
    target.write_text("CROCBOT_AGENT=a0\n")
    target.chmod(0o644)
    link = tmp_path / ".env"
    link.symlink_to(target)
    for number in (1, 2):
        old = EnvFile.read(link)
        old.replace(old.with_values({"CROCBOT_AGENT": f"a{number}"}))

    assert link.is_symlink()
    assert names(tmp_path) == [".env", "real", "real.bak", "real.bak.1"]
    assert (tmp_path / "real.bak.1").read_text() == "CROCBOT_AGENT=a1\n"
    for name in ("real", "real.bak", "real.bak.1"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_a_file_that_changes_meanwhile(tmp_path: Path) -> None:
    """What the operator was not shown is not overwritten."""
    path = tmp_path / ".env"
    old = EnvFile.read(path)
    path.write_text("CROCBOT_AGENT=http\n")
    with pytest.raises(OperatorError, match="was changed meanwhile"):
        old.replace(old.with_values({"CROCBOT_AGENT": "echo"}))

    assert names(tmp_path) == [".env"]
    assert path.read_text() == "CROCBOT_AGENT=http\n"


def test_an_error_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the disk fails, the old file is there and no half of a new one."""
    path = tmp_path / ".env"
    path.write_text("CROCBOT_AGENT=http\n")
    old = EnvFile.read(path)

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(env_file.os, "fsync", fail)
    with pytest.raises(OperatorError, match="No space left"):
        old.replace(old.with_values({"CROCBOT_AGENT": "echo"}))
    assert names(tmp_path) == [".env"]


@pytest.mark.parametrize(
    ("kind", "error"),
    [("folder", "not a regular file"), ("latin", "not UTF-8"), ("loop", "cannot be")],
)
def test_what_is_no_text_file(tmp_path: Path, kind: str, error: str) -> None:
    """It is refused in one line."""
    path = tmp_path / ".env"
    match kind:
        case "folder":
            path.mkdir()
        case "latin":
            path.write_bytes(b"A=\xe9\n")
        case _:
            path.symlink_to(path)
    with pytest.raises(OperatorError, match=error):
        EnvFile.read(path)


def test_escaped() -> None:
    """No character that a terminal obeys is left."""
    assert escaped("a\x1b[0m\u202eb\u200fc\ud800") == "a\\x1b[0m\\u202eb\\u200fc\\ud800"
