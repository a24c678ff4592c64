"""Series over a restart of a real process: --storage.file."""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.programs import TIMEOUT_SECONDS, BridgeProcess, Start
from tests.end_to_end.test_socket_activation import SYSTEMD
from tests.ports import HOST

LINES = (
    b"hits:3|c|#a:b",
    b"depth:7|g",
    b"work:250|ms\nwork:500|ms|@0.1",
    b"users:ann|s\nusers:bob|s",
)


def sent_series(page: str) -> list[str]:
    """Return the lines of the series that were sent."""
    ours = ("statsd_", "process_", "python_", "promhttp_", "#")
    return [line for line in page.splitlines() if not line.startswith(ours)]


def test_a_stop_writes_and_the_next_start_reads_once(
    start: Start, tmp_path: Path
) -> None:
    """The page is the same, the file is gone, and new samples add to the old ones."""
    file = tmp_path / "series"
    bridge = start(f"--storage.file={file}")
    assert 'storage_start_info{result="first_start"} 1.0\n' in bridge.get("/metrics")
    bridge.send(*LINES)
    before = sent_series(bridge.scrape_until("\nusers 2\n"))
    assert not file.exists()
    assert bridge.stop() == 0
    assert 'event="series written"' in bridge.log()
    assert file.stat().st_mode & 0o777 == 0o600

    bridge = start(f"--storage.file={file}")
    page = bridge.get("/metrics")
    assert sent_series(page) == before
    assert 'statsd_bridge_storage_start_info{result="restored"} 1.0\n' in page
    assert "\nstatsd_bridge_storage_restored_series 4.0\n" in page
    assert "\nstatsd_bridge_storage_write_seconds " in page
    assert 'event="series restored"' in bridge.log()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["series.lock"]
    bridge.send(b"hits:4|c|#a:b", b"users:bob|s", b"end:1|c")
    page = bridge.scrape_until("\nend 1\n")
    assert '\nhits{a="b"} 7\n' in page
    assert "\nusers 2\n" in page


