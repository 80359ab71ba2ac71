"""AG-UI's own clients, one process with them for all tests of a worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .front import Front, front as made


@pytest.fixture(scope="session")
def front() -> Iterator[Front]:
    with made() as front:
        yield front
