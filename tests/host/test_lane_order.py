"""Calls of one turn that would write the same are done one after the other, in its order, wherever each is done."""

from __future__ import annotations

import asyncio

from tests.host.lane_place import MODEL, Place, done, finished, until, within

import godwit
from godwit.core.lanes import LaneConfig, LaneSettings
from godwit.core.messages import text_of
from godwit.models.script import call, say

LANES = LaneSettings((LaneConfig("elsewhere", mode="outside", tools=("far",)),))


class Near:
    """What a call that is done inside does: it says that it has begun, and ends when it is let."""

    def __init__(self, place: Place, *, at_once: bool = True) -> None:
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        if at_once:
            self.go.set()

        @godwit.tool(locks="tree")
        async def far() -> str:
            """Work on the tree, elsewhere."""
            raise AssertionError("workers do this")

        @godwit.tool(locks="tree")
        async def near() -> str:
            """Work on the tree, here."""
            self.begun.set()
            await self.go.wait()
            return "near"

        place.tools = [far, near]


FAR_FIRST = [call("far") + call("near"), say("done")]


async def test_a_call_here_waits_for_one_that_a_worker_does(place: Place) -> None:
    near = Near(place)
    session = await place.start(FAR_FIRST, lanes=LANES)
    run = asyncio.ensure_future(session.send("go"))
    leased = await place.lease("elsewhere")
    assert not near.begun.is_set()
    await done(place, leased, "far")
    assert (await within(run)).text == "done"
    assert [text_of(f.content) for f in await finished(session)] == ["far", "near"]


async def test_so_it_does_after_a_restart(place: Place) -> None:
    near = Near(place)
    session = await place.start(FAR_FIRST, lanes=LANES)
    await session.prompt("go")
    leased = await place.lease("elsewhere")
    await place.runtimes.pop().close()
    runtime = await place.open(FAR_FIRST, lanes=LANES)
    again = await runtime.open_session(session.id, agent=place.agent())
    await until(again, "run.claimed", 2)
    assert not near.begun.is_set()
    await done(place, leased, "far")
    assert (await within(again.wait())).text == "done"
    assert near.begun.is_set()
    assert [text_of(f.content) for f in await finished(again)] == ["far", "near"]


async def test_a_call_is_handed_out_once_the_one_here_has_ended(place: Place) -> None:
    near = Near(place, at_once=False)
    session = await place.start([call("near") + call("far"), say("done")], lanes=LANES)
    run = asyncio.ensure_future(session.send("go"))
    await within(near.begun.wait())
    assert await session.pending_external_tasks() == []
    near.go.set()
    await done(place, await place.lease("elsewhere"), "far")
    await within(run)
    assert [text_of(f.content) for f in await finished(session)] == ["near", "far"]


async def test_who_waits_for_a_worker_can_be_interrupted(place: Place) -> None:
    near = Near(place)
    session = await place.start(FAR_FIRST, lanes=LANES)
    run = asyncio.ensure_future(session.send("go"))
    await place.lease("elsewhere")
    await session.interrupt()
    assert (await within(run)).outcome == "interrupted"
    assert not near.begun.is_set()


async def test_what_is_handed_out_later_comes_after_what_was_before(place: Place) -> None:
    """The second is approved when the session has been parked with the first: another driver hands it out."""
    Near(place)
    runtime = await place.open([call("far") + call("far"), say("done")], lanes=LANES)
    asks = godwit.Agent("asks", model=MODEL, tools=place.tools, permissions=godwit.Permissions(ask=("far",)))
    session = await runtime.start_session(asks)
    run = asyncio.ensure_future(session.send("go"))
    await until(session, "run.parked")
    first, second = await session.pending_confirmations()
    await session.approve(first.id)
    leased = await place.lease("elsewhere")
    await session.approve(second.id)
    await until(session, "action.opened", 4)
    assert await place.tasks.lease(("elsewhere",), tenant=None, worker="w2") is None
    await done(place, leased, "1")
    await done(place, await place.lease("elsewhere"), "2")
    await within(run)
    assert [text_of(f.content) for f in await finished(session)] == ["1", "2"]