def test_after_a_crash_it_starts_from_nothing(start: Start, tmp_path: Path) -> None:
    """The log and a metric say so, and the old state is never used again."""
    file = tmp_path / "series"
    bridge = start(f"--storage.file={file}")
    bridge.send(b"hits:3|c")
    bridge.scrape_until("\nhits 3\n")
    assert bridge.stop() == 0
    bridge = start(f"--storage.file={file}")
    bridge.process.kill()
    bridge.process.wait()

    bridge = start(f"--storage.file={file}")
    page = bridge.get("/metrics")
    assert sent_series(page) == []
    assert 'statsd_bridge_storage_start_info{result="unclean_stop"} 1.0\n' in page
    assert "the last run did not stop cleanly" in bridge.log()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_arrived_before_the_stop_is_written(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    """Over UDP, TCP and a Unix stream, a line without its end too."""
    file, unix = tmp_path / "series", tmp_path / "unix"
    flags = (f"--storage.file={file}", f"--statsd.listen-unixstream={unix}")
    bridge = start(*flags, f"--statsd.listen-tcp={HOST}:0")
    with (
        socket.create_connection((HOST, bridge.tcp)) as tcp,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream,
    ):
        stream.connect(str(unix))
        tcp.sendall(b"tcp:1|c\n")
        stream.sendall(b"unix:1|c\n")
        bridge.scrape_until("\ntcp 1\n")
        bridge.scrape_until("\nunix 1\n")
        os.kill(bridge.process.pid, signal.SIGSTOP)
        tcp.sendall(b"tcp:1|c\n" * 20_000 + b"last:1|c")
        stream.sendall(b"unix:1|c\n" * 5_000)
        bridge.send(*[b"udp:1|c"] * 500)
        os.kill(bridge.process.pid, number)
        os.kill(bridge.process.pid, signal.SIGCONT)
        assert bridge.process.wait(TIMEOUT_SECONDS) == 0

    page = start(*flags).get("/metrics")
    found = [
        line
        for line in sent_series(page)
        if line.startswith(("tcp", "unix", "udp", "last"))
    ]
    assert found == ["last 1", "tcp 20001", "udp 500", "unix 5001"]


def test_quit_is_a_clean_stop(start: Start, tmp_path: Path) -> None:
    """By HTTP, like a signal."""
    bridge = start(f"--storage.file={tmp_path / 'series'}", "--web.enable-lifecycle")
    bridge.send(b"hits:3|c")
    bridge.scrape_until("\nhits 3\n")
    assert bridge.request("/-/quit", "POST")[0] == 200
    assert bridge.process.wait(TIMEOUT_SECONDS) == 0

    assert "\nhits 3\n" in start(f"--storage.file={tmp_path / 'series'}").get(
        "/metrics"
    )


def test_two_bridges_do_not_share_a_file(launch: Start, tmp_path: Path) -> None:
    """The second one exits with 2 and names the flag; the first one goes on."""
    flag = f"--storage.file={tmp_path / 'series'}"
    first = launch(flag).wait()
    second = launch(flag)

    assert second.process.wait(TIMEOUT_SECONDS) == 2
    assert "--storage.file: " in second.log()
    assert "another bridge uses this file" in second.log()
    assert first.stop() == 0
    assert (tmp_path / "series").exists()


def test_a_start_that_fails_leaves_the_file(launch: Start, tmp_path: Path) -> None:
    """Its port is in use: the next start has the series."""
    file = tmp_path / "series"
    bridge = launch(f"--storage.file={file}").wait()
    bridge.send(b"hits:3|c")
    bridge.scrape_until("\nhits 3\n")
    bridge.stop()
    with socket.create_server((HOST, 0)) as taken:
        address = f"--web.listen-address={HOST}:{taken.getsockname()[1]}"
        failed = launch(f"--storage.file={file}", address)
        assert failed.process.wait(TIMEOUT_SECONDS) == 2

    assert launch(f"--storage.file={file}").wait().scrape_until("\nhits 3\n")


def test_a_file_that_cannot_be_written_is_an_error_of_the_stop(
    start: Start, tmp_path: Path
) -> None:
    """Exit code 1 and a line with the reason; nothing is left behind."""
    folder = tmp_path / "folder"
    folder.mkdir()
    bridge = start(f"--storage.file={folder / 'series'}")
    folder.rename(tmp_path / "moved")

    assert bridge.stop() == 1
    assert 'event="series not written"' in bridge.log()
    assert "No such file or directory" in bridge.log()


def test_the_page_says_that_the_series_could_not_be_read(
    start: Start, tmp_path: Path
) -> None:
    """So do the log and a metric; the file is kept aside, and metrics go on."""
    file = tmp_path / "series"
    file.write_text("no series\n")
    bridge = start(f"--storage.file={file}")

    page = bridge.get("/metrics")
    assert 'statsd_bridge_storage_start_info{result="unreadable"} 1.0\n' in page
    assert "the series of the last run were lost" in bridge.get("/")
    assert 'event="the series of the last run cannot be read"' in bridge.log()
    assert (tmp_path / "series.rejected").read_text() == "no series\n"
    assert not file.exists()
    assert bridge.stop() == 0
    assert file.exists()


MANY = b"\n".join(b"many.%d:1|c" % n for n in range(3_000))


def feed_many(bridge: BridgeProcess) -> None:
    """Send 30,000 series, which take some time to write and to read."""
    with socket.create_connection((HOST, bridge.tcp)) as client:
        for n in range(10):
            client.sendall(MANY.replace(b"many", b"many%d" % n) + b"\n")
        bridge.scrape_until("\nstatsd_bridge_series 30000.0\n")


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, which may hold for a short time only."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.0005)


def test_signals_interrupt_neither_the_writing_nor_the_reading(
    launch: Start, tmp_path: Path
) -> None:
    """However often they come: all series are in the file afterwards."""
    file = tmp_path / "series"
    flags = f"--storage.file={file}", f"--statsd.listen-tcp={HOST}:0"
    bridge = launch(*flags).wait()
    feed_many(bridge)
    bridge.process.terminate()
    temporary, taken = tmp_path / "series.tmp", tmp_path / "series.taken"
    wait_until(lambda: temporary.exists() or bridge.process.poll() is not None)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        bridge.process.send_signal(number)
    assert bridge.process.wait(TIMEOUT_SECONDS) == 0, bridge.log()

    bridge = launch(*flags)
    wait_until(lambda: taken.exists() or "event=ready" in bridge.log())
    bridge.process.terminate()
    assert bridge.process.wait(TIMEOUT_SECONDS) == 0, bridge.log()
    page = launch(*flags).wait().get("/metrics")
    assert "\nstatsd_bridge_storage_restored_series 30000.0\n" in page


def test_a_full_disk_is_an_error_of_the_stop(launch: Start, tmp_path: Path) -> None:
    """Exit code 1 and a line with the reason; the next start begins from nothing."""
    flags = f"--storage.file={tmp_path / 'series'}", f"--statsd.listen-tcp={HOST}:0"
    bridge = launch(*flags).wait()
    feed_many(bridge)
    resource.prlimit(bridge.process.pid, resource.RLIMIT_FSIZE, (500_000, 500_000))

    assert bridge.stop() == 1
    assert "File too large" in bridge.log()
    assert [path.name for path in tmp_path.iterdir()] == ["series.lock"]
    page = launch(*flags).wait().get("/metrics")
    assert 'storage_start_info{result="unclean_stop"} 1.0\n' in page


@pytest.mark.parametrize("more", [(), ("--check-config",)], ids=["start", "check"])
def test_a_path_that_cannot_be_used_is_one_line(
    launch: Start, tmp_path: Path, more: tuple[str, ...]
) -> None:
    """Exit code 2; the line names the flag, the file and what is wrong."""
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "target")
    for path in (link, tmp_path, tmp_path / "missing" / "series"):
        bridge = launch(f"--storage.file={path}", *more)

        assert bridge.process.wait(TIMEOUT_SECONDS) == 2
        [line] = bridge.log().splitlines()
        assert line.startswith(f"statsd-bridge: --storage.file: {path}: ")


