"""
The two bots, as child processes.

    ours     crocbot gateway: echo, inbox on, telemetry to a socket that nobody reads
    plain    plain_bot.py in an environment of its own, which has no sniffio

httpcore is much faster where sniffio can be imported, and today nothing brings it
along: that is what somebody has who installs python-telegram-bot.  Ours does not use
httpx, so it makes no difference to it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from crocbot.sandbox import Server
from crocbot.sandbox.children import clean

HERE = Path(__file__).parent
CACHE = Path(tempfile.gettempdir()) / "crocbot-bench"
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Bot:
    """How to start a bot in a directory, for a server."""

    name: str
    arguments: Callable[[Server], list[str]]
    settings: Callable[[Server, Path], Mapping[str, str]]

    @contextmanager
    def run(self, server: Server) -> Iterator[subprocess.Popen[bytes]]:
        """Run it until the end of this context."""
        with tempfile.TemporaryDirectory(prefix="crocbot-bench-") as folder:
            home = Path(folder)
            with (home / "log").open("wb") as log:
                process = subprocess.Popen(
                    self.arguments(server),
                    cwd=home,
                    env={**clean(os.environ), **self.settings(server, home)},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
                try:
                    yield process
                finally:
                    process.terminate()
                    process.wait(timeout=30)


def ours() -> Bot:
    """The gateway with its defaults."""
    return Bot(
        "crocbot",
        lambda _: [sys.executable, "-m", "crocbot", "gateway"],
        lambda server, home: {
            "TELEGRAM_BOT_TOKEN": server.token,
            "CROCBOT_TELEGRAM_API_URL": server.url,
            "CROCBOT_ACCESS": "open",
            "CROCBOT_STATE_DIR": str(home / "state"),
            "CROCBOT_HEALTH_ADDRESS": "off",
        },
    )


def plain() -> Bot:
    """The plain bot; makes its environment, which takes a while the first time."""
    python = _environment()
    return Bot(
        "plain PTB",
        lambda server: [
            *(str(python), str(HERE / "plain_bot.py")),
            *(server.token, server.url),
        ],
        lambda *_: {"PYTHONPATH": ""},
    )


def _environment() -> Path:
    wanted = version("python-telegram-bot")
    folder = CACHE / f"ptb-{wanted}-{sys.version_info.major}.{sys.version_info.minor}"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        package = f"python-telegram-bot=={wanted}"
        subprocess.run([python, "-m", "pip", "install", "-q", package], check=True)
        (folder / "complete").touch()
    missing = [python, "-c", "import sniffio"]
    if subprocess.run(missing, stderr=subprocess.DEVNULL, check=False).returncode == 0:
        raise SystemExit(f"{folder} has sniffio: remove it, it was not made by this")
    return python


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """Processor time that a process has used."""
    # pid (name) state ... utime stime; a name may have blanks.
    stat = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / TICKS
