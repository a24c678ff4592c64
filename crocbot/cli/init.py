"""
`crocbot init`: questions to `.env`, then `check`, then the first start.

    token, operator, agent --> changes of .env --> written --> checked --> started

Nothing is written before all answers are there, and validated as the gateway will read
them.  What each answer is, is in `init_answers.py`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crocbot.cli import common, run
from crocbot.cli.init_answers import Answers, Flags
from crocbot.errors import OperatorError

if TYPE_CHECKING:
    from crocbot.settings import Settings
    from crocbot.settings.env_file import EnvFile
    from crocbot.setup.unit import UserUnit

START = "crocbot gateway"


@click.command("init")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, allow_dash=True),
    help="The file with the bot's token, or - for standard input.",
)
@click.option("--allow", metavar="IDS", help="The user ids of those who are answered.")
@click.option("--agent", help="echo, http, openai, command or python.")
@click.option("--agent-url", metavar="URL", help="http: the URL of your service.")
@click.option("--agent-command", metavar="TEXT", help="command: program, arguments.")
@click.option("--agent-function", metavar="NAME", help="python: module:name.")
@click.option("--openai-base-url", metavar="URL", help="openai: the server.")
@click.option("--model", metavar="NAME", help="openai: the model.")
@click.option(
    "--api-key-file",
    type=click.Path(path_type=Path, allow_dash=True),
    help="openai: the file with the server's key, or - for standard input.",
)
@click.option("--telegram-api-url", metavar="URL", help="Another Bot API server.")
@click.option("--yes", is_flag=True, help="Keep and write without asking.")
@click.option("--force", is_flag=True, help="Change a .env that exists without asking.")
@click.option("--start", is_flag=True, help="Start the gateway afterwards.")
@click.option("--service", is_flag=True, help="Install a systemd user unit.")
def init(**options: object) -> int:
    """Ask for token, operator and agent; write .env, and check it.

    Every answer can be a flag.  Without a terminal, all that is missing is named.
    """
    from crocbot import log

    log.configure("error", "console")
    setup = Setup(_flags(options))
    try:
        return setup.run()
    except (click.Abort, KeyboardInterrupt):
        if not setup.written:
            click.echo("\ncrocbot: ended; nothing was written", err=True)
        return 1


class Setup:
    """One run of the command; `written` is whether `.env` is as it was answered."""

    def __init__(self, flags: Flags) -> None:
        self._flags = flags
        self._terminal = common.is_terminal()
        self.written = False

    def run(self) -> int:
        """Ask, write, check, start; return the exit code."""
        from crocbot import settings
        from crocbot.settings.env_file import EnvFile, escaped

        if self._flags.start and self._flags.service:
            raise OperatorError("--start and --service exclude each other")
        env_file = EnvFile.read(settings.ENV_FILE)
        if not os.access(env_file.path.parent, os.W_OK | os.X_OK):
            raise OperatorError(f"cannot write in {env_file.path.parent}")
        answers = Answers(flags=self._flags, terminal=self._terminal)
        answers.require_terminal()
        bot = answers.bot()
        click.echo(f"this is the token of @{escaped(bot.username)}")
        answers.let_in(bot)
        answers.choose_agent()
        self._write(env_file, env_file.with_values(answers.values))
        self.written = True
        _warn_of_environment(answers)
        loaded = common.load_settings()
        code = common.run_async(run.print_checks(loaded))
        return code if code == 2 else self._next_step(loaded, code)

    def _write(self, old: EnvFile, new: EnvFile) -> None:
        """Show what changes, ask, and write the file."""
        from crocbot import settings
        from crocbot.settings.env_file import private_copy

        with private_copy(old.path, new) as draft:
            # Wrong combinations are refused before anything is changed.
            settings.load(os.environ, draft)
        changes = old.changes(new)
        if old.text is not None and not changes:
            click.echo(f"{old.path} stays as it is")
            return
        for line in changes:
            click.echo(line)
        self._confirm(old)
        copy = old.replace(new)
        kept = f"; the old one is {copy}" if copy else ""
        click.echo(f"written: {old.path}, mode 600{kept}")

    def _confirm(self, old: EnvFile) -> None:
        """Ask whether to write; raise Abort for no."""
        if old.text is None:
            agreed, flag = self._flags.yes, "--yes"
        else:
            agreed, flag = self._flags.force, "--force"
        if agreed:
            return
        if not self._terminal:
            raise OperatorError(
                f"{old.path} exists and would be changed as shown: give {flag}"
            )
        verb = "Write" if old.text is None else "Change"
        click.confirm(f"{verb} {old.path}?", default=old.text is None, abort=True)

    def _next_step(self, loaded: Settings, code: int) -> int:
        """Start the gateway or install the unit if that is wanted."""
        choice = self._choice()
        if choice == "start":
            from crocbot import service

            service.main(loaded)
        elif choice == "service":
            return max(code, self._install())
        else:
            click.echo(f"start it with: {START}")
        return code

    def _choice(self) -> str:
        flags = self._flags
        if flags.start or flags.service:
            return "start" if flags.start else "service"
        if flags.yes or not self._terminal:
            return "nothing"
        return str(
            click.prompt(
                "Start the gateway now, or install it as a service of systemd",
                type=click.Choice(["start", "service", "nothing"]),
                default="start",
            )
        )

    def _install(self) -> int:
        """Install the systemd user unit; return the exit code."""
        from crocbot.setup.unit import UserUnit, unit_text

        unit = UserUnit.in_home(os.environ.get("XDG_CONFIG_HOME", ""), str(Path.home()))
        if (reason := unit.missing_manager()) is not None:
            return common.fail(f"{reason}; start the gateway with: {START}", 2)
        text = unit_text(Path.cwd(), Path(sys.executable))
        present = unit.present()
        if present is not None and present != text:
            self._confirm_unit(unit, present)
        unit.write(text)
        click.echo(f"written: {unit.file}")
        asks = self._terminal and not self._flags.yes
        if asks and click.confirm("Enable it, and start it now?", default=False):
            unit.enable()
            click.echo("started; its log: journalctl --user --unit crocbot")
            return 0
        click.echo("enable and start it: systemctl --user enable --now crocbot")
        click.echo("let it run without a login: loginctl enable-linger")
        return 0

    def _confirm_unit(self, unit: UserUnit, present: str) -> None:
        """Ask whether to replace another unit; raise Abort for no."""
        if self._flags.force:
            return
        if not self._terminal:
            raise OperatorError(f"{unit.file} is another unit: give --force")
        click.echo(present)
        click.confirm(f"Replace {unit.file}, shown above?", default=False, abort=True)


def _flags(options: dict[str, object]) -> Flags:
    """Return the options of the command line; those of agents by their settings."""
    from crocbot.setup.agents import AGENT_SETTINGS

    agent_values = {
        one.name: None
        if (value := options.pop(_argument(one.flag))) is None
        else str(value)
        for settings in AGENT_SETTINGS.values()
        for one in settings
    }
    options["api_url"] = options.pop("telegram_api_url")
    return Flags(agent_values=agent_values, **options)  # type: ignore[arg-type]


def _argument(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_")


def _warn_of_environment(answers: Answers) -> None:
    """Warn of variables of the shell that win over what was written."""
    for name, value in answers.values.items():
        present = os.environ.get(name, "")
        if present.strip() and present != value:
            click.echo(
                f"warning: {name} is set in the environment, which wins over .env",
                err=True,
            )
