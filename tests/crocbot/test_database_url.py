"""URLs of PostgreSQL: what is accepted, shown and secret, and what is refused."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot import settings
from crocbot.database_url import DatabaseUrl, DatabaseUrlError
from crocbot.errors import OperatorError

TOKEN = "123456:ABC"
NAME = "CROCBOT_DATABASE_URL"
URL = "postgresql://u:p%40hush@h/db"
WORDS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u:hush@h:5432/db", "postgresql://u@h:5432/db"),
        ("postgres://h/db", "postgresql://h/db"),
        ("postgresql://", "postgresql:///"),
        ("postgresql:///db?host=/tmp&port=5433", "postgresql://%2Ftmp:5433/db"),
        ("postgresql://u@%2Frun%2Fpg/db", "postgresql://u@%2Frun%2Fpg/db"),
        ("postgresql://u:hush@[::1]:1/db", "postgresql://u@[::1]:1/db"),
        ("postgresql://u:hush@a:1,b,c:3/db", "postgresql://u@a:1,b,c:3/db"),
        ("postgresql://u:hush@/db?host=a,b&port=1,2", "postgresql://u@a:1,b:2/db"),
        ("postgresql://h?user=u&password=hush&dbname=db", "postgresql://u@h/db"),
        ("postgresql://u:#hush?:&@h/db?sslmode=require", "postgresql://u@h/db"),
        ("postgresql://h/db?sslpassword=hush", "postgresql://h/db"),
        ("postgresql://u%40x:hush@h/a%2Fb", "postgresql://u%40x@h/a%2Fb"),
    ],
)
def test_the_url_for_people(text: str, shown: str) -> None:
    """A URL is shown without its password and parameters, which are secrets."""
    url = DatabaseUrl.parse(text)

    assert str(url) == shown
    assert "hush" not in repr(url)
    assert text in url.secrets
    assert ("hush" in text) == any("hush" in each for each in url.secrets[1:])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "begins neither with"),
        ("hush", "begins neither with"),
        ("mysql://u:hush@h/db", "begins neither with"),
        ("/run/secrets/hush", "CROCBOT_DATABASE_URL_FILE takes one"),
        ("sqlite:///hush.sqlite3", "SQLite needs no URL"),
        ("POSTGRESQL://u:hush@h/db", "in lower case"),
        ("postgresql:/hush/db", "with two slashes"),
        ("postgresql+psycopg://u:hush@h/db", "without a driver"),
        ("jdbc:postgresql://h/hush", "without a driver"),
        ("host=h password=hush", "words such as host=..."),
        ("postgresql://u:hush hush@h/db", "a blank"),
        ("postgresql://u:hu\nsh@h/db", "a control character"),
        ("postgresql://u:hush%@h/db", "not like %40"),
        ("postgresql://u:hush%00@h/db", "not like %40"),
        ("postgresql://u:p@hush@h/db", "must be percent-encoded"),
        ("postgresql://u:1/hush@h/db", "must be percent-encoded"),
        ("postgresql://u:hu/sh@h/db", "must be percent-encoded"),
        ("postgresql://h:0/hush", "1 to 65535"),
        ("postgresql://h:65536/hush", "1 to 65535"),
        ("postgresql://h:\u0663/hush", "1 to 65535"),
        ("postgresql://::1/hush", "1 to 65535"),
        ("postgresql://h/db?host=a&port=hush", "1 to 65535"),
        ("postgresql://[::1/hush", "in brackets"),
        ("postgresql://[::1]hush/db", "cannot be read"),
        ("postgresql://h/db?hush", "name=value"),
        ("postgresql://h/db?password=hu=sh", "name=value"),
    ],
)
def test_refused_urls(text: str, expected: str) -> None:
    """An error says what is wrong, in one line without a part of the URL."""
    with pytest.raises(DatabaseUrlError) as refused:
        DatabaseUrl.parse(text)

    assert expected in str(refused.value)
    assert "hush" not in str(refused.value)
    assert "\n" not in str(refused.value)


@given(user=WORDS, password=WORDS, database=WORDS)
def test_every_password_can_be_encoded(user: str, password: str, database: str) -> None:
    """An encoded name is read as it was, and the password is a secret, both ways."""
    encoded = [quote(each, safe="") for each in (user, password, database)]
    url = DatabaseUrl.parse("postgresql://{}:{}@h/{}".format(*encoded))

    assert (url.user, url.database) == (user, database)
    assert {password, encoded[1]} <= set(url.secrets)


@given(st.text(max_size=40))
def test_no_text_breaks_it(text: str) -> None:
    """Any text behind the scheme is a URL or one error."""
    try:
        assert str(DatabaseUrl.parse(f"postgresql://{text}")).isprintable()
    except DatabaseUrlError as error:
        assert str(error)


def test_the_url_for_programs() -> None:
    """It has what they need to find the database, and no password."""
    url = DatabaseUrl.parse(
        "postgresql://u:hush@h:1/db?sslmode=verify-full&sslrootcert=/c%20a&password=hush"
        "&sslpassword=hush&application_name=x"
    )
    assert url.for_programs == (
        "postgresql://u@h:1/db?sslmode=verify-full&sslrootcert=%2Fc%20a"
    )


def test_the_setting_is_a_secret(tmp_path: Path) -> None:
    """It comes from the environment or a file, is redacted and in no repr."""
    file = tmp_path / "url"
    file.write_text(f"{URL}\n")
    for given_as in ({NAME: URL}, {f"{NAME}_FILE": str(file)}):
        loaded, warnings = settings.load(
            {"TELEGRAM_BOT_TOKEN": TOKEN, **given_as}, None
        )

        assert warnings == []
        assert loaded.postgresql == DatabaseUrl.parse(URL)
        assert {URL, "p%40hush", "p@hush"} <= set(loaded.secrets)
        assert "hush" not in repr(loaded)
        chosen = settings.load_only(given_as, NAME, settings.STATE_DIR, env_file=None)
        assert chosen.postgresql == loaded.postgresql
        assert chosen.state_dir.name == "crocbot"


def test_the_chat_in_a_terminal_has_a_database_of_its_own() -> None:
    """Neither the demo nor `crocbot chat` takes over the database of the gateway."""
    assert NAME not in settings.AGENT_SETTINGS | settings.CHAT_SETTINGS


@pytest.mark.parametrize(
    "text", ["mysql://u:hush@h/db", "postgresql://u:hush%@h/db", "hush"]
)
def test_a_wrong_setting_is_one_line(text: str) -> None:
    """The error has the name, the rule and the mistake, and nothing of the value."""
    with pytest.raises(OperatorError) as refused:
        settings.load({"TELEGRAM_BOT_TOKEN": TOKEN, NAME: text}, None)

    assert str(refused.value).startswith(
        f"{NAME} is not valid: must be a URL,"
        " postgresql://user:password@host:port/database; it "
    )
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("postgresql://db.example.org/db?sslmode=disable", True),
        ("postgresql://db.example.org/db", False),
        ("postgresql://db/db?sslmode=disable", False),
        ("postgresql:///db?host=/tmp&sslmode=disable", False),
        ("postgresql://127.0.0.1,db.example.org/db?sslmode=disable", True),
    ],
)
def test_advice_about_encryption(url: str, warned: bool) -> None:
    """To a host of another network messages should not pass unencrypted."""
    loaded, _ = settings.load({"TELEGRAM_BOT_TOKEN": TOKEN, NAME: url}, None)
    warnings = [line for line in settings.advice(loaded) if NAME in line]

    assert bool(warnings) == warned
