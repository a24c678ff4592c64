"""
The transport of the OpenAI SDK: its requests follow the rules for every agent.

    openai.AsyncOpenAI --> httpx2.AsyncClient --> AgentTransport --> AgentClient

Only the agent `openai` imports this module: httpx2 comes with the SDK.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx2

from crocbot.agents.rules import AgentClient, AgentResponse

# AgentClient sets these itself.
OWN_REQUEST_HEADERS = frozenset({"accept-encoding", "connection", "host"})
# They describe the body as it was sent, which may have been compressed.
BODY_HEADERS = frozenset({"content-encoding", "content-length", "transfer-encoding"})


class AgentTransport(httpx2.AsyncBaseTransport):
    """Sends the requests of an httpx2 client.  Raises AgentError."""

    def __init__(self, client: AgentClient) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Return the response before its body has been read."""
        async with AsyncExitStack() as stack:
            response = await stack.enter_async_context(
                self._client.request(
                    request.method,
                    str(request.url),
                    _without(dict(request.headers), OWN_REQUEST_HEADERS),
                    await request.aread() or None,
                )
            )
            return httpx2.Response(
                response.status,
                headers=_without(dict(response.headers), BODY_HEADERS),
                stream=_Body(response, stack.pop_all()),
                request=request,
            )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.close()


class _Body(httpx2.AsyncByteStream):
    """A body that is read as it arrives; closing it closes the response."""

    def __init__(self, response: AgentResponse, stack: AsyncExitStack) -> None:
        self._chunks = response.chunks()
        self._stack = stack

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            yield chunk

    async def aclose(self) -> None:
        """Close the response."""
        await self._chunks.aclose()
        await self._stack.aclose()


def _without(headers: dict[str, str], names: frozenset[str]) -> dict[str, str]:
    return {name: headers[name] for name in headers if name.lower() not in names}
