"""What several end-to-end tests need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Checkout, own_lab
from tests.e2e.support import certificates


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of keys and certificates, good and bad."""
    return certificates.make(tmp_path_factory.mktemp("a tls fólder"))


@pytest.fixture(scope="session")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A checkout with a lab of its own for the group `projects`; its machine is made by the first deploy."""
    with own_lab(tmp_path_factory.mktemp("projects")) as here:
        yield here
