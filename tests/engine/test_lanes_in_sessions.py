"""Steps of real sessions wait for room in their lanes, and nothing else changes for them."""

from __future__ import annotations

import asyncio

import godwit
from godwit.core.events import Labels, ToolFinished, ToolStarted
from godwit.core.lanes import LaneConfig, LaneSettings
from godwit.engine.session import Session
from godwit.host.runtime import Runtime
from godwit.models.script import ScriptedModel, call, hold, say

from .conftest import MODEL, Bench, data, types, until_type, within

NARROW = [LaneConfig("execute", concurrency=1), LaneConfig("generate", concurrency=1)]


class Watched:
    """A tool that stands still until it is let go, and knows how many of it ran at once."""

    def __init__(self) -> None:
        self.now = self.most = self.begun = 0
        self.go = asyncio.Event()
        self.reached = asyncio.Event()

        @godwit.tool
        async def work() -> str:
            """Work."""
            self.now += 1
            self.begun += 1
            self.most = max(self.most, self.now)
            self.reached.set()
            try:
                await self.go.wait()
            finally:
                self.now -= 1
            return "done"

        self.tool = work


async def start(runtime: Runtime, watched: Watched, tenant: str | None = None) -> Session:
    agent = godwit.Agent("worker", model=MODEL, tools=[watched.tool])
    return await runtime.start_session(agent, labels=Labels(tenant=tenant))


async def waiting(runtime: Runtime, lane: str, count: int) -> None:
    """Until so many wait in this lane."""
    while runtime.lanes.stats().lanes[lane].pending != count:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.001)


async def test_calls_of_all_sessions_share_the_width_of_their_lane(bench: Bench) -> None:
    runtime = await bench.runtime([call("work") + call("work"), say("done")], lanes=NARROW)
    watched = Watched()
    sessions = [await start(runtime, watched) for _ in range(3)]
    runs = [asyncio.ensure_future(s.send("go")) for s in sessions]
    await within(waiting(runtime, "execute", 5))
    stats = runtime.lanes.stats(sessions[0].id).lanes["execute"]
    assert stats.pending + stats.active == 2, "of one session"
    assert sum([len(await data(s, ToolStarted)) for s in sessions]) == 1, "what waits has not started"
    watched.go.set()
    assert [r.text for r in await within(asyncio.gather(*runs))] == ["done"] * 3
    assert (watched.most, watched.begun) == (1, 6)
    assert runtime.lanes.busy == 0


async def test_one_tenant_leaves_room_for_another(bench: Bench) -> None:
    runtime = await bench.runtime([call("work"), say("done")], lanes=[LaneConfig("execute", per_tenant=1)])
    greedy, modest = Watched(), Watched()
    runs = [asyncio.ensure_future((await start(runtime, greedy, "a")).send("go")) for _ in range(3)]
    await within(waiting(runtime, "execute", 2))
    modest.go.set()
    other = await start(runtime, modest, "b")
    assert (await within(other.send("go"))).text == "done"
    greedy.go.set()
    await within(asyncio.gather(*runs))
    assert greedy.most == 1


async def test_models_are_asked_one_after_the_other_where_the_lane_says_so(bench: Bench) -> None:
    release, reached = asyncio.Event(), asyncio.Event()
    slow = ScriptedModel([hold(release, reached=reached) + say("slow")], "scripted:slow")
    runtime = await bench.runtime(
        [say("quick")], models={"scripted:slow": slow, MODEL: ScriptedModel([say("quick")], MODEL)}, lanes=NARROW
    )
    first = await runtime.start_session(godwit.Agent("slow", model="scripted:slow"))
    second = await runtime.start_session(godwit.Agent("quick", model=MODEL))
    one = asyncio.ensure_future(first.send("go"))
    await within(reached.wait())
    two = asyncio.ensure_future(second.send("go"))
    await within(waiting(runtime, "generate", 1))
    assert "model.started" not in await types(second)
    release.set()
    assert (await within(one)).text == "slow"
    assert (await within(two)).text == "quick"


