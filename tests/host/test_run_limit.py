"""A limit of runs driven at once: who waits and who comes next, what goes past the line, and what gives a place on."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from tests.engine.conftest import MODEL, Bench, within
from tests.host.by_id import data, says, types, until
from tests.patience import PATIENCE_S

import godwit
from godwit.core.errors import InvalidArgument
from godwit.core.events import ActionOpened, RunFinished, RunYielded, UserAnswer
from godwit.core.ids import SessionId
from godwit.host import dispatch
from godwit.host.runtime import Runtime
from godwit.models.script import call


class Desks:
    """A tool that waits for the test, and knows which sessions are in it and how many there were at once at most."""

    def __init__(self) -> None:
        self.inside: list[str] = []
        self.most = 0
        self._moved = asyncio.Event()
        self._go: dict[str, asyncio.Event] = {}

        @godwit.tool
        async def held(context: godwit.ToolContext) -> str:
            """Wait."""
            name = str(context.session)
            self.inside.append(name)
            self.most = max(self.most, len(self.inside))
            self._moved.set()
            try:
                await self._go.setdefault(name, asyncio.Event()).wait()
            finally:
                self.inside.remove(name)
                self._moved.set()
            return "went through"

        self.tool = held

    def release(self, *sessions: str) -> None:
        for session in sessions:
            self._go.setdefault(session, asyncio.Event()).set()

    async def hold(self, *sessions: str) -> None:
        """Return when these are inside and no others."""

        async def look() -> None:
            while sorted(self.inside) != sorted(sessions):
                self._moved.clear()
                await self._moved.wait()

        await asyncio.wait_for(look(), PATIENCE_S)


SCRIPT = [turn for _ in range(10) for turn in (call("held"), "done")]


async def begun(bench: Bench, count: int, desks: Desks, *, prompted: int | None = None, **agent: Any) -> list[str]:
    """Sessions s0, s1, ... of a process that has ended, their runs started in this order."""
    runtime = await bench.runtime(SCRIPT)
    made = await runtime.create(godwit.Agent("tester", model=MODEL, tools=[desks.tool], **agent))
    names = [f"s{n}" for n in range(count)]
    for number, name in enumerate(names):
        handle = await runtime.start_session(made, session=name, drive=False)
        if number < (count if prompted is None else prompted):
            await handle.prompt("go")
    await runtime.close()
    bench.runtimes.remove(runtime)
    return names


async def here(bench: Bench, desks: Desks, **options: Any) -> Runtime:
    agent = options.pop("agent", {})
    options.setdefault("grace_s", 0.1)
    runtime = await bench.runtime(SCRIPT, **options)
    await runtime.create(godwit.Agent("tester", model=MODEL, tools=[desks.tool], **agent))
    return runtime


async def outcome(runtime: Runtime, session: str, times: int = 1) -> str:
    event = await until(runtime, session, "run.finished", times=times)
    assert isinstance(event.data, RunFinished)
    await within(runtime.settle(SessionId(session), run=event.data.run))
    return event.data.outcome


async def waiting(runtime: Runtime, *sessions: str) -> None:
    """Return when these wait for a place, in this order."""
    async with asyncio.timeout(PATIENCE_S):
        while runtime.waiting_runs() != list(sessions):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.005)


# --- recovery -----------------------------------------------------------------------------------------------------------


async def test_what_a_restart_finds_begins_by_age_and_no_more_at_once_than_may(bench: Bench) -> None:
    desks = Desks()
    await begun(bench, 5, desks)
    runtime = await here(bench, desks, max_runs=2)
    assert await runtime.desk.recover() == ["s0", "s1", "s2", "s3", "s4"]
    await desks.hold("s0", "s1")
    await waiting(runtime, "s2", "s3", "s4")
    assert runtime.driven_runs == 2
    assert [await runtime.status(s) for s in ("s2", "s3", "s4")] == ["queued"] * 3
    desks.release("s1")
    assert await outcome(runtime, "s1") == "done"
    await desks.hold("s0", "s2")
    await waiting(runtime, "s3", "s4")
    desks.release("s0", "s2", "s3", "s4")
    for session in ("s0", "s2", "s3", "s4"):
        assert await outcome(runtime, session) == "done"
    assert (desks.most, runtime.waiting_runs(), runtime.driven_runs) == (2, [], 0)


async def test_without_a_limit_what_a_restart_finds_is_bounded_and_what_is_asked_for_is_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "RECOVERED", 2)
    desks = Desks()
    await begun(bench, 6, desks, prompted=4)
    runtime = await here(bench, desks)
    await runtime.desk.recover()
    await waiting(runtime, "s2", "s3")
    await runtime.send_event("s4", says("go"))
    await runtime.send_event("s5", says("go"))
    await desks.hold("s0", "s1", "s4", "s5")
    desks.release("s0", "s1", "s2", "s3", "s4", "s5")
    for session in ("s0", "s1", "s2", "s3", "s4", "s5"):
        assert await outcome(runtime, session) == "done"
    assert desks.most == 4
    # A run that is asked for later in a session that was found is none of those.
    await runtime.send_event("s3", says("again"))
    assert await outcome(runtime, "s3", 2) == "done"


async def test_runs_that_wait_here_are_taken_by_a_process_that_has_room(bench: Bench) -> None:
    desks, others = Desks(), Desks()
    await begun(bench, 3, desks)
    runtime = await here(bench, desks, max_runs=1)
    await runtime.desk.recover()
    await desks.hold("s0")
    await waiting(runtime, "s1", "s2")
    other = await here(bench, others, max_runs=5)
    await other.desk.recover()
    await others.hold("s1", "s2")
    others.release("s1", "s2")
    for session in ("s1", "s2"):
        assert await outcome(other, session) == "done"
    await waiting(runtime)
    desks.release("s0")
    assert await outcome(runtime, "s0") == "done"
    assert desks.most == 1


# --- prompts -------------------------------------------------------------------------------------------------------------


async def test_prompts_wait_for_a_place_too_and_each_run_needs_one_anew(bench: Bench) -> None:
    desks = Desks()
    await begun(bench, 3, desks, prompted=0)
    runtime = await here(bench, desks, max_runs=1)
    await runtime.send_event("s0", says("go"))
    await desks.hold("s0")
    for session in ("s1", "s2"):
        await runtime.send_event(session, says("go"))
        await until(runtime, session, "run.started")
    await waiting(runtime, "s1", "s2")
    await runtime.send_event("s0", says("go on", "follow_up"))  # delivered in the run that is open
    desks.release("s0")
    await desks.hold("s1")
    await runtime.send_event("s0", says("and again"))
    await waiting(runtime, "s2", "s0")
    desks.release("s1", "s2")
    assert await outcome(runtime, "s0", 2) == "done"
    ends = [await until(runtime, s, "run.finished", times=n) for s, n in (("s1", 1), ("s2", 1), ("s0", 2))]
    assert [e.at_ms for e in ends] == sorted(e.at_ms for e in ends)
    assert desks.most == 1


async def test_a_parked_run_leaves_its_place_and_comes_back_by_its_age(bench: Bench) -> None:
    desks = Desks()
    await begun(bench, 3, desks, prompted=0, permissions=godwit.Permissions(ask=("held",)))
    runtime = await here(bench, desks, max_runs=1, agent={"permissions": godwit.Permissions(ask=("held",))})
    for session in ("s0", "s1", "s2"):
        await runtime.send_event(session, says("go"))
        await until(runtime, session, "run.parked")
    actions = {s: (await data(runtime, s, ActionOpened))[0].action for s in ("s0", "s1", "s2")}
    await runtime.send_event("s2", UserAnswer(actions["s2"], "approve"))
    await desks.hold("s2")
    await runtime.send_event("s1", UserAnswer(actions["s1"], "approve"))
    await waiting(runtime, "s1")
    await runtime.send_event("s0", UserAnswer(actions["s0"], "approve"))
    await waiting(runtime, "s0", "s1")
    desks.release("s0", "s1", "s2")
    for session in ("s0", "s1", "s2"):
        assert await outcome(runtime, session) == "done"
    assert desks.most == 1


# --- what goes past the line ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("whose", ["own", "another process"])
async def test_a_run_that_waits_is_interrupted_at_once(bench: Bench, whose: str) -> None:
    desks = Desks()
    await begun(bench, 3, desks)
    runtime = await here(bench, desks, max_runs=1)
    await runtime.desk.recover()
    await waiting(runtime, "s1", "s2")
    asked = runtime if whose == "own" else await here(bench, Desks())
    assert await within(asked.interrupt("s1"))
    assert await outcome(runtime, "s1") == "interrupted"
    await waiting(runtime, "s2")
    await desks.hold("s0")


@pytest.mark.parametrize("whose", ["own", "another process"])
async def test_a_run_that_waits_is_paused_at_once_and_comes_back_by_its_age(bench: Bench, whose: str) -> None:
    desks = Desks()
    await begun(bench, 3, desks)
    runtime = await here(bench, desks, max_runs=1)
    await runtime.desk.recover()
    await waiting(runtime, "s1", "s2")
    asked = runtime if whose == "own" else await here(bench, Desks())
    assert await within(asked.pause("s1"))
    assert await runtime.status("s1") == "paused"
    await waiting(runtime, "s2")
    desks.release("s0")
    await desks.hold("s2")
    assert await within(runtime.resume("s1"))
    await waiting(runtime, "s1")
    desks.release("s1", "s2")
    assert await outcome(runtime, "s1") == "done"
    assert await data(runtime, "s1", RunYielded) == []


async def test_a_token_of_a_handle_ends_the_run_that_waits(bench: Bench) -> None:
    desks = Desks()
    await begun(bench, 2, desks)
    runtime = await here(bench, desks, max_runs=1)
    await runtime.desk.recover()
    await waiting(runtime, "s1")
    (await runtime.desk.session("s1")).session_cancel_token.cancel()
    assert await outcome(runtime, "s1") == "interrupted"
    await waiting(runtime)


async def test_closing_deleting_and_archiving_need_no_place(bench: Bench) -> None:
    desks = Desks()
    await begun(bench, 4, desks)
    runtime = await here(bench, desks, max_runs=1)
    await runtime.desk.recover()
    await waiting(runtime, "s1", "s2", "s3")
    await within((await runtime.desk.session("s1")).close())
    await within(runtime.delete_session("s2"))
    await within(runtime.archive("s3"))
    await waiting(runtime)
    assert [await outcome(runtime, s) for s in ("s1", "s3")] == ["interrupted"] * 2
    desks.release("s0")
    assert await outcome(runtime, "s0") == "done"


async def test_a_run_whose_time_is_over_ends_while_it_waits(bench: Bench) -> None:
    desks = Desks()
    await begun(bench, 1, desks)
    runtime = await here(bench, desks, max_runs=1)
    await runtime.desk.recover()
    await desks.hold("s0")
    short = godwit.Agent("short", model=MODEL, tools=[desks.tool], limits=godwit.Limits(max_duration_s=0.3))
    session = await runtime.start_session(short, session="short")
    result = await within(session.send("go"))
    assert (result.outcome, desks.inside, runtime.waiting_runs()) == ("limited", ["s0"], [])


# --- what works in another's place --------------------------------------------------------------------------------------


async def test_what_a_tool_asks_for_works_in_the_place_of_its_own_run(bench: Bench) -> None:
    """Given one place, when the run that has it waits for a run in another session, then that one is driven."""
    runtime = await bench.runtime(["unused"], max_runs=1)
    assert bench.model is not None
    helper = await runtime.start_session(godwit.Agent("helper", model=MODEL))

    @godwit.tool
    async def ask() -> str:
        """Ask the helper."""
        return (await helper.send("what?")).text

    bench.model._turns = [lambda r: call("ask") if r.session == "asker" else "that."]
    bench.model._turns.append("told.")
    asker = await runtime.start_session(godwit.Agent("asker", model=MODEL, tools=[ask]), session="asker")
    assert (await within(asker.send("go"))).text == "told."
    # In its next run, for which nobody waits, the helper needs a place like any other.
    assert not runtime._dispatcher._hosted[helper.id].nested


async def test_a_session_works_in_the_place_of_the_one_it_works_for(bench: Bench) -> None:
    desks = Desks()
    await begun(bench, 2, desks)
    runtime = await here(bench, desks, max_runs=1)
    await runtime.desk.recover()
    await desks.hold("s0")
    child = await runtime.start_session("tester", session="child", parent="s0")
    await child.prompt("go")
    await desks.hold("s0", "child")
    desks.release("child")
    assert await outcome(runtime, "child") == "done"
    await waiting(runtime, "s1")


# --- what gives a place on ---------------------------------------------------------------------------------------------


async def test_a_place_is_given_on_by_whatever_ends_a_drive(bench: Bench) -> None:
    desks = Desks()
    await begun(bench, 6, desks)
    runtime = await here(bench, desks, max_runs=1)
    await runtime.desk.recover()
    await desks.hold("s0")
    await runtime.interrupt("s0", force=True)
    await desks.hold("s1")
    pausing = asyncio.create_task(runtime.pause("s1"))
    await until(runtime, "s1", "session.paused")
    desks.release("s1")
    assert await within(pausing)
    await desks.hold("s2")
    await within(runtime.delete_session("s2"))
    await desks.hold("s3")
    await within((await runtime.desk.session("s3")).close())
    await desks.hold("s4")
    (await runtime.desk.session("s4")).session_cancel_token.cancel()
    await desks.hold("s5")
    desks.release("s5")
    assert await outcome(runtime, "s5") == "done"
    assert runtime.driven_runs == 0


async def test_the_line_is_no_obstacle_to_closing(bench: Bench) -> None:
    """However many wait, closing starts none of them, and all are found by the next process."""
    desks = Desks()
    names = await begun(bench, 40, desks)
    runtime = await here(bench, desks, max_runs=1)
    await runtime.desk.recover()
    await desks.hold("s0")
    await within(runtime.close())
    bench.runtimes.remove(runtime)
    assert desks.most == 1
    desks.release(*names)
    again = await here(bench, desks, max_runs=3)
    assert len(await again.desk.recover()) == 40
    for session in names:
        assert await outcome(again, session) == "done"
    assert desks.most <= 3


async def test_a_limit_can_be_changed_while_runs_wait(bench: Bench) -> None:
    desks = Desks()
    await begun(bench, 4, desks)
    runtime = await here(bench, desks, max_runs=1)
    await runtime.desk.recover()
    await desks.hold("s0")
    runtime.limit_runs(3)
    await desks.hold("s0", "s1", "s2")
    runtime.limit_runs(1)
    desks.release("s0", "s1")
    for session in ("s0", "s1"):
        assert await outcome(runtime, session) == "done"
    await waiting(runtime, "s3")
    await desks.hold("s2")
    with pytest.raises(InvalidArgument, match="max_runs"):
        runtime.limit_runs(0)
    desks.release("s2", "s3")
    assert await outcome(runtime, "s3") == "done"


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "3"])
async def test_a_limit_is_a_whole_number_greater_than_0(bench: Bench, wrong: Any) -> None:
    with pytest.raises(InvalidArgument, match="max_runs"):
        await bench.runtime((), max_runs=wrong)


@pytest.mark.parametrize("seed", range(6))
async def test_in_any_order_of_things_the_limit_holds_and_every_run_ends(bench: Bench, seed: int) -> None:
    chance = random.Random(seed)
    now, most, ends = 0, 0, 0

    @godwit.tool
    async def held() -> str:
        """Work for a while."""
        nonlocal now, most
        now += 1
        most = max(most, now)
        try:
            for _ in range(chance.randrange(20)):
                await asyncio.sleep(0)
        finally:
            now -= 1
        return "did"

    runtime = await bench.runtime([t for _ in range(60) for t in (call("held"), "done")], max_runs=3)
    agent = await runtime.create(godwit.Agent("tester", model=MODEL, tools=[held]))
    names = [(await runtime.start_session(agent, session=f"s{n}", drive=False)).id for n in range(12)]

    async def user(session: SessionId) -> None:
        nonlocal ends
        for _ in range(6):
            handle = await runtime.desk.session(session)
            run = await handle.prompt("go")
            for _ in range(chance.randrange(30)):
                await asyncio.sleep(0)
            match chance.randrange(4):
                case 0:
                    await handle.interrupt(run=run)
                case 1:
                    await runtime.pause(session)
                    await runtime.resume(session)
                case 2:
                    await handle.follow_up("and more")
                case _:
                    pass
            await handle.wait(run)
            while (open_run := await handle.current_run()) is not None:  # the follow-up came behind its end
                await open_run.wait()
            ends += 1

    await asyncio.wait_for(asyncio.gather(*(user(name) for name in names)), PATIENCE_S)
    for name in names:
        await runtime.settle(name)  # a run is over a moment before its drive is
    assert (ends, runtime.waiting_runs(), runtime.driven_runs) == (72, [], 0)
    assert most <= 3
    for name in names:
        assert "run.claimed" in await types(runtime, name)
