"""The fallback agent: its errors name its own settings, not those of the first one."""

from __future__ import annotations

from contextlib import aclosing

from crocbot.agents.answer import Agent, Answer
from crocbot.errors import AgentError, UnconfirmedError
from crocbot.model import Prompt
from crocbot.settings import in_fallback_names


class FallbackAgent:
    """Answers like `agent`, which has the settings CROCBOT_FALLBACK_..."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self.name = agent.name
        self.markdown = agent.markdown
        self.remembers = agent.remembers
        self.accepts = agent.accepts

    async def answer(self, prompt: Prompt) -> Answer:
        """Answer one prompt.  Raise AgentError."""
        try:
            async with aclosing(self._agent.answer(prompt)) as parts:
                async for part in parts:
                    yield part
        except AgentError as error:
            error.args = (in_fallback_names(str(error)),)
            raise

    async def check(self) -> str:
        """Test the agent.  Raise AgentError, UnconfirmedError."""
        try:
            return await self._agent.check()
        except (AgentError, UnconfirmedError) as error:
            error.args = (in_fallback_names(str(error)),)
            raise

    async def close(self) -> None:
        """Release connections."""
        await self._agent.close()
