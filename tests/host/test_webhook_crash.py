"""Whenever the process that delivers is killed, what it had acknowledged is delivered, under the id it was tried with."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.host import webhook_script
from tests.host.webhook_site import Inbox, verified
from tests.parts.web_site import Request, Site, page, site

from godwit.stores.sqlite import SqliteStore

ROOT = Path(__file__).resolve().parents[2]


@asynccontextmanager
async def process(database: Path, here: Site, names: str = "") -> AsyncIterator[asyncio.subprocess.Process]:
    """The script, killed at the end if it was not before."""
    command = [sys.executable, "-m", "tests.host.webhook_script", str(database), here.here, names]
    started = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    try:
        yield started
    finally:
        await killed(started)


async def killed(started: asyncio.subprocess.Process) -> list[str]:
    """Kill it; the sessions it had said."""
    if started.returncode is None:
        started.send_signal(signal.SIGKILL)
    assert started.stdout is not None
    said = (await started.stdout.read()).decode().split()
    await started.wait()
    return said


@pytest.mark.parametrize(
    ("moment", "hold"),
    [(1, True), pytest.param(1, False, marks=pytest.mark.slow), (3, False), pytest.param(8, False, marks=pytest.mark.slow)],
)
async def test_nothing_is_lost_with_the_process(tmp_path: Path, moment: int, hold: bool) -> None:
    """`moment`: it is killed when so many tries have come in; `hold`: while all of them wait for their answers."""
    names = [f"s{number}" for number in range(20)]
    async with site() as here:
        inbox = Inbox(here)
        inbox.hold = hold
        inbox.answers = [page("", status="500 Broken")]
        async with SqliteStore.open(tmp_path / "g.db") as store:
            _, secret = await webhook_script.parts(store, here.here)[0].add(inbox.url, tenant=None)
        async with process(tmp_path / "g.db", here, ",".join(names)) as first:
            await inbox.until(lambda came: len(came) >= moment)
            said = await killed(first)
        before = list(inbox.requests)
        # When none was answered all of them must come again, else at least those that had not come at all.
        missing = set(said) if hold else set(said) - sessions(before)
        inbox.hold = False
        async with process(tmp_path / "g.db", here):
            await inbox.until(lambda came: sessions(came[len(before) :]) >= missing)
        ids: dict[str, set[str]] = {}
        for one in inbox.requests:
            ids.setdefault(verified(one, secret)["id"], set()).add(one.headers["webhook-id"])
        assert set(said) <= ids.keys()
        assert all(len(found) == 1 for found in ids.values())


def sessions(came: list[Request]) -> set[str]:
    return {json.loads(one.body)["id"] for one in came}
