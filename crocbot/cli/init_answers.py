"""
The answers that `crocbot init` needs: from flags, from settings, or from the terminal.

    token  --> bot      asked again until Telegram knows it
    person --> id       who wrote to the bot, confirmed by the operator
    agent  --> values   each validated as the gateway will

Without a terminal a missing answer is an OperatorError that names its flag.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from crocbot.cli import common
from crocbot.errors import CrocbotError, OperatorError

if TYPE_CHECKING:
    from crocbot.model import BotIdentity
    from crocbot.settings import Settings
    from crocbot.setup.agents import AgentSetting
    from crocbot.setup.senders import Sender, Senders

TOKEN = "TELEGRAM_BOT_TOKEN"  # noqa: S105 (a name, not a token)
API_URL = "CROCBOT_TELEGRAM_API_URL"
ALLOW_FROM = "CROCBOT_ALLOW_FROM"
AGENT = "CROCBOT_AGENT"
STDIN = Path("-")
MAX_NAME_CHARS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """The flags of the command; None or False where one was not given."""

    token_file: Path | None
    allow: str | None
    agent: str | None
    agent_values: Mapping[str, str | None]
    api_url: str | None
    yes: bool
    force: bool
    start: bool
    service: bool


@dataclass(slots=True, kw_only=True)
class Answers:
    """Finds each answer; `values` has what is to be written."""

    flags: Flags
    terminal: bool
    values: dict[str, str | None] = field(default_factory=dict)
    _known: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        from crocbot import settings

        asked = {one.name for one in _all_agent_settings()}
        asked |= {TOKEN, ALLOW_FROM, "CROCBOT_ACCESS", AGENT}
        self._known = frozenset(
            name
            for name in settings.names_set(os.environ)
            if name not in asked or self._is_valid(name)
        )

    def require_terminal(self) -> None:
        """Raise OperatorError, with all that is missing, if no one can be asked."""
        missing = self._missing()
        if missing and not self.terminal:
            raise OperatorError(
                "crocbot init asks in a terminal, and there is none; without one it"
                f" needs {', '.join(missing)}"
            )

    def _missing(self) -> list[str]:
        """Return the flags of the answers that nothing gives."""
        flags = self.flags
        missing = []
        if flags.token_file is None and TOKEN not in self._known:
            missing.append("--token-file FILE")
        if flags.allow is None and self._access() is None:
            missing.append("--allow USER_ID")
        if flags.agent is None and AGENT not in self._known:
            missing.append("--agent NAME")
        missing += [
            f"{one.flag} VALUE"
            for one in self._agent_settings(flags.agent or "")
            if not (one.optional or one.default or self._has(one))
        ]
        return missing if flags.yes else [*missing, "--yes"]

    def bot(self) -> BotIdentity:
        """Return the bot of a token that Telegram knows; the token is a value."""
        self._choose_api_url()
        token = self._given_token()
        while True:
            text = self._ask_token() if token is None else token
            try:
                bot = common.run_async(self._identify(text))
                break
            except CrocbotError as error:
                if self.flags.token_file is not None or not self.terminal:
                    raise
                common.fail(error, 2)
                token = None
                if not isinstance(error, OperatorError):
                    token = text if click.confirm("Try again?", default=True) else None
        if text != self._written_token():
            self.values |= {TOKEN: text, f"{TOKEN}_FILE": None}
        return bot

    def let_in(self, bot: BotIdentity) -> None:
        """Find out who is answered: the ids are a value, unless they are set."""
        if self.flags.allow is not None:
            self.values[ALLOW_FROM] = self._valid(ALLOW_FROM, self.flags.allow)
        elif (access := self._access()) is None or (
            self.terminal
            and not self.flags.yes
            and not click.confirm(f"Keep {access}?", default=True)
        ):
            self.values[ALLOW_FROM] = self._ask_operator(bot)

    def choose_agent(self) -> None:
        """Find out the agent and its settings."""
        name = self.flags.agent
        if name is None:
            name = self._current(AGENT) if AGENT in self._known else "echo"
            if self.terminal and not self.flags.yes:
                name = self._ask_agent(name)
        self.values[AGENT] = self._valid(AGENT, name)
        chosen = self._agent_settings(name)
        for one in chosen:
            self._choose(one)
        self._refuse_unused(name, chosen)

    def _choose(self, one: AgentSetting) -> None:
        """Find the value of one setting of the agent."""
        given = self.flags.agent_values.get(one.name)
        if given is not None:
            text = _read(Path(given)) if one.hidden else given
            self._set(one, self._valid(one.name, text))
        elif self.terminal and not (self.flags.yes and self._has(one)):
            self._ask(one)
        elif one.default and one.name not in self._known:
            self.values[one.name] = one.default

    def _ask(self, one: AgentSetting) -> None:
        known = one.name in self._known
        default = "" if one.hidden or not known else self._current(one.name)
        hint = "; Enter keeps the present one" if known else "; Enter for none"
        hidden = f" (hidden{hint if known or one.optional else ''})"
        while True:
            text = click.prompt(
                one.question + (hidden if one.hidden else ""),
                default=default
                or one.default
                or ("" if known or one.optional else None),
                show_default=not one.hidden and bool(default or one.default),
                hide_input=one.hidden,
            ).strip()
            if not text:
                return
            try:
                self._set(one, self._valid(one.name, text))
            except OperatorError as error:
                common.fail(error, 2)
            else:
                return

    def _set(self, one: AgentSetting, text: str) -> None:
        self.values[one.name] = text
        if one.hidden:
            self.values[f"{one.name}_FILE"] = None

    def _refuse_unused(self, agent: str, chosen: Sequence[AgentSetting]) -> None:
        """Raise OperatorError for a flag of another agent."""
        names = {one.name for one in chosen}
        for one in _all_agent_settings():
            if self.flags.agent_values.get(one.name) and one.name not in names:
                raise OperatorError(f"{one.flag} has no effect on the agent {agent!r}")

    def _ask_agent(self, default: str) -> str:
        from crocbot.setup.agents import AGENT_SETTINGS

        names = click.Choice(list(AGENT_SETTINGS), case_sensitive=False)
        return str(click.prompt("Agent", default=default, type=names))

    def _choose_api_url(self) -> None:
        if self.flags.api_url is not None:
            self.values[API_URL] = self._valid(API_URL, self.flags.api_url)

    def _given_token(self) -> str | None:
        """Return the token of the flag, or one that is set and may be kept."""
        if self.flags.token_file is not None:
            return self._valid(TOKEN, _read(self.flags.token_file))
        if TOKEN not in self._known:
            return None
        keeps = self.flags.yes or not self.terminal
        if keeps or click.confirm("Keep the token that is set?", default=True):
            return self._current(TOKEN)
        return None

    def _written_token(self) -> str | None:
        """Return the token that is set elsewhere than in a variable of the shell."""
        if TOKEN not in self._known or TOKEN in os.environ:
            return None
        return self._current(TOKEN)

    def _ask_token(self) -> str:
        """Ask for a token until it has the form of one."""
        while True:
            text = click.prompt("Bot token from @BotFather (hidden)", hide_input=True)
            try:
                return self._valid(TOKEN, text.strip())
            except OperatorError as error:
                common.fail(error, 2)

    async def _identify(self, token: str) -> BotIdentity:
        from crocbot.setup.senders import identify

        chosen = self._telegram()
        url = chosen.telegram_api_url
        try:
            return await identify(token, url, chosen.proxies)
        except OperatorError:
            raise
        except CrocbotError as error:
            host = urlsplit(url).netloc.rpartition("@")[2]
            raise CrocbotError(f"{host} cannot be reached: {error}") from error

    def _telegram(self) -> Settings:
        """Return settings whose URL of the Bot API and proxies may be used."""
        from crocbot import settings

        given = self.values.get(API_URL)
        environment = {**os.environ, **({API_URL: given} if given else {})}
        return settings.load_only(environment, API_URL)

    def _ask_operator(self, bot: BotIdentity) -> str:
        """Return the id of the operator, who writes to the bot or types it."""
        from crocbot.settings.env_file import escaped

        name = escaped(bot.username)
        click.echo(f"Now write any message to @{name}: https://t.me/{name}")
        senders = self._senders()
        while True:
            try:
                return str(_first_confirmed(senders))
            except CrocbotError as error:
                common.fail(error, 2)
            text = click.prompt(
                "Your Telegram user id (Enter to wait for a message again)",
                default="",
                show_default=False,
            ).strip()
            try:
                if text:
                    return self._valid(ALLOW_FROM, text)
            except OperatorError as error:
                common.fail(error, 2)

    def _senders(self) -> Senders:
        from crocbot.setup.senders import Senders

        chosen = self._telegram()
        token = self.values.get(TOKEN) or self._current(TOKEN)
        return Senders(token, chosen.telegram_api_url, chosen.proxies)

    def _access(self) -> str | None:
        """Return the setting that lets people in, as text; None if none does."""
        if ALLOW_FROM in self._known and (ids := self._current(ALLOW_FROM)):
            return f"{ALLOW_FROM}={ids}"
        if "CROCBOT_ACCESS" in self._known:
            access = self._current("CROCBOT_ACCESS")
            return f"CROCBOT_ACCESS={access}" if access != "allowlist" else None
        return None

    def _agent_settings(self, name: str) -> Sequence[AgentSetting]:
        from crocbot.setup.agents import AGENT_SETTINGS

        if not name and AGENT in self._known:
            name = self._current(AGENT)
        return AGENT_SETTINGS.get(name.strip().lower(), ())

    def _has(self, one: AgentSetting) -> bool:
        return bool(self.flags.agent_values.get(one.name)) or one.name in self._known

    def _current(self, name: str) -> str:
        """Return the text of a setting that is set; raise OperatorError."""
        from crocbot import settings

        return settings.text_of(settings.load_only(os.environ, name), name)

    def _is_valid(self, name: str) -> bool:
        """Return whether a setting that is set is valid; say why it is not."""
        try:
            self._current(name)
        except OperatorError as error:
            click.echo(f"not kept: {error}", err=True)
            return False
        return True

    @staticmethod
    def _valid(name: str, text: str) -> str:
        """Return a text that is valid as a setting; raise OperatorError."""
        from crocbot import settings

        if not text.strip():
            raise OperatorError(f"{name} is empty")
        settings.load_only({**_no_settings(), name: text}, name, env_file=None)
        return text


def _first_confirmed(senders: Senders) -> int:
    """Return the id of the first person whom the operator confirms."""
    while True:
        click.echo("waiting for a message ...")
        # Asked outside of the event loop, which would hold back the first Ctrl-C.
        sender = common.run_async(senders.next())
        click.echo(_introduce(sender))
        if click.confirm("Is this you, the operator?", default=False):
            return sender.user_id


def _no_settings() -> dict[str, str]:
    """Return what settings need of the environment: the home directory."""
    return {name: os.environ[name] for name in ("HOME",) if name in os.environ}


def _all_agent_settings() -> Sequence[AgentSetting]:
    from crocbot.setup.agents import AGENT_SETTINGS

    return [one for each in AGENT_SETTINGS.values() for one in each]


def _introduce(sender: Sender) -> str:
    """Return a line about a person; what they chose themselves comes last."""
    from crocbot.settings.env_file import escaped

    username = escaped(sender.username[:MAX_NAME_CHARS])
    name = escaped(sender.name[:MAX_NAME_CHARS])
    at = f"@{username}" if username else "no username"
    return f"user id {sender.user_id}, {at}, name '{name}'"


def _read(file: Path) -> str:
    """Return the one line of a file with a secret, or of standard input for `-`."""
    from crocbot.settings.files import read_text

    if file == STDIN and common.is_terminal():
        return str(click.prompt("The secret (hidden)", hide_input=True)).strip()
    if file == STDIN:
        return sys.stdin.readline().strip()
    return read_text(file, "crocbot init").strip()
