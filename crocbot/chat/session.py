"""Start the sandbox and the gateway, let the person talk, end both."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from crocbot import log, service, settings
from crocbot.chat.conversation import Conversation
from crocbot.chat.files import SavedFiles
from crocbot.chat.lines import Lines
from crocbot.chat.screen import Screen, take_over_stdout
from crocbot.errors import CrocbotError, OperatorError
from crocbot.sandbox import Person, Server
from crocbot.settings import Settings
from crocbot.state_dir import locked

DEFAULT_USER = 1000
NAME = "You"
CHECK_SECONDS = 0.02
STOP_SECONDS = 5.0
QUIET_LEVEL = "warn"
# Between lines only: an answer that is under way is stopped first.
INTERRUPTED_CODE = 1
END_HINT = "Ctrl-D ends the chat"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """
    One run of `crocbot chat`.

    Without `user` the person is the first listed one, and is let in.  Without
    `state_dir` nothing is kept; `files` is the folder for files of answers.
    """

    environment: Mapping[str, str]
    user: int | None = None
    state_dir: Path | None = None
    files: Path | None = None

    async def run(self) -> int:
        """Talk until the end of the input; return the exit code."""
        screen = Screen(take_over_stdout())
        # A state directory that is used again has seen the ids of the last chat.
        first_update = time.time_ns() // 1_000_000
        with self._state_dir() as state_dir:
            async with Server(first_update=first_update) as server:
                loaded, user = self._settings(server, state_dir)
                is_set = "log_level" in loaded.model_fields_set
                log.configure(
                    loaded.log_level if is_set else QUIET_LEVEL,
                    loaded.log_format,
                    secrets=loaded.secrets,
                )
                conversation = Conversation(
                    server, Person(user, NAME), screen, saved=SavedFiles(self.files)
                )
                chat = _Chat(
                    loaded=loaded,
                    server=server,
                    screen=screen,
                    conversation=conversation,
                )
                return await chat.run(user)

    @contextmanager
    def _state_dir(self) -> Iterator[Path]:
        if self.state_dir is None:
            with TemporaryDirectory(prefix="crocbot-chat-state-") as folder:
                yield Path(folder)
            return
        real = settings.load_only(self.environment, settings.STATE_DIR).state_dir
        if self.state_dir.resolve() == real.resolve():
            raise OperatorError(
                f"--state-dir {self.state_dir} is that of the gateway: choose another"
            )
        yield self.state_dir

    def _settings(self, server: Server, state_dir: Path) -> tuple[Settings, int]:
        """Return the settings of the gateway, and the id of the person."""
        fixed = {
            "TELEGRAM_BOT_TOKEN": server.token,
            "CROCBOT_TELEGRAM_API_URL": server.url,
            "CROCBOT_STATE_DIR": str(state_dir.absolute()),
            "CROCBOT_STATSD_HOST": "off",
            "CROCBOT_HEALTH_ADDRESS": "off",
            "CROCBOT_DRAIN_SECONDS": "0",
        }

        def load(more: Mapping[str, str]) -> Settings:
            return settings.load_for_sandbox(
                self.environment, settings.CHAT_SETTINGS, {**fixed, **more}
            )

        loaded = load({})
        if self.user is not None:
            return loaded, self.user
        user = min(loaded.allow_from or loaded.operators, default=DEFAULT_USER)
        listed = ",".join(map(str, sorted(loaded.allow_from | {user})))
        return load({"CROCBOT_ALLOW_FROM": listed}), user


class _Chat:
    """The gateway and the conversation, from the start to the end of both."""

    def __init__(
        self,
        *,
        loaded: Settings,
        server: Server,
        screen: Screen,
        conversation: Conversation,
    ) -> None:
        self._settings, self._server = loaded, server
        self._screen, self._conversation = screen, conversation
        self._interrupted = False
        self._end = asyncio.Event()

    async def run(self, user: int) -> int:
        shutdown = service.Shutdown()
        with locked(self._settings.state_dir) as lock:
            shutdown.lock = lock
            serving = asyncio.create_task(
                service.serve(self._settings, self._conversation, shutdown)
            )
            talking = asyncio.create_task(self._talk(user))
            ending = asyncio.create_task(self._end.wait())
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGINT, self._interrupt)
            for number in (signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, self._end.set)
            try:
                await asyncio.wait(
                    [serving, talking, ending], return_when=asyncio.FIRST_COMPLETED
                )
                if talking.done():
                    talking.result()
            finally:
                for task in (talking, ending):
                    task.cancel()
                # The second request ends turns that are running.
                shutdown.request()
                shutdown.request()
                await serving
                lock.mark_stopped()
        if self._screen.error is not None:
            raise CrocbotError(f"the output cannot be written: {self._screen.error}")
        if self._interrupted:
            return INTERRUPTED_CODE
        return int(self._conversation.failed and not self._screen.interactive)

    async def _talk(self, user: int) -> None:
        while not self._server.calls["getupdates"]:  # noqa: ASYNC110 (only counted)
            await asyncio.sleep(CHECK_SECONDS)
        if self._screen.interactive:
            self._screen.remark(
                f"The agent {self._settings.agent}, as user {user}. /file PATH CAPTION"
                " sends a file, /press N presses a button, /help lists the bot's"
                " commands. Ctrl-C stops an answer, Ctrl-D ends the chat."
            )
        self._screen.prompt()
        lines = Lines()
        while (line := await lines.next()) is not None and not self._screen.closed:
            self._screen.entered()
            self._conversation.enter(line)
            if not self._screen.interactive:
                await self._conversation.idle.wait()
            elif self._conversation.idle.is_set():
                self._screen.prompt()
        if self._screen.interactive and self._conversation.stop():
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await self._conversation.idle.wait()
        self._screen.interrupt()

    def _interrupt(self) -> None:
        """Stop the answer; without one, a pipe ends, and a terminal gets a hint."""
        if self._conversation.stop():
            return
        if self._screen.interactive:
            self._screen.remark(END_HINT)
            self._screen.prompt()
        else:
            self._interrupted = True
            self._end.set()
