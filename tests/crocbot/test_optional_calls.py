"""Calls that a server may lack, to a sandbox over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from crocbot.botapi import Client, OptionalCalls
from crocbot.errors import DeliveryError, FloodWaitError, UnknownMethodError
from crocbot.events import NO_EVENTS, ApiCall, EventListener, Method
from crocbot.model import ChatThread, MessagePart
from crocbot.sandbox import Person, Server, faults
from tests.crocbot.fakes import RecordedEvents

ADA = Person(7, "Ada")
CHAT, TEXT = ChatThread(7), MessagePart("so far")


@asynccontextmanager
async def serving(
    events: EventListener = NO_EVENTS, *, old: bool = False
) -> AsyncIterator[tuple[Server, OptionalCalls]]:
    """Run a server to which Ada has written, and a client of it."""
    async with Server(old=old) as server:
        server.send(ADA, "hi")
        client = Client(server.token, server.url, events)
        async with client:
            yield server, OptionalCalls(client)


async def test_a_draft() -> None:
    """It is shown with a Stop button until the bot sends a message."""
    async with serving() as (server, calls):
        await calls.send_draft(CHAT, 3, TEXT)
        assert server.draft(ADA) == "so far"
        server.press_stop(ADA)

        await calls.client.send_message(CHAT, MessagePart("all"))
        assert server.draft(ADA) is None
        with pytest.raises(ValueError, match="no draft"):
            server.press_stop(ADA)


@pytest.mark.parametrize(
    "description",
    ["Not Found", "Bad Request: method sendMessageDraft not found", "unknown method"],
)
async def test_a_server_without_a_method(description: str) -> None:
    """It is asked once, and the log has one line."""
    events = RecordedEvents()
    status = 404 if description == "Not Found" else 400
    async with serving(events) as (server, calls):
        server.fault("sendMessageDraft", faults.api_error(status, description))
        with capture_logs() as logs:
            for _ in range(3):
                with pytest.raises(UnknownMethodError):
                    await calls.send_draft(CHAT, 3, TEXT)

    assert [call.method for call in events.of_type(ApiCall)] == [
        Method.SEND_MESSAGE_DRAFT
    ]
    assert [line["method"] for line in logs] == ["sendMessageDraft"]
    assert not calls.has(Method.SEND_MESSAGE_DRAFT)


async def test_an_old_server() -> None:
    """The sandbox can be a server that does not have the methods."""
    async with serving(old=True) as (server, calls):
        with pytest.raises(UnknownMethodError):
            await calls.send_draft(CHAT, 3, TEXT)
        assert server.missing == {"sendmessagedraft": 1}


async def test_a_refusal() -> None:
    """A method that refuses one call is called again."""
    async with serving() as (_, calls):
        with pytest.raises(DeliveryError) as raised:
            await calls.send_draft(CHAT, 0, TEXT)

    assert not isinstance(raised.value, UnknownMethodError)
    assert calls.has(Method.SEND_MESSAGE_DRAFT)


async def test_flood_waits() -> None:
    """One for a draft delays no message, one for a message delays drafts."""
    async with serving() as (server, calls):
        server.fault("sendMessageDraft", faults.flood_wait(30))
        for _ in range(2):
            with pytest.raises(FloodWaitError):
                await calls.send_draft(CHAT, 3, TEXT)
        assert server.calls["sendmessagedraft"] == 1
        await calls.client.send_message(CHAT, TEXT)

    async with serving() as (server, calls):
        server.fault("sendMessage", faults.flood_wait(30))
        with pytest.raises(FloodWaitError):
            await calls.client.send_message(CHAT, TEXT)
        with pytest.raises(FloodWaitError):
            await calls.send_draft(CHAT, 3, TEXT)
        assert not server.calls["sendmessagedraft"]
