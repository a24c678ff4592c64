"""Which proxy a request uses, and requests through proxies of HTTP and SOCKS."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot.agents import create_agent
from crocbot.agents.rules import AgentClient
from crocbot.botapi import Client
from crocbot.errors import AgentError, OperatorError, TelegramError
from crocbot.http_client import HttpClient, ProxyFailedError
from crocbot.model import Prompt
from crocbot.proxies import VARIABLES, Proxies
from crocbot.sandbox import Server
from crocbot.settings import load
from crocbot.turn_outcomes import AgentErrorReason
from tests.crocbot.fakes import a_message, read_answer, serving, streaming
from tests.proxy_server import proxy_at
from tests.servers import stream_server

API = "https://api.telegram.org"
HTTP = "http://proxy:3128"


@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        ({}, API, None),
        ({"HTTPS_PROXY": HTTP}, API, "http://proxy:3128 (HTTPS_PROXY)"),
        ({"https_proxy": HTTP}, API, "http://proxy:3128 (https_proxy)"),
        ({"HTTPS_PROXY": HTTP}, "http://example.org", None),
        ({"HTTP_PROXY": HTTP}, "http://example.org", "http://proxy:3128 (HTTP_PROXY)"),
        ({"http_proxy": HTTP}, API, None),
        ({"ALL_PROXY": HTTP}, API, "http://proxy:3128 (ALL_PROXY)"),
        ({"all_proxy": HTTP}, "http://a", "http://proxy:3128 (all_proxy)"),
        # The special one before the general one, the lower case before the upper.
        ({"ALL_PROXY": HTTP, "HTTPS_PROXY": "b:1"}, API, "http://b:1 (HTTPS_PROXY)"),
        ({"HTTPS_PROXY": HTTP, "https_proxy": "b:1"}, API, "http://b:1 (https_proxy)"),
        ({"HTTPS_PROXY": " ", "ALL_PROXY": "b:1"}, API, "http://b:1 (ALL_PROXY)"),
        ({"HTTPS_PROXY": "proxy"}, API, "http://proxy:80 (HTTPS_PROXY)"),
        ({"HTTPS_PROXY": "https://p"}, API, "https://p:443 (HTTPS_PROXY)"),
        ({"HTTPS_PROXY": "http://[::2]:8"}, API, "http://[::2]:8 (HTTPS_PROXY)"),
        ({"ALL_PROXY": "socks5://u:p@p"}, API, "socks5://p:1080 (ALL_PROXY)"),
        ({"ALL_PROXY": "SOCKS5H://p:9"}, API, "socks5h://p:9 (ALL_PROXY)"),
        ({"ALL_PROXY": "socks4a://p"}, API, "socks4a://p:1080 (ALL_PROXY)"),
        # Servers on this machine.
        ({"ALL_PROXY": HTTP}, "http://127.0.0.1:8081", None),
        ({"ALL_PROXY": HTTP}, "http://127.8.8.8", None),
        ({"ALL_PROXY": HTTP}, "http://localhost:1", None),
        ({"ALL_PROXY": HTTP}, "http://[::1]:1", None),
    ],
)
def test_the_proxy_of_a_url(
    environment: Mapping[str, str], url: str, proxy: str | None
) -> None:
    """The variables are those of curl; the password is not shown."""
    found = Proxies(environment).for_url(url)

    assert (found and str(found)) == proxy


@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
@pytest.mark.parametrize(
    ("text", "url", "excluded"),
    [
        ("*", API, True),
        ("api.telegram.org", API, True),
        ("API.Telegram.Org", API, True),
        ("telegram.org", API, True),
        (".telegram.org", API, True),
        ("*.telegram.org", API, True),
        ("a, telegram.org", API, True),
        ("a telegram.org", API, True),
        ("telegram.org:443", API, True),
        ("telegram.org:80", API, False),
        ("telegram.org:8081", "http://api.telegram.org:8081", True),
        ("egram.org", API, False),
        ("api.telegram.org.evil", API, False),
        ("telegram.org", "https://api.telegram.org.", True),
        ("10.0.0.5", "http://10.0.0.5", True),
        ("10.0.0.0/8", "http://10.1.2.3:8081", True),
        ("10.0.0.0/8", "http://11.1.2.3", False),
        ("10.0.0.5:81", "http://10.0.0.5:81", True),
        ("10.0.0.5:81", "http://10.0.0.5:82", False),
        ("[2001:db8::1]", "http://[2001:db8::1]", True),
        ("2001:db8::/32", "http://[2001:db8::1]", True),
        ("[2001:db8::1]:81", "http://[2001:db8::1]:81", True),
        (" , ", API, False),
        ("", API, False),
    ],
)
def test_hosts_without_a_proxy(name: str, text: str, url: str, excluded: bool) -> None:
    """NO_PROXY has names, addresses and networks, each optionally with a port."""
    environment = {"ALL_PROXY": HTTP, name: text}

    assert (Proxies(environment).for_url(url) is None) is excluded


@pytest.mark.parametrize(
    "text",
    ["ftp://p:1", "http://", "http://p:x", "http://p:0", "http://[::1", "socks6://p"],
)
def test_a_proxy_that_is_not_valid(text: str) -> None:
    """The variable is named, and what would be right; its password is not shown."""
    proxies = Proxies({"HTTPS_PROXY": text})
    with pytest.raises(OperatorError, match=r"^HTTPS_PROXY is not valid: must be"):
        proxies.for_url(API)

    assert proxies.for_url("http://127.0.0.1") is None


def test_passwords() -> None:
    """Every password is known, so that no log shows it."""
    environment = {"ALL_PROXY": "socks5://u:a%40b@p", "http_proxy": "u:secret@p"}

    assert set(Proxies(environment).passwords()) == {"a%40b", "a@b", "secret"}


@given(st.dictionaries(st.sampled_from(sorted(VARIABLES)), st.text(max_size=20)))
def test_any_environment(environment: dict[str, str]) -> None:
    """Any variables give a proxy, none, or an OperatorError."""
    proxies = Proxies(environment)
    list(proxies.passwords())
    try:
        proxies.for_url(API)
    except OperatorError as error:
        assert "is not valid" in str(error)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """Run the sandbox's Bot API, which no name leads to."""
    async with Server() as server:
        yield server


