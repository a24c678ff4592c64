"""
The bots that are compared, as child processes.

    gateway  crocbot gateway: echo, inbox on, telemetry to a port without a listener
    plain    plain_bot.py in a virtual environment of its own, which has no sniffio

httpcore is much faster where sniffio can be imported, and python-telegram-bot does not
install it, so the plain bot runs as its users have it.  The gateway does not use httpx.
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

from benchmarks.machine import ROOT
from crocbot.sandbox import Server
from crocbot.sandbox.children import clean_environment

CACHE = Path(tempfile.gettempdir()) / "crocbot-bench"


@dataclass(frozen=True, slots=True)
class Bot:
    """How to start a bot for a server, in a folder of its own."""

    name: str
    arguments: Callable[[Server], list[str]]
    settings: Callable[[Server, Path], Mapping[str, str]]

    @contextmanager
    def run(self, server: Server) -> Iterator[subprocess.Popen[bytes]]:
        """Run it until the context ends."""
        with tempfile.TemporaryDirectory(prefix="crocbot-bench-") as folder:
            home = Path(folder)
            with (home / "log").open("wb") as log:
                process = subprocess.Popen(
                    self.arguments(server),
                    cwd=home,
                    env={
                        **clean_environment(os.environ),
                        **self.settings(server, home),
                    },
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
                try:
                    yield process
                finally:
                    process.terminate()
                    process.wait(timeout=30)


def gateway(name: str, checkout: Path = ROOT) -> Bot:
    """Return the gateway of a checkout with its default settings."""
    return Bot(
        name,
        lambda _: [sys.executable, "-m", "crocbot", "gateway"],
        lambda server, home: {
            "PYTHONPATH": str(checkout),
            "TELEGRAM_BOT_TOKEN": server.token,
            "CROCBOT_TELEGRAM_API_URL": server.url,
            "CROCBOT_ACCESS": "open",
            "CROCBOT_STATE_DIR": str(home / "state"),
            "CROCBOT_HEALTH_ADDRESS": "off",
        },
    )


def plain() -> Bot:
    """Return the plain bot; the first call on a machine makes its environment."""
    python = _environment()
    script = Path(__file__).with_name("plain_bot.py")
    return Bot(
        "plain PTB",
        lambda server: [str(python), str(script), server.token, server.url],
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
    probe = [str(python), "-c", "import sniffio"]
    if subprocess.run(probe, stderr=subprocess.DEVNULL, check=False).returncode == 0:
        raise SystemExit(f"{folder} has sniffio, which distorts the result: remove it")
    return python
