"""
A systemd user unit for the gateway of one directory, which has its `.env`.

    ~/.config/systemd/user/crocbot.service      written, never enabled unasked

The unit reads no environment of a shell: what is not in `.env` is not set.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from crocbot.errors import OperatorError

NAME = "crocbot.service"
TIMEOUT_SECONDS = 30.0
# systemd refuses a program whose path has one.
UNSAFE = "\"'\\"
TEXT = """\
# Written by `crocbot init`; the settings are in {plain_directory}/.env.
[Unit]
Description=crocbot, a Telegram gateway

[Service]
Type=exec
WorkingDirectory={directory}
ExecStart={program} -m crocbot gateway

Restart=always
RestartSec=2
# 2: a setting must change first, so a restart cannot help.
RestartPreventExitStatus=2
# Longer than CROCBOT_DRAIN_SECONDS.
TimeoutStopSec=30

NoNewPrivileges=yes
UMask=0077

[Install]
WantedBy=default.target
"""


def unit_text(directory: Path, program: Path) -> str:
    """Return the unit for a directory and a Python interpreter; OperatorError."""
    for path, forbidden in ((directory, ""), (program, UNSAFE)):
        if not str(path).isprintable() or set(forbidden) & set(str(path)):
            raise OperatorError(
                f"{str(path)!r}: systemd cannot read a path with such characters"
            )
    return TEXT.format(
        plain_directory=directory,
        directory=str(directory).replace("%", "%%"),
        program=f'"{program}"'.replace("%", "%%"),
    )


@dataclass(frozen=True, slots=True)
class UserUnit:
    """The file of the unit, and systemd's user manager."""

    file: Path

    @classmethod
    def in_home(cls, config_home: str, home: str) -> UserUnit:
        """Return the unit below XDG_CONFIG_HOME, else below the home directory."""
        # The XDG specification says to ignore a relative path.
        base = Path(config_home)
        if not base.is_absolute():
            base = Path(home) / ".config"
        return cls(base / "systemd" / "user" / NAME)

    def missing_manager(self) -> str | None:
        """Return why there is no user manager, None if it answers."""
        if shutil.which("systemctl") is None:
            return "there is no systemd on this machine"
        code, output = _systemctl("show-environment")
        if code == 0:
            return None
        reason = output.strip().splitlines()[:1]
        return f"systemd does not run services of this user: {''.join(reason)}"

    def present(self) -> str | None:
        """Return the text of the file, None if there is none; raise OperatorError."""
        try:
            return self.file.read_text()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise OperatorError(f"{self.file} cannot be read: {error}") from error

    def write(self, text: str) -> None:
        """Write the file as a whole and have systemd read it; raise OperatorError."""
        draft = self.file.with_name(f".{NAME}.new")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(text)
            draft.rename(self.file)
        except OSError as error:
            raise OperatorError(
                f"{self.file} cannot be written: {error.strerror}"
            ) from error
        finally:
            draft.unlink(missing_ok=True)
        self._run("daemon-reload")

    def enable(self) -> None:
        """Start the service now and at each login; raise OperatorError."""
        self._run("enable", "--now", NAME)

    @staticmethod
    def _run(*arguments: str) -> None:
        code, output = _systemctl(*arguments)
        if code != 0:
            raise OperatorError(
                f"systemctl --user {' '.join(arguments)} failed: {output.strip()[:300]}"
            )


def _systemctl(*arguments: str) -> tuple[int, str]:
    """Run systemctl for this user; return its exit code and what it printed."""
    try:
        done = subprocess.run(  # noqa: S603 (fixed arguments)
            ["systemctl", "--user", *arguments],  # noqa: S607
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)
    return done.returncode, done.stderr or done.stdout