@pytest.mark.parametrize(
    ("scheme", "user", "seen"),
    [
        ("http", "", ""),
        ("http", "ada:s%40cret", "ada:s@cret"),
        ("socks5", "", ""),
        ("socks5", "ada:s%40cret", "ada:s@cret"),
        ("socks5h", "", ""),
        ("socks", "", ""),
        ("socks4a", "ada", "ada"),
    ],
)
async def test_the_bot_api_through_a_proxy(
    server: Server, scheme: str, user: str, seen: str
) -> None:
    """Calls go through the proxy, which looks up the name of the server."""
    async with proxy_at(scheme, server.url, user=user) as (proxy, url):
        proxies = Proxies({"ALL_PROXY": url})
        api_url = "http://bot.api.invalid:8081"
        async with Client(server.token, api_url, proxies=proxies) as client:
            identity = await client.get_me()

    assert identity.username
    assert proxy.requests == [("bot.api.invalid:8081", seen)]


@pytest.mark.parametrize("agent", ["http", "openai"])
@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_an_agent_through_a_proxy(agent: str, scheme: str) -> None:
    """Requests of both agents go through the proxy of the environment."""
    completion = b'{"choices": [{"message": {"content": "Hi."}}]}'
    handlers = {
        "POST /agent": streaming("text/plain", b"Hi."),
        "POST /v1/chat/completions": streaming("application/json", completion),
    }
    async with (
        serving(handlers) as place,
        proxy_at(scheme, place) as (proxy, url),
    ):
        environment = {
            "TELEGRAM_BOT_TOKEN": "1:a",
            "CROCBOT_STATE_DIR": "/nowhere",
            "CROCBOT_AGENT": agent,
            "CROCBOT_AGENT_URL": "http://agent.invalid:8081/agent",
            "OPENAI_BASE_URL": "http://agent.invalid:8081/v1",
            "CROCBOT_MODEL": "m",
            "all_proxy": url,
        }
        settings, _ = load(environment, None)
        chosen = create_agent(settings)
        try:
            reading = await read_answer(chosen, Prompt(a_message()))
        finally:
            await chosen.close()

    assert (reading.text, reading.error) == ("Hi.", None)
    assert proxy.requests == [("agent.invalid:8081", "")]