async def test_who_waits_for_room_can_be_interrupted_and_paused(bench: Bench) -> None:
    runtime = await bench.runtime([call("work"), say("done")], lanes=NARROW)
    holder, watched = Watched(), Watched()
    busy = asyncio.ensure_future((await start(runtime, holder)).send("go"))
    await within(holder.reached.wait())
    interrupted, paused = await start(runtime, watched), await start(runtime, watched)
    await interrupted.prompt("go")
    await paused.prompt("go")
    await within(waiting(runtime, "execute", 2))
    await interrupted.interrupt()
    assert (await within(interrupted.wait())).outcome == "interrupted"
    await paused.pause()
    await until_type(paused, "run.yielded")
    await within(waiting(runtime, "execute", 0))
    assert [d.status for d in await data(interrupted, ToolFinished)] == ["skipped"]
    holder.go.set()
    await within(busy)
    watched.go.set()
    await paused.resume()
    assert (await within(paused.wait())).text == "done"
    assert watched.begun == 1, "the interrupted call never ran"


async def test_waiting_for_room_does_not_count_for_the_time_limit_of_a_call(bench: Bench) -> None:
    runtime = await bench.runtime([call("work"), say("done")], lanes=NARROW)
    holder, quick = Watched(), Watched()
    busy = asyncio.ensure_future((await start(runtime, holder)).send("go"))
    await within(holder.reached.wait())
    limits = godwit.Limits(tool_timeout_s=0.5)
    session = await runtime.start_session(godwit.Agent("worker", model=MODEL, tools=[quick.tool], limits=limits))
    run = asyncio.ensure_future(session.send("go"))
    await within(waiting(runtime, "execute", 1))
    await asyncio.sleep(0.7)  # longer than the call may take
    quick.go.set()
    holder.go.set()
    await within(asyncio.gather(busy, run))
    assert [d.status for d in await data(session, ToolFinished)] == ["ok"]


async def test_a_tool_that_asks_a_model_or_calls_a_tool_does_not_wait_for_itself(bench: Bench) -> None:
    @godwit.tool
    async def ask(context: godwit.ToolContext) -> str:
        """Ask."""
        answer = await context.ask_model("What?", model="scripted:aside")
        inner = await sessions[0].tool("inner")
        return f"{answer} {inner.output}"

    @godwit.tool
    def inner() -> str:
        """Be called."""
        return "inner"

    model = ScriptedModel([call("ask"), say("done")], MODEL)
    aside = ScriptedModel([say("aside")], "scripted:aside")
    narrow = LaneSettings(tuple(NARROW), concurrency=1)
    runtime = await bench.runtime((), models={MODEL: model, "scripted:aside": aside}, lanes=narrow)
    agent = godwit.Agent("worker", model=MODEL, tools=[ask, inner])
    sessions = [await runtime.start_session(agent)]
    assert (await within(sessions[0].send("go"))).text == "done"
    assert runtime.lanes.busy == 0


async def test_direct_calls_and_slash_commands_take_room_as_well(bench: Bench) -> None:
    runtime = await bench.runtime([call("work"), say("done")], lanes=NARROW)
    watched = Watched()
    session = await start(runtime, watched)
    direct = asyncio.ensure_future(session.tool("work"))
    await within(watched.reached.wait())
    second = asyncio.ensure_future(session.tool("work"))
    await within(waiting(runtime, "execute", 1))
    await session.command("/help")
    watched.go.set()
    assert [r.ok for r in await within(asyncio.gather(direct, second))] == [True, True]
    assert watched.most == 1
    counted = runtime.lanes.metrics().lanes
    assert (counted["control"].completed, counted["execute"].completed) == (1, 2)


async def test_a_lane_of_ones_own_takes_the_calls_of_the_tools_it_names(bench: Bench) -> None:
    gpu = LaneConfig("gpu", concurrency=1, tools=("work",))
    runtime = await bench.runtime([call("work") + call("work"), say("done")], lanes=[gpu])
    watched = Watched()
    watched.go.set()
    await within((await start(runtime, watched)).send("go"))
    counted = runtime.lanes.metrics().lanes
    assert (counted["gpu"].completed, counted["execute"].completed, counted["generate"].completed) == (2, 0, 2)


async def test_closing_a_runtime_leaves_nobody_waiting_for_room(bench: Bench) -> None:
    runtime = await bench.runtime([call("work"), say("done")], lanes=NARROW, grace_s=0.2)
    watched = Watched()
    sessions = [await start(runtime, watched) for _ in range(2)]
    for session in sessions:
        await session.prompt("go")
    await within(waiting(runtime, "execute", 1))
    await within(runtime.close())
    assert runtime.lanes.busy == 0
    again = await bench.runtime([call("work"), say("done")])
    watched.go.set()
    agent = godwit.Agent("worker", model=MODEL, tools=[watched.tool])
    opened = [await again.open_session(s.id, agent=agent) for s in sessions]
    assert {(await within(s.wait())).outcome for s in opened} == {"done"}
