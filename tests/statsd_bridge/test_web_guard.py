"""Who is admitted: users by their hashes, requests by their rate."""

from __future__ import annotations

import base64
import os
import time
from pathlib import Path

import bcrypt
import pytest
from structlog.testing import capture_logs

from statsd_bridge import cli
from statsd_bridge.web import Guard, config
from statsd_bridge.web.checks import Admission
from statsd_bridge.web.config import RateLimit
from statsd_bridge.web.guard import TokenBucket
from statsd_bridge.web.users import Users
from statsd_bridge.web.watch import SETTLING_SECONDS, WatchedFiles
from tests.certificates import Authority
from tests.statsd_bridge.web_in_memory import InThisThread


def test_a_bucket_fills_with_time() -> None:
    """Full at first, one token an interval, and never more than the burst."""
    bucket = TokenBucket(RateLimit(2.0, 3), 100.0)
    taken = [bucket.take(now) for now in (100, 100, 100, 100, 101, 102, 102, 999)]
    more = [bucket.take(999) for _ in range(3)]

    assert taken == [True, True, True, False, False, True, False, True]
    assert more == [True, True, False]


@pytest.fixture
def users() -> Users:
    """One user whose password is checked in this thread."""
    hashes = {"ann": bcrypt.hashpw(b"a:b", bcrypt.gensalt(4))}
    return Users(hashes, InThisThread())


class SomeClient:
    """The sender of all requests."""

    peer = "192.0.2.1"

    def fileno(self) -> int:
        """Return that it has no connection."""
        return -1


def admitted(users: Users, *headers: bytes | None) -> list[bool]:
    """Return whether each Authorization header is admitted."""
    admissions: list[Admission] = []
    for header in headers:
        check = users.authenticate(header, SomeClient())
        check.result.addCallback(admissions.append)
    return [each is Admission.ADMITTED for each in admissions]


def basic(text: bytes) -> bytes:
    """Return an Authorization header."""
    return b"Basic " + base64.b64encode(text)


@pytest.mark.parametrize(
    ("header", "is_admitted"),
    [
        (basic(b"ann:a:b"), True),
        (basic(b"ann:a:b").replace(b"Basic", b"bAsIc"), True),
        (basic(b"ann:a"), False),
        (basic(b"ann"), False),
        (basic(b"bob:a:b"), False),
        (basic(b":"), False),
        (basic(b""), False),
        # Longer than bcrypt reads, and with a NUL: rejected without an exception.
        (basic(b"ann:" + b"x" * 1000), False),
        (basic(b"ann:a:b\0"), False),
        (basic(b"\xff\xfe:\xff"), False),
        (b"Basic !!!", False),
        (b"Basic", False),
        (b"Bearer x", False),
        (b"", False),
        (None, False),
    ],
)
def test_only_name_and_password_admit(
    users: Users, header: bytes | None, is_admitted: bool
) -> None:
    """Every other header is rejected."""
    assert admitted(users, header, header) == [is_admitted, is_admitted]


def test_a_changed_hash_invalidates_remembered_credentials(users: Users) -> None:
    """Credentials are remembered together with the hash that they matched."""
    old, new = basic(b"ann:a:b"), basic(b"ann:new")
    before = admitted(users, old)
    users.replace({"ann": bcrypt.hashpw(b"new", bcrypt.gensalt(4))})

    assert [*before, *admitted(users, old, new)] == [True, False, True]


def test_without_users_every_request_is_admitted() -> None:
    """With a header and without."""
    assert admitted(Users({}, InThisThread()), None, basic(b"a:b")) == [True, True]


def test_a_broken_file_leaves_the_last_good_one_in_force(tmp_path: Path) -> None:
    """The error is logged once for each change."""
    file = tmp_path / "web.yml"
    file.write_text("http_server_config: {headers: {X-Frame-Options: deny}}")
    guard = Guard(str(file), InThisThread())
    with capture_logs() as logs:
        file.write_text("nonsense: 1")
        assert all(guard.allow_request() for _ in range(3))
        headers = dict(guard.headers)
        file.unlink()
        assert guard.allow_request()
        file.write_text("{}")
        assert guard.allow_request()

    assert headers == {"X-Frame-Options": "deny"}
    assert [each["event"] for each in logs] == [
        "web configuration refused, the old one stays"
    ] * 2
    assert guard.headers == {}


