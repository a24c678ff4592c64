"""Who comes in: users by their hashes, requests by their rate."""

from __future__ import annotations

import base64
from pathlib import Path

import bcrypt
import pytest
from twisted.internet.defer import Deferred

from statsd_bridge import cli
from statsd_bridge.errors import BridgeError
from statsd_bridge.web import Guard
from statsd_bridge.web.config import Rate
from statsd_bridge.web.guard import Bucket
from statsd_bridge.web.users import Users

CERTIFICATE = """
-----BEGIN CERTIFICATE-----
MIIBdjCCARugAwIBAgIUP+AmqDxL0TEloX28GMEwWNZTRNUwCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjUxMDMzNTdaGA8yMTI2MTEwMTEwMzM1
N1owDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABL0e
qYlZkb/b3mBY3GYTqFEPQcR8AJRnMlXG2xv5v8f8k5rX93McbcMKCKX4u4xz2Dy0
7lae/x77bBFGvcTFODqjUzBRMB0GA1UdDgQWBBTQco1FdkXp1RzUHhjPXGzwvIQh
5jAfBgNVHSMEGDAWgBTQco1FdkXp1RzUHhjPXGzwvIQh5jAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0kAMEYCIQDZlOayJvnyPKuabjSUwk6dxUbIWrHXyKi9
6lNjxCjaMgIhANDw90JLzvDXKEnhzm1OiieBL1aCc9UuPiw8rrMTv96m
-----END CERTIFICATE-----
"""


def test_a_bucket_fills_with_time() -> None:
    """Full at first, one token an interval, and never more than the burst."""
    bucket = Bucket(Rate(2.0, 3), 100.0)
    taken = [bucket.take(now) for now in (100, 100, 100, 100, 101, 102, 102, 999)]
    more = [bucket.take(999) for _ in range(3)]

    assert taken == [True, True, True, False, False, True, False, True]
    assert more == [True, True, False]


@pytest.fixture
def users(monkeypatch: pytest.MonkeyPatch) -> Users:
    """One user, whose hash is computed here and not in a thread."""

    def at_once(call, *arguments):  # type: ignore[no-untyped-def]
        done: Deferred[bool] = Deferred()
        done.callback(call(*arguments))
        return done

    monkeypatch.setattr("statsd_bridge.web.users.deferToThread", at_once)
    return Users({"ann": bcrypt.hashpw(b"a:b", bcrypt.gensalt(4))})


def basic(text: bytes) -> bytes:
    """Write a header."""
    return b"Basic " + base64.b64encode(text)


@pytest.mark.parametrize(
    ("header", "is_right"),
    [
        (basic(b"ann:a:b"), True),
        (basic(b"ann:a:b").replace(b"Basic", b"bAsIc"), True),
        (basic(b"ann:a"), False),
        (basic(b"ann"), False),
        (basic(b"bob:a:b"), False),
        (basic(b":"), False),
        (basic(b""), False),
        # Longer than bcrypt reads, and a NUL: no error, no way in.
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
def test_only_name_and_password_open(
    users: Users, header: bytes | None, is_right: bool
) -> None:
    """Whatever else a header holds keeps the door shut."""
    answers: list[bool] = []
    for _ in range(2):
        users.check(header).addCallback(answers.append)

    assert answers == [is_right, is_right]


def test_a_changed_hash_forgets_who_was_right(users: Users) -> None:
    """What was remembered holds for the hash that it was checked against."""
    answers: list[bool] = []
    users.check(basic(b"ann:a:b")).addCallback(answers.append)
    users.hashes = {"ann": bcrypt.hashpw(b"new", bcrypt.gensalt(4))}
    for password in (b"a:b", b"new"):
        users.check(basic(b"ann:" + password)).addCallback(answers.append)

    assert answers == [True, False, True]


def test_without_users_everybody_comes_in() -> None:
    """With a header and without."""
    answers: list[bool] = []
    for header in (None, basic(b"a:b")):
        Users({}).check(header).addCallback(answers.append)

    assert answers == [True, True]


def test_a_file_that_breaks_keeps_what_was_read(tmp_path: Path) -> None:
    """It is told once for each change."""
    file = tmp_path / "web.yml"
    file.write_text("http_server_config: {headers: {X-Frame-Options: deny}}")
    told: list[str] = []
    guard = Guard(str(file), told.append)
    file.write_text("nonsense: 1")
    for _ in range(3):
        assert guard.has_time()
    kept = dict(guard.headers)
    file.unlink()
    assert guard.has_time()
    file.write_text("{}")
    assert guard.has_time()

    assert kept == {"X-Frame-Options": "deny"}
    assert len(told) == 2
    assert guard.headers == {}


@pytest.mark.parametrize(
    ("certificate", "key", "words"),
    [
        ("nonsense", "nonsense", "cert_file: no certificate in PEM"),
        (None, "nonsense", "key_file: no private key in PEM"),
    ],
)
def test_what_is_no_certificate_stops_the_start(
    tmp_path: Path,
    certificate: str | None,
    key: str,
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With one line and exit code 2, for --check-config as well."""
    file = tmp_path / "web.yml"
    (tmp_path / "cert").write_text(certificate or CERTIFICATE)
    (tmp_path / "key").write_text(key)
    file.write_text("tls_server_config: {cert_file: cert, key_file: key}")
    with pytest.raises(BridgeError, match=words):
        Guard(str(file), lambda _: None)
    code = cli.main([f"--web.config.file={file}", "--check-config"])
    error = capsys.readouterr().err

    assert code == 2
    assert error.startswith(f"statsd-bridge: {file}: tls_server_config.")
    assert error.count("\n") == 1