def test_a_check_leaves_the_file_of_a_running_bridge(
    launch: Start, tmp_path: Path
) -> None:
    """It is no second bridge."""
    file = tmp_path / "series"
    bridge = launch(f"--storage.file={file}").wait()
    assert (
        launch(f"--storage.file={file}", "--check-config").process.wait(TIMEOUT_SECONDS)
        == 0
    )
    assert bridge.stop() == 0
    assert (
        launch(f"--storage.file={file}", "--check-config").process.wait(TIMEOUT_SECONDS)
        == 0
    )
    assert file.exists()


class Sender:
    """Sends a datagram to a socket again and again until it is closed."""

    def __init__(self, sock: socket.socket, datagram: bytes = b"steady:1|c") -> None:
        self.sent = 0
        self._socket = sock
        self._datagram = datagram
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self) -> None:
        while not self._is_over.is_set():
            self._socket.send(self._datagram)
            self.sent += 1
            time.sleep(0.01)

    def close(self) -> int:
        """Stop; return the packets that were sent."""
        self._is_over.set()
        self._thread.join()
        return self.sent


def started_by_systemd(
    launch: Start, udp: socket.socket, http: socket.socket
) -> Callable[..., BridgeProcess]:
    """Return a function that starts a bridge on sockets which stay open."""
    descriptors = udp.fileno(), http.fileno()
    prefix = (sys.executable, "-c", SYSTEMD, *map(str, descriptors))

    def start(*flags: str) -> BridgeProcess:
        return launch(*flags, prefix=prefix, descriptors=descriptors).wait()

    return start


def test_restarts_on_sockets_of_systemd_lose_no_packet(
    launch: Start, tmp_path: Path
) -> None:
    """A sender never stops over three restarts, and each of its packets counts."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outgoing,
        socket.create_server((HOST, 0)) as http,
    ):
        udp.bind((HOST, 0))
        outgoing.connect(udp.getsockname())
        start = started_by_systemd(launch, udp, http)
        flag = f"--storage.file={tmp_path / 'series'}"
        bridge = start(flag)
        sender = Sender(outgoing)
        for _ in range(3):
            assert bridge.stop() == 0
            bridge = start(flag)
        sent = sender.close()
        page = bridge.scrape_until(f"\nsteady {sent}\n")

    assert "statsd_bridge_udp_kernel_drops_total 0.0\n" in page
