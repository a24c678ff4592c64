"""Who is admitted: users by their hashes, requests by their rate."""

from __future__ import annotations

import base64
from pathlib import Path

import bcrypt
import pytest
from structlog.testing import capture_logs
from twisted.internet.defer import Deferred

from statsd_bridge import cli
from statsd_bridge.web import Guard, config
from statsd_bridge.web.config import RateLimit
from statsd_bridge.web.guard import TokenBucket
from statsd_bridge.web.users import Users
from tests.certificates import Authority


def test_a_bucket_fills_with_time() -> None:
    """Full at first, one token an interval, and never more than the burst."""
    bucket = TokenBucket(RateLimit(2.0, 3), 100.0)
    taken = [bucket.take(now) for now in (100, 100, 100, 100, 101, 102, 102, 999)]
    more = [bucket.take(999) for _ in range(3)]

    assert taken == [True, True, True, False, False, True, False, True]
    assert more == [True, True, False]


@pytest.fixture
def users(monkeypatch: pytest.MonkeyPatch) -> Users:
    """One user whose password is checked in this thread."""

    def run_now(call, *arguments):  # type: ignore[no-untyped-def]
        done: Deferred[bool] = Deferred()
        done.callback(call(*arguments))
        return done

    monkeypatch.setattr("statsd_bridge.web.users.deferToThread", run_now)
    return Users({"ann": bcrypt.hashpw(b"a:b", bcrypt.gensalt(4))})


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
    answers: list[bool] = []
    for _ in range(2):
        users.authenticate(header).addCallback(answers.append)

    assert answers == [is_admitted, is_admitted]


def test_a_changed_hash_invalidates_remembered_credentials(users: Users) -> None:
    """Credentials are remembered together with the hash that they matched."""
    answers: list[bool] = []
    users.authenticate(basic(b"ann:a:b")).addCallback(answers.append)
    users.hashes = {"ann": bcrypt.hashpw(b"new", bcrypt.gensalt(4))}
    for password in (b"a:b", b"new"):
        users.authenticate(basic(b"ann:" + password)).addCallback(answers.append)

    assert answers == [True, False, True]


def test_without_users_every_request_is_admitted() -> None:
    """With a header and without."""
    answers: list[bool] = []
    for header in (None, basic(b"a:b")):
        Users({}).authenticate(header).addCallback(answers.append)

    assert answers == [True, True]


def test_a_broken_file_leaves_the_last_good_one_in_force(tmp_path: Path) -> None:
    """The error is logged once for each change."""
    file = tmp_path / "web.yml"
    file.write_text("http_server_config: {headers: {X-Frame-Options: deny}}")
    guard = Guard(str(file))
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
    guard = Guard(str(file))
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
        guard = Guard(str(file))
    assert guard.allow_request()

    assert guard.headers == {"X-Frame-Options": "deny"}


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
