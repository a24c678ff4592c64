"""The image of the bridge, as charts of statsd_exporter use it."""

from __future__ import annotations

import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from docker.models.containers import Container

from tests.compose.conftest import TIMEOUT_SECONDS, Stack

MEGABYTE = 1_000_000
# What the chart prometheus-community/prometheus-statsd-exporter gives.
ARGS = [
    "--web.listen-address=:9103",
    "--web.telemetry-path=/metrics",
    "--statsd.listen-udp=:8125",
    "--statsd.listen-tcp=:8125",
    "--statsd.cache-size=1000",
    "--statsd.event-queue-size=10000",
    "--statsd.event-flush-threshold=1000",
    "--statsd.event-flush-interval=200ms",
]


@contextmanager
def bridge(stack: Stack, *args: str, **options: Any) -> Iterator[Container]:
    """Run the image of the bridge with arguments only; wait until it is healthy."""
    made = stack.client.containers.run(
        stack.bridge_image,
        list(args),
        read_only=True,
        cap_drop=["ALL"],
        detach=True,
        healthcheck={"interval": 1_000_000_000, "test": ["CMD", "healthy"]},
        **options,
    )
    try:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while made.health != "healthy":
            assert time.monotonic() < deadline, made.logs().decode()
            time.sleep(0.2)
            made.reload()
        yield made
    finally:
        made.remove(force=True)


def address(container: Container) -> str:
    """Return the IP address of a container in the default network."""
    networks = container.attrs["NetworkSettings"]["Networks"].values()
    return str(next(iter(networks))["IPAddress"])


@pytest.mark.parametrize("user", [None, "65534", "4711:4711"])
def test_a_chart_gives_arguments_only(stack: Stack, user: str | None) -> None:
    """Any user id serves what comes by UDP, at the ports of the arguments."""
    with bridge(stack, *ARGS, user=user) as container:
        host = address(container)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"hits:3|c|#page:home", (host, 8125))
        deadline, page = time.monotonic() + TIMEOUT_SECONDS, ""
        while 'hits{page="home"} 3' not in page:
            assert time.monotonic() < deadline, page
            with urllib.request.urlopen(f"http://{host}:9103/metrics") as response:
                page = response.read().decode()


def test_the_health_check_reads_a_file_of_arguments(
    stack: Stack, tmp_path: Path
) -> None:
    """An address in `@file` is asked, too."""
    tmp_path.chmod(0o755)
    (tmp_path / "args").write_text("# ports\n--web.listen-address=:9103\n")
    with bridge(stack, "@/etc/args/args", volumes=[f"{tmp_path}:/etc/args:ro"]) as made:
        assert b"http=[::]:9103" in made.logs()


def test_the_ports_without_arguments(stack: Stack) -> None:
    """They are those of statsd_exporter, and the image exposes them."""
    config = stack.client.images.get(stack.bridge_image).attrs["Config"]

    assert config["ExposedPorts"].keys() == {"9102/tcp", "9125/tcp", "9125/udp"}
    assert config.get("Volumes") in (None, {})
    assert config["WorkingDir"] in ("", "/")
    with bridge(stack) as container:
        assert b"loopback" not in container.logs()


def test_a_bridge_on_loopback_says_so(stack: Stack) -> None:
    """One line at the start names the flags that make it reachable."""
    flags = ("--statsd.listen-udp", "--statsd.listen-tcp", "--web.listen-address")
    loopback = [f"{flag}=127.0.0.1:{9125 + at}" for at, flag in enumerate(flags)]
    with bridge(stack, *loopback) as container:
        lines = [line for line in container.logs().splitlines() if b"loopback" in line]

    assert len(lines) == 1
    assert b"level=warn" in lines[0]


def test_the_images_are_small(stack: Stack) -> None:
    """Each adds less than 120 MB to its base."""
    base, *sizes = [
        stack.client.images.get(name).attrs["Size"]
        for name in (stack.base, stack.image, stack.bridge_image)
    ]

    assert [size for size in sizes if size - base >= 120 * MEGABYTE] == []


@pytest.mark.parametrize(
    ("image", "absent"),
    [
        ("image", ["twisted", "re2", "bcrypt", "yaml", "prometheus_client"]),
        ("bridge_image", ["telegram", "aiohttp", "openai", "pydantic", "statsd"]),
    ],
)
def test_an_image_has_the_libraries_of_its_program_only(
    stack: Stack, image: str, absent: list[str]
) -> None:
    """No library of the other program can be imported."""
    code = (
        "import importlib.util as u, sys;"
        " print([n for n in sys.argv[1:] if u.find_spec(n)])"
    )
    found = stack.client.containers.run(
        getattr(stack, image),
        ["-c", code, *absent],
        entrypoint=["python"],
        remove=True,
    )

    assert found.decode().strip() == "[]"


def test_it_is_compared_with_the_original(stack: Stack) -> None:
    """A third container compares it with a bridge in the role of statsd_exporter."""
    with bridge(stack) as ours:
        relay = f"--statsd.relay.address={address(ours)}:9125"
        with bridge(stack, relay) as theirs:
            host = address(theirs)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"hits:3|c|#page:home\nload:2|g\ntime:3|h", (host, 9125))
            urls = [f"http://{address(each)}:9102/metrics" for each in (theirs, ours)]
            said = stack.client.containers.run(
                stack.bridge_image,
                ["compare", "--theirs", urls[0], "--ours", urls[1], "--minutes=0.05"],
                remove=True,
            )

    assert said.decode().splitlines()[-1] == "safe to switch"
