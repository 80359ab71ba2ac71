"""Shared by all tests: the project's folder is importable, so a test may take what others share as `tests.<module>`."""

from __future__ import annotations

import gc
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tests.patience import PATIENCE_S  # noqa: E402
from tests.postgres_server import Server, programs, running  # noqa: E402

# Hints of the command line name `godwit`, wherever this environment keeps it.
os.environ.setdefault("GODWIT_PROGRAM", "godwit")
# Keys that the person at this machine has stored are none of the tests'.
os.environ["GODWIT_AUTH"] = ""

# A suite that was started in the background is born with these ignored, as would be the programs that tests stop by them.
for number, default in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, default)

# Where a test says nothing else, both give up after 5 s, which a busy machine may take. And to read what all authorities of
# the world have signed, for each client anew, takes longer than most of what tests ask.
for library in (httpx, httpx2):
    for step in ("connect", "read", "write", "pool"):
        setattr(library._config.DEFAULT_TIMEOUT_CONFIG, step, PATIENCE_S)
    transports: Any = library._transports.default
    transports.create_ssl_context = cache(transports.create_ssl_context)

# A shared machine is slow now and then, which says nothing about the code: no deadlines. On CI the examples are the same
# each time, so that a red build can be repeated; at home they differ, so that new ones are found.
settings.register_profile("home", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("home"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "home")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: much of its time a test waits for a disk, another process or a time to pass."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_finish() -> None:
    """What there is by now stays to the end. With all tests in it, to look at it again for garbage takes long."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder of the test's own with a short name: the path of a socket in it may have about 100 bytes in all."""
    with tempfile.TemporaryDirectory(prefix="gw") as folder:
        yield Path(folder).resolve()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A PostgreSQL server, one for all tests of a process. Each takes a schema of its own."""
    found = programs()
    if found is None:
        pytest.skip("no PostgreSQL server here: install one, or run scripts/clients")
    with running(found) as server:
        yield server
