"""Certificates and passwords for a bridge with a web configuration file."""

from __future__ import annotations

from typing import Any

import bcrypt
import pytest

from tests.certificates import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority of the bridge and its clients."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def other_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that the bridge does not know."""
    return Authority(tmp_path_factory.mktemp("other"))


@pytest.fixture(scope="session")
def hashed() -> Any:
    """Hash a password with bcrypt at its lowest cost."""
    return lambda word: bcrypt.hashpw(word.encode(), bcrypt.gensalt(4)).decode()
