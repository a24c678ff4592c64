"""Proxies that the environment names, for a real gateway and `crocbot check`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from crocbot.sandbox import Person
from tests.end_to_end.programs import Run
from tests.end_to_end.world import World
from tests.proxy_server import proxy_at

ADA = Person(7, "Ada")
# No name server knows it: only a proxy reaches it.
API_URL = "http://bot.api.invalid:8081"


@pytest.mark.parametrize(
    ("variable", "scheme"),
    [
        ("HTTP_PROXY", "http"),
        ("http_proxy", "socks5"),
        ("ALL_PROXY", "socks5h"),
        ("all_proxy", "http"),
    ],
)
async def test_messages_through_a_proxy(
    world: World, variable: str, scheme: str
) -> None:
    """Messages are answered through the proxy, which the log names."""
    async with proxy_at(scheme, world.server.url, user="ada:secret") as (proxy, url):
        settings = {variable: url, "CROCBOT_TELEGRAM_API_URL": API_URL}
        gateway = await world.start_gateway(**settings, CROCBOT_STATSD_HOST="off")
        world.server.send(ADA, "hello")
        await world.eventually(lambda: world.replies.to(ADA) == ["hello"])
        log = gateway.output.read_text()
        # A poll waits at the proxy.
        await gateway.stop()

    assert {user for _, user in proxy.requests} == {"ada:secret"}
    assert f"({variable})" in log
    assert "secret" not in log


async def test_check_names_the_proxy(world: World, run: Run) -> None:
    """`crocbot check` says which proxy it used, and which one failed."""
    async with proxy_at("socks5", world.server.url) as (_, url):
        settings = world.settings() | {"CROCBOT_TELEGRAM_API_URL": API_URL}
        check = run("crocbot", "check", **settings, ALL_PROXY=url)
        _, out, _ = await asyncio.to_thread(check.end)
    check = run("crocbot", "check", **settings, ALL_PROXY="socks5://127.0.0.1:9")
    _, _, errors = await asyncio.to_thread(check.end)

    assert f"is the bot of this token, through the proxy {url} (ALL_PROXY)" in out
    assert "the proxy socks5://127.0.0.1:9 (ALL_PROXY) failed" in errors


@pytest.mark.parametrize("command", ["gateway", "check"])
async def test_socks_without_its_extra(
    world: World, run: Run, tmp_path: Path, command: str
) -> None:
    """One line names the variable and the extra, and the exit code is 2."""
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "aiohttp_socks.py").write_text("raise ImportError('not installed')\n")
    settings = world.settings() | {"CROCBOT_TELEGRAM_API_URL": API_URL}
    program = run(
        *("crocbot", command),
        **settings,
        https_proxy="socks5://proxy",
        HTTP_PROXY="socks5://user:secret@proxy:1080",
        PYTHONPATH=str(modules),
    )
    code, _, errors = await asyncio.to_thread(program.end)
    about = [line for line in errors.splitlines() if "HTTP_PROXY" in line]

    assert code == 2
    assert len(about) == 1
    assert about[0].endswith("pip install 'crocbot[socks]'")
    assert "secret" not in errors


async def test_no_proxy(world: World, run: Run) -> None:
    """A server that NO_PROXY names is requested without the proxy."""
    settings = world.settings() | {"CROCBOT_TELEGRAM_API_URL": API_URL}
    check = run(
        *("crocbot", "check"),
        **settings,
        ALL_PROXY="socks5://127.0.0.1:9",
        no_proxy=".api.invalid",
    )
    _, _, errors = await asyncio.to_thread(check.end)

    assert "bot.api.invalid" in errors
    assert "proxy" not in errors
