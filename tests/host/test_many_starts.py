"""Many drives that begin at the same moment: so many at a time, and all of them in the end."""

from __future__ import annotations

import asyncio

import pytest
from tests.engine.conftest import Bench, within

from godwit.contracts import Lease
from godwit.core.errors import ConfigurationError
from godwit.core.ids import SessionId
from godwit.host.dispatch import STARTS
from godwit.stores.sqlite import SqliteStore

MANY = 3 * STARTS


class Claimed(SqliteStore):
    """The real store, which keeps claims waiting until the test lets them go."""

    holds = False
    inside = most = 0
    full: asyncio.Event
    go_on: asyncio.Event

    async def claim(self, session: SessionId, owner: str, ttl_s: float, *, force: bool = False) -> Lease | None:
        if not self.holds:
            return await super().claim(session, owner, ttl_s, force=force)
        self.inside += 1
        self.most = max(self.most, self.inside)
        if self.inside >= STARTS:
            self.full.set()
        try:
            await self.go_on.wait()
            return await super().claim(session, owner, ttl_s, force=force)
        finally:
            self.inside -= 1


async def test_of_many_that_begin_at_once_some_do_at_a_time_and_all_in_the_end(bench: Bench) -> None:
    store = Claimed.open(bench.path)
    runtime = await bench.runtime(["hello"] * MANY, store=store)
    sessions = [await bench.start(["hello"] * MANY, runtime=runtime) for _ in range(MANY)]
    for session in sessions:
        await within(runtime.settle(session.id))
    store.holds, store.full, store.go_on = True, asyncio.Event(), asyncio.Event()
    runs = [await session.prompt("Go.") for session in sessions]
    await within(store.full.wait())
    store.go_on.set()
    ended = [await within(session.wait(run)) for session, run in zip(sessions, runs, strict=True)]
    assert {result.outcome for result in ended} == {"done"}
    assert store.most == STARTS


async def test_one_whose_beginning_fails_gives_its_place_on(bench: Bench) -> None:
    """However many of them: a place that were lost each time would let nobody begin any more."""
    runtime = await bench.runtime(["hello"])
    missing = bench.workspace.parent / "folder"
    for _ in range(STARTS + 1):
        missing.mkdir()
        session = await bench.start(["hello"], runtime=runtime)
        elsewhere = await runtime.start_session((await session.state()).agent or "tester", workspace=missing)
        await within(runtime.settle(elsewhere.id))
        missing.rmdir()
        run = await elsewhere.prompt("Go.")
        with pytest.raises(ConfigurationError):
            await within(elsewhere.wait(run))
        assert (await within(session.send("Go."))).outcome == "done"