def test_a_refused_file_is_read_again_when_its_files_change(tmp_path: Path) -> None:
    """Also when they are not those of the configuration in force."""
    authority = Authority(tmp_path)
    authority.issue("old")
    file = tmp_path / "web.yml"
    named = "tls_server_config: {cert_file: %s.pem, key_file: %s.key}"
    file.write_text(named % ("old", "old"))
    guard = Guard(str(file), InThisThread())
    old = guard.getContext()
    file.write_text(named % ("new", "new"))
    with capture_logs() as logs:
        assert [guard.getContext(), guard.getContext()] == [old, old]
    authority.issue("new")

    assert len(logs) == 1
    assert guard.getContext() is not old


def test_a_change_while_the_file_is_read_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the next request."""
    file = tmp_path / "web.yml"
    file.write_text("{}")
    read = config.read

    def read_then_change(path: str) -> config.WebConfig:
        found = read(path)
        file.write_text("http_server_config: {headers: {X-Frame-Options: deny}}")
        return found

    with monkeypatch.context() as patched:
        patched.setattr(config, "read", read_then_change)
        guard = Guard(str(file), InThisThread())
    assert guard.allow_request()

    assert guard.headers == {"X-Frame-Options": "deny"}


class SystemClock:
    """The time of day, which a test moves."""

    def __init__(self, now: float | None = None) -> None:
        self.now = time.time() if now is None else now

    def __call__(self) -> float:
        return self.now


def test_a_change_that_its_status_hides_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice within one step of the file system's clock, with the same size."""
    file = tmp_path / "cert.pem"
    file.write_text("one")
    frozen = file.stat()
    monkeypatch.setattr(Path, "stat", lambda _: frozen)
    files = WatchedFiles(SystemClock(frozen.st_mtime))
    files.add(file)
    assert not files.have_changed()
    file.write_text("two")

    assert files.have_changed()


def test_files_that_settled_are_not_read_at_every_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only at the first one after that time."""
    file, reads = tmp_path / "cert.pem", 0
    file.write_text("one")
    clock = SystemClock(file.stat().st_mtime)
    files = WatchedFiles(clock)
    read_bytes = Path.read_bytes

    def read(path: Path) -> bytes:
        nonlocal reads
        reads += 1
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", read)
    files.add(file)
    clock.now += SETTLING_SECONDS + 1
    changes = [files.have_changed() for _ in range(9)]
    assert not any(changes)
    assert reads == 2

    file.write_text("two")
    assert files.have_changed()


@pytest.mark.parametrize("keep", ["size", "time"])
def test_a_file_that_replaces_another_is_found(tmp_path: Path, keep: str) -> None:
    """With the same size, or with the same time, long after both were written."""
    clock = SystemClock()
    file, other = tmp_path / "cert.pem", tmp_path / "new.pem"
    file.write_text("one")
    other.write_text("two" if keep == "size" else "longer")
    status = file.stat()
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    clock.now += SETTLING_SECONDS + 1
    files = WatchedFiles(clock)
    files.add(file)
    assert not files.have_changed()
    other.replace(file)

    assert files.have_changed()


@pytest.mark.parametrize(
    ("is_certificate", "words"),
    [
        (False, "cert_file: is not a certificate in PEM"),
        (True, "key_file: is not a private key in PEM"),
    ],
)
def test_a_bad_certificate_prevents_the_start(
    tmp_path: Path,
    is_certificate: bool,
    words: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """With one line and exit code 2, for --check-config as well."""
    file = tmp_path / "web.yml"
    (tmp_path / "key").write_text("nonsense")
    cert = Authority(tmp_path).file.name if is_certificate else "key"
    file.write_text(f"tls_server_config: {{cert_file: {cert}, key_file: key}}")
    code = cli.main([f"--web.config.file={file}", "--check-config"])
    error = capfd.readouterr().err

    assert code == 2
    assert error.startswith(f"statsd-bridge: {file}: tls_server_config.{words}")
    assert error.count("\n") == 1
