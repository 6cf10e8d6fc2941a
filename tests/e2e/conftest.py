"""What several end-to-end tests need."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.support import certificates


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of keys and certificates, good and bad."""
    return certificates.make(tmp_path_factory.mktemp("a tls fólder"))
