"""The gateway's webhook behind the proxies of compose/proxy/."""

from __future__ import annotations

import asyncio
import re
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from crocbot.sandbox import Person
from tests.certificates import Authority
from tests.end_to_end.world import World
from tests.ports import HOST, free_port

pytestmark = pytest.mark.end_to_end

FILES = Path(__file__).parents[2] / "compose" / "proxy"
MAX_BYTES = 1024 * 1024
ADA = Person(7, "Ada")


@asynccontextmanager
async def described(front: int, back: int) -> AsyncIterator[None]:
    """Serve a proxy that does what both files say, without TLS."""

    async def forward(request: web.Request) -> web.Response:
        headers = {
            **request.headers,
            "Host": "127.0.0.1",
            "X-Forwarded-For": "149.154.160.1",
            "X-Forwarded-Proto": "https",
        }
        body = await request.read()
        url = f"http://{HOST}:{back}{request.rel_url}"
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, data=body, headers=headers) as answer,
        ):
            return web.Response(status=answer.status, body=await answer.read())

    app = web.Application(client_max_size=MAX_BYTES)
    app.router.add_post("/crocbot/{path:.*}", forward)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, HOST, front).start()
    try:
        yield
    finally:
        await runner.cleanup()


def nginx_file(folder: Path, front: int, back: int, tls: int) -> Path:
    """Return a whole nginx.conf with the example, for these ports."""
    certificate, key = Authority(folder).issue("bot.example.org")
    text = (FILES / "nginx.conf").read_text()
    for old, new in (
        (r"listen 443 ssl;", f"listen {HOST}:{tls} ssl; listen {HOST}:{front};"),
        (r"/etc/\S+fullchain\.pem", str(certificate)),
        (r"/etc/\S+privkey\.pem", str(key)),
        (r"127\.0\.0\.1:8443;", f"{HOST}:{back};"),
    ):
        text, count = re.subn(old, new, text)
        assert count == 1, old
    file = folder / "nginx.conf"
    paths = "".join(
        f"{name}_temp_path {folder}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file.write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{ {paths} access_log off;\n{text}}}\n"
    )
    return file


def nginx() -> str:
    """Return the program, or skip the test."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("nginx is missing")
    return program


@asynccontextmanager
async def real_nginx(
    folder: Path, front: int, back: int, tls: int
) -> AsyncIterator[None]:
    """Run nginx with the example."""
    file = nginx_file(folder, front, back, tls)
    process = await asyncio.create_subprocess_exec(
        nginx(), "-c", str(file), "-e", str(folder / "early.log")
    )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.parametrize("kind", ["described", "nginx"])
async def test_updates_arrive(world: World, tmp_path: Path, kind: str) -> None:
    """Messages are answered through the proxy, and only what Telegram sends passes."""
    front, back, tls = free_port(), free_port(), free_port()
    if kind == "nginx":
        nginx()
        proxy = real_nginx(tmp_path, front, back, tls)
    else:
        proxy = described(front, back)
    url = f"http://{HOST}:{front}/crocbot"
    async with proxy:
        gateway = await world.start(
            "crocbot",
            "gateway",
            **world.settings(),
            CROCBOT_WEBHOOK_URL=url,
            CROCBOT_WEBHOOK_LISTEN=f"{HOST}:{back}",
        )
        for text in ("one", "two", "x" * 4000):
            world.server.send(ADA, text)
        await world.eventually(
            lambda: world.replies.to(ADA) == ["one", "two", "x" * 4000]
        )
        assert await status("POST", url + "/wrong") == 404
        assert await status("POST", f"http://{HOST}:{front}/") in {404, 405}
        assert await status("GET", url + "/wrong") in {403, 405}
        assert await status("POST", url + "/wrong", b"x" * (MAX_BYTES + 9)) in {
            404,
            413,
        }
        if kind == "nginx":
            context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
            secure = f"https://{HOST}:{tls}/crocbot/wrong"
            assert await status("POST", secure, context=context) == 404
        assert await gateway.stop() == 0


async def status(
    method: str,
    url: str,
    body: bytes = b"{}",
    context: ssl.SSLContext | None = None,
) -> int:
    """Return the status of a request that is not Telegram's."""
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            method, url, data=BytesIO(body), ssl=context or True
        ) as response,
    ):
        return response.status


def test_nginx_accepts_the_file(tmp_path: Path) -> None:
    """`nginx -t` finds nothing wrong."""
    file = nginx_file(tmp_path, free_port(), free_port(), free_port())
    done = subprocess.run(
        [nginx(), "-t", "-c", file, "-e", tmp_path / "early.log"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_caddy_accepts_the_file() -> None:
    """`caddy validate` finds nothing wrong."""
    program = shutil.which("caddy")
    if program is None:
        pytest.skip("caddy is missing")
    done = subprocess.run(
        [
            program,
            "validate",
            "--config",
            FILES / "Caddyfile",
            "--adapter",
            "caddyfile",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["nginx.conf", "Caddyfile"])
def test_both_files_say_the_same(name: str) -> None:
    """Path, port, method, largest body and time-outs are those of the gateway."""
    text = (FILES / name).read_text()

    for word in ("/crocbot/", "127.0.0.1:8443", "POST", "404", "5s;|5s\n", "30s"):
        assert re.search(word, text), word
    assert re.search(r"1m;|1MiB", text)
    assert text.count("{") == text.count("}")