@pytest.mark.parametrize("scheme", ["socks4a", "socks5"])
async def test_a_proxy_that_refuses(server: Server, scheme: str) -> None:
    """A proxy that cannot connect is a network error, which names the proxy."""
    async with proxy_at(scheme, server.url, refuse=True, user="ada:secret") as found:
        proxies = Proxies({"ALL_PROXY": found[1]})
        async with Client("1:a", "http://bot.api.invalid", proxies=proxies) as client:
            with pytest.raises(TelegramError, match=r"the proxy socks.*ALL") as error:
                await client.get_me()

    assert "secret" not in str(error.value)


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks4a"])
async def test_a_proxy_that_cannot_be_reached(scheme: str) -> None:
    """It is a network error of Telegram, and the agent is unreachable."""
    proxies = Proxies({"ALL_PROXY": f"{scheme}://ada:secret@127.0.0.1:9"})
    async with Client("1:a", "http://bot.api.invalid", proxies=proxies) as client:
        with pytest.raises(TelegramError, match=f"the proxy {scheme}:") as error:
            await client.get_me()
    agent = AgentClient(
        "http://agent.invalid", 5.0, retry=False, reuse=False, proxies=proxies
    )
    with pytest.raises(AgentError) as failed:
        async with agent.request("POST", "http://agent.invalid/"):
            pass
    await agent.close()

    assert failed.value.reason is AgentErrorReason.UNREACHABLE
    assert "secret" not in f"{error.value} {failed.value}"


async def test_a_proxy_that_refuses_a_tunnel() -> None:
    """A proxy that refuses CONNECT is named with its answer."""

    async def refuse(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    timeout = aiohttp.ClientTimeout(total=30)
    async with stream_server(refuse) as port:
        proxies = Proxies({"HTTPS_PROXY": f"http://u:secret@127.0.0.1:{port}"})
        client = HttpClient(API, connections=1, reuse=False, proxies=proxies)
        with pytest.raises(ProxyFailedError, match="answered 407 Who are you") as error:
            async with client.request("GET", API, timeout=timeout):
                pass
        await client.close()

    assert "secret" not in str(error.value)


def test_socks_without_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library, the variable and what to install are named at once."""
    monkeypatch.setitem(sys.modules, "aiohttp_socks", None)
    proxies = Proxies({"HTTPS_PROXY": "socks5://proxy:1080"})
    options: dict[str, Any] = {"connections": 1, "reuse": True, "proxies": proxies}
    with pytest.raises(OperatorError, match=r"^HTTPS_PROXY .* 'crocbot\[socks\]'$"):
        HttpClient(API, **options)

    # It is not needed for a server on this machine.
    assert HttpClient("http://127.0.0.1", **options).proxy is None


@pytest.mark.parametrize(
    ("environment", "env_file", "proxy"),
    [
        ({"HTTPS_PROXY": "a:1"}, "HTTPS_PROXY=b:2", "http://a:1 (HTTPS_PROXY)"),
        ({}, "HTTPS_PROXY=b:2", "http://b:2 (https_proxy)"),
        ({"HTTPS_PROXY": ""}, "", None),
    ],
)
def test_proxies_in_the_settings(
    environment: dict[str, str], env_file: str, proxy: str | None, tmp_path: Any
) -> None:
    """The environment wins over `.env`; passwords are secrets."""
    file = tmp_path / ".env"
    file.write_text(env_file)
    required = {"TELEGRAM_BOT_TOKEN": "1:a", "CROCBOT_STATE_DIR": "/nowhere"}
    settings, _ = load(required | environment, file)
    found = settings.proxies.for_url(API)

    assert (found and str(found)) == proxy


def test_the_password_of_a_proxy_is_a_secret() -> None:
    """No log shows it."""
    required = {"TELEGRAM_BOT_TOKEN": "1:a", "CROCBOT_STATE_DIR": "/nowhere"}
    settings, _ = load(required | {"all_proxy": "socks5://u:secret@p"}, None)

    assert "secret" in settings.secrets
