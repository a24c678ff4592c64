"""Fixtures of the gateway's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crocbot.database_url import DatabaseUrl
from crocbot.store import upgrade
from tests.crocbot.databases import Database, PostgresDatabase, SqliteDatabase
from tests.postgresql import Cluster


@pytest.fixture(scope="session")
def template(cluster: Cluster) -> str:
    """Return the name of a database that has the tables and nothing else."""
    url = cluster.create_database()
    upgrade(DatabaseUrl.parse(url))
    return url.rpartition("/")[2]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Return a new database: the test runs over both engines."""
    if request.param == "sqlite":
        yield SqliteDatabase(tmp_path / "crocbot.sqlite3")
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    url = cluster.create_database(request.getfixturevalue("template"))
    yield PostgresDatabase(DatabaseUrl.parse(url))
    cluster.drop_database(url)
