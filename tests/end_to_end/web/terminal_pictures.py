"""
Pictures of what two commands print in a terminal: `crocbot demo` and `crocbot chat`.

The text is theirs, run now; a browser draws it.
"""

from __future__ import annotations

import html
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pexpect
from playwright.sync_api import Browser

ROOT = Path(__file__).parents[3]
CROCBOT = Path(sys.executable).with_name("crocbot")
DEMO_SECONDS = 15
LINES, COLUMNS = 26, 104
ANSWER_SECONDS = 30
EMOJI = "\U0001f000"
"""The first character of the planes of emoji."""

PAGE = """<!doctype html><meta charset=utf-8><style>
body {{ margin: 0; background: #14181d; }}
pre {{ margin: 0; padding: 16px 20px; color: #d7dde4; width: {width}ch;
  white-space: pre-wrap;
  font: 14px/1.45 ui-monospace, "DejaVu Sans Mono", monospace; }}
b {{ color: #7cc7ff; font-weight: 600; }}
</style><pre><b>$ {command}</b>
{text}</pre>"""


def take(browser: Browser, folder: Path) -> None:
    """Take both pictures."""
    _draw(browser, folder / "demo.png", "make demo", _demo())
    command = "CROCBOT_AGENT=python CROCBOT_AGENT_FUNCTION=agent:answer crocbot chat"
    _draw(browser, folder / "chat.png", command, _chat())


def _demo() -> str:
    command = [str(CROCBOT), "demo", "--seconds", str(DEMO_SECONDS)]
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(command, capture_output=True, text=True, cwd=home)
    # Many machines have no font for emoji.
    lines = [line for line in done.stdout.splitlines() if max(line, default="") < EMOJI]
    return "\n".join(lines[:LINES])


def _chat() -> str:
    """Talk to the example with buttons."""
    said = io.StringIO()
    chat = pexpect.spawn(
        str(CROCBOT),
        ["chat"],
        cwd=str(ROOT / "examples" / "buttons"),
        dimensions=(LINES, COLUMNS),
        encoding="utf-8",
        timeout=ANSWER_SECONDS,
        env=os.environ
        | {
            "CROCBOT_AGENT": "python",
            "CROCBOT_AGENT_FUNCTION": "agent:answer",
            "TERM": "dumb",
        },
    )
    chat.logfile_read = said
    for line, answer in (("Hello", "example.org"), ("/press 1", "all of them")):
        chat.expect_exact("> ")
        chat.sendline(line)
        chat.expect_exact(answer)
    chat.expect_exact("> ")
    chat.sendeof()
    chat.expect(pexpect.EOF)
    return said.getvalue().replace("\r", "").rstrip("> \n")


def _draw(browser: Browser, file: Path, command: str, text: str) -> None:
    page = browser.new_page()
    shown = html.escape(text)
    page.set_content(PAGE.format(width=COLUMNS, command=command, text=shown))
    page.locator("pre").screenshot(path=file)
    page.close()
    print(f"docs/pictures/{file.name}")
