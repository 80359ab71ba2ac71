"""Mode `both`: a call is done here while its lane has room, and outside when a worker is there who can do it."""

from __future__ import annotations

import asyncio

from tests.host.lane_place import Place, done, finished, within

import godwit
from godwit.client.tasks import DatabaseTasks
from godwit.core.lanes import LaneConfig, LaneSettings
from godwit.core.messages import text_of
from godwit.engine.session import Session
from godwit.models.script import call, say

BOTH = LaneSettings((LaneConfig("execute", mode="both", concurrency=1),))


class Full:
    """A tool that takes the lane's only room until it is let go on."""

    def __init__(self, place: Place) -> None:
        self.taken, self.go = asyncio.Event(), asyncio.Event()

        @godwit.tool
        async def slow() -> str:
            """Be slow."""
            self.taken.set()
            await self.go.wait()
            return "inside"

        place.tools = [slow]


async def two(place: Place) -> list[Session]:
    runtime = await place.open([call("slow"), say("done")], lanes=BOTH)
    return [await runtime.start_session(place.agent()) for _ in range(2)]


async def test_the_calls_of_one_turn_count_each_other(place: Place) -> None:
    full = Full(place)
    session = await place.start([call("slow") + call("slow") + call("slow"), say("done")], lanes=BOTH)
    await place.nothing()  # a worker is there
    run = asyncio.ensure_future(session.send("go"))
    for _ in range(2):
        await done(place, await place.lease(), "outside")
    full.go.set()
    await within(run)
    assert sorted(text_of(f.content) for f in await finished(session)) == ["inside", "outside", "outside"]


async def test_a_worker_at_the_database_is_there_as_well(place: Place) -> None:
    full = Full(place)
    first, second = await two(place)
    run = asyncio.ensure_future(first.send("go"))
    await within(full.taken.wait())
    worker = DatabaseTasks(place.path)
    try:
        tools = ["slow"]
        asking = asyncio.ensure_future(worker.lease(["execute"], worker="w", labels={}, tools=tools, wait_s=20.0))
        while not place.tasks.wanted("execute", tool="slow", labels={}, tenant=None):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
        other = asyncio.ensure_future(second.send("go"))
        leased = await within(asking)
        await worker.heartbeat(leased.task.id, leased.token)
        assert await worker.complete(leased.task.id, leased.token, (), is_error=False, metadata={})
        await within(other)
    finally:
        await worker.close()
    full.go.set()
    await within(run)


async def test_a_worker_that_cannot_do_the_call_does_not_count(place: Place) -> None:
    full = Full(place)
    first, second = await two(place)
    run = asyncio.ensure_future(first.send("go"))
    await within(full.taken.wait())
    await place.nothing(tools=["bash"])
    other = asyncio.ensure_future(second.send("go"))
    while not place.runtimes[-1].lanes.stats().pending:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.01)
    assert await second.pending_external_tasks() == []
    full.go.set()
    await within(asyncio.gather(run, other))
