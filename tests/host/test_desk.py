"""The desk: one driving handle per session for all who ask, letting go without ending anything, going on after a death."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from tests.engine.conftest import MODEL, Bench, within
from tests.host.by_id import Held, begin, data, says, types, until

import godwit
from godwit.contracts import HookCall, SessionRow
from godwit.core.errors import SessionClosed, SessionNotFound, StoreClosed, ToolNotFound
from godwit.core.events import (
    ActionOpened,
    RunClaimed,
    RunFinished,
    RunStarted,
    SessionPaused,
    ToolStarted,
    UserAnswer,
    UserInterrupt,
    UserMessage,
)
from godwit.core.ids import InputId, RunId, SessionId
from godwit.core.messages import Text
from godwit.engine.log import append_outside
from godwit.host.desk import LOOKS, Desk
from godwit.host.runtime import Runtime
from godwit.models.script import Script, call
from godwit.stores.sqlite import SqliteStore

LOOKUP = godwit.ToolDefinition("lookup", "Look it up.", {"type": "object", "properties": {}})


class Doors:
    """A hook that is called for each handle that opens a session, and can be made to wait."""

    def __init__(self, waits: bool = False) -> None:
        self.opened = 0
        self.reached = asyncio.Event()
        self.release = asyncio.Event()
        if not waits:
            self.release.set()

        @godwit.hook("before_session")
        async def door(asked: HookCall) -> None:
            self.opened += asked.payload["source"] == "resume"
            if asked.payload["source"] == "resume":
                self.reached.set()
                await self.release.wait()

        self.hook = door


def desk_of(runtime: Runtime, handles: int, rest_s: float = 0.0) -> Desk:
    """A desk with room for that many."""
    runtime.desk = Desk(runtime, handles, rest_s)
    return runtime.desk


async def sessions(runtime: Runtime, count: int, *tools: Any) -> list[str]:
    agent = await runtime.create(godwit.Agent("tester", model=MODEL, tools=list(tools)))
    return [(await runtime.start_session(agent, drive=False)).id for _ in range(count)]


async def done(runtime: Runtime, session: str, times: int = 1) -> str:
    event = await until(runtime, session, "run.finished", times=times)
    assert isinstance(event.data, RunFinished)
    return event.data.outcome


# --- one handle for all ---------------------------------------------------------------------------------------------


async def test_all_who_ask_at_once_get_the_same_handle(bench: Bench) -> None:
    doors = Doors(waits=True)
    runtime, session = await begin(bench, ["Hello."], runtime=await bench.runtime(["Hello."], hooks=[doors.hook]))
    asking = [asyncio.create_task(runtime.desk.session(session)) for _ in range(10)]
    await within(doors.reached.wait())
    doors.release.set()
    handles = await within(asyncio.gather(*asking))
    assert len({id(handle) for handle in handles}) == 1
    assert await runtime.desk.session(session) is handles[0]
    assert (doors.opened, len(runtime.desk)) == (1, 1)


async def test_who_asked_first_may_give_up(bench: Bench) -> None:
    doors = Doors(waits=True)
    runtime, session = await begin(bench, ["Hello."], runtime=await bench.runtime(["Hello."], hooks=[doors.hook]))
    first, second = (asyncio.create_task(runtime.desk.session(session)) for _ in range(2))
    await within(doors.reached.wait())
    first.cancel()
    await asyncio.wait([first])
    doors.release.set()
    handle = await within(second)
    assert await runtime.desk.session(session) is handle
    assert doors.opened == 1


async def test_a_handle_that_nobody_waits_for_any_more_is_kept_and_not_lost(bench: Bench) -> None:
    doors = Doors(waits=True)
    runtime, session = await begin(bench, ["Hello."], runtime=await bench.runtime(["Hello."], hooks=[doors.hook]))
    asking = asyncio.create_task(runtime.desk.session(session))
    await within(doors.reached.wait())
    asking.cancel()
    await asyncio.wait([asking])
    doors.release.set()
    await runtime.send_event(session, says("Hi."))
    assert await done(runtime, session) == "done"
    assert (doors.opened, len(runtime.desk)) == (1, 1)


async def test_all_who_ask_get_the_error_and_the_next_one_tries_again(bench: Bench) -> None:
    held = Held()
    _, session = await begin(bench, ["Hello."], held.tool)
    elsewhere = await bench.runtime(["Hello."])
    refused = await within(asyncio.gather(*(elsewhere.desk.session(session) for _ in range(3)), return_exceptions=True))
    assert [type(error) for error in refused] == [ToolNotFound] * 3
    assert len(elsewhere.desk) == 0
    await elsewhere.create(godwit.Agent("tester", model=MODEL, tools=[held.tool]))
    await elsewhere.send_event(session, says("Hi."))
    assert await done(elsewhere, session) == "done"


@pytest.mark.parametrize("turns", range(8))
async def test_a_session_is_driven_once_however_soon_it_is_opened_again(bench: Bench, turns: int) -> None:
    """The drive that the first handle began is under way when another comes; two drives would fence each other."""
    runtime, session = await begin(bench, ["Hello."])
    first = await runtime.open_session(session)
    for _ in range(turns):
        await asyncio.sleep(0)
    await first.close()
    second = await runtime.open_session(session)
    assert (await within(second.send("Hi."))).text == "Hello."
    assert [claim.attempt for claim in await data(runtime, session, RunClaimed)] == [1]


async def test_a_handle_that_somebody_closed_is_replaced(bench: Bench) -> None:
    runtime, session = await begin(bench, ["Hello.", "Again."])
    handle = await runtime.desk.session(session)
    await handle.close()
    another = await runtime.desk.session(session)
    assert another is not handle
    another.session_cancel_token.cancel()
    third = await runtime.desk.session(session)
    assert third is not another
    await runtime.send_event(session, says("Hi."))
    assert await done(runtime, session) == "done"
    assert len(runtime.desk) == 1


async def test_another_handles_end_is_not_the_desks(bench: Bench) -> None:
    held = Held()
    runtime, session = await begin(bench, [call("held"), "Done."], held.tool)
    mine = await runtime.open_session(session)
    await runtime.desk.session(session)
    await runtime.settle(SessionId(session))  # the drive that opens it
    await mine.detach()
    await runtime.send_event(session, says("Go."))
    await within(held.entered.wait())
    held.release.set()
    assert await done(runtime, session) == "done"


# --- letting go -----------------------------------------------------------------------------------------------------


async def test_handles_of_resting_sessions_are_let_go_of_and_opened_again(bench: Bench) -> None:
    runtime = await bench.runtime(["One.", "Two."])
    ids = await sessions(runtime, 12)
    desk = desk_of(runtime, 3)
    for session in ids:
        await runtime.send_event(session, says("Hi."))
        assert await done(runtime, session) == "done"
        await runtime.settle(SessionId(session))
    for session in ids:
        await desk.session(session)
        await desk.close(20)
    assert len(desk) <= 4
    assert sum(runtime.hosts(SessionId(session)) for session in ids) == len(desk)
    for session in ids:
        await runtime.send_event(session, says("Again."))
        assert await done(runtime, session, times=2) == "done"


async def test_a_session_with_an_open_run_keeps_its_handle(bench: Bench) -> None:
    """Running, parked or paused: it is needed for answers that come from elsewhere, and for what ends by time."""
    held = Held()
    first: Any = lambda request: call("lookup" if "park" in str(request.entries[0].message) else "held")  # noqa: E731
    runtime = await bench.runtime([first, "Done."])
    running, parked, *rest = await sessions(runtime, 10, held.tool, LOOKUP)
    desk = desk_of(runtime, 1)
    await runtime.send_event(running, says("run"))
    await runtime.send_event(parked, says("park"))
    await within(held.entered.wait())
    opened = await until(runtime, parked, "action.opened")
    await until(runtime, parked, "run.parked")
    await runtime.settle(SessionId(parked))
    for session in rest:
        await desk.session(session)
        await desk.close(20)
    assert len(desk) <= 1 + 2 + LOOKS
    assert runtime.hosts(SessionId(running))
    assert runtime.hosts(SessionId(parked))
    elsewhere = await bench.runtime()
    assert isinstance(opened.data, ActionOpened)
    watching = await elsewhere.open_session(parked, drive=False)
    await watching.send_event(UserAnswer(opened.data.action, "result", content=(Text("found"),)))
    assert await done(runtime, parked) == "done"
    held.release.set()
    assert await done(runtime, running) == "done"


async def test_a_handle_that_was_just_given_out_is_not_let_go_of(bench: Bench) -> None:
    """Whoever got it may be about to use it, however many others ask for others."""
    runtime = await bench.runtime(["Hello."])
    ids = await sessions(runtime, 20)
    desk = desk_of(runtime, 2, rest_s=3600)
    handles = [await desk.session(session) for session in ids]
    await desk.close(20)
    assert not [handle for handle in handles if handle.is_closed]
    await handles[0].send("Hi.")
    assert len(desk) == 20


async def test_a_prompt_that_comes_while_its_session_is_let_go_of_is_worked_on(bench: Bench) -> None:
    """Another process sends it between the look at the session and the end of its handle, and drives nothing itself."""

    class Meddled(SqliteStore):
        """The real store; a look at the session in question is followed by what the test does then."""

        about = ""
        meddle: Any = None

        async def session(self, session: SessionId) -> SessionRow:
            row = await super().session(session)
            if session == self.about:
                self.about = ""
                await self.meddle(session)
            return row

    store = Meddled.open(bench.path)
    runtime = await bench.runtime(["Hello."], store=store)
    first, *rest = await sessions(runtime, 2)
    desk = desk_of(runtime, 1)
    await desk.session(first)
    await runtime.settle(SessionId(first))
    other = SqliteStore.open(bench.path)

    async def send(session: SessionId) -> None:
        message = UserMessage(InputId("in_late"), (Text("Hi."),))
        await append_outside(
            other, session, [message, RunStarted(RunId("run_late"), message.id)], runtime.clock, run=RunId("run_late")
        )

    store.about, store.meddle = first, send
    await desk.session(rest[0])
    await desk.close(20)
    assert store.about == "", "nobody looked at the session before it was let go of"
    try:
        assert await done(runtime, first) == "done"
    finally:
        await other.close()


async def test_detaching_ends_nothing(bench: Bench) -> None:
    held = Held()
    runtime, session = await begin(bench, [call("held"), call("lookup"), "Done."], held.tool, LOOKUP)
    handle = await runtime.open_session(session)
    await handle.prompt("Go.")
    await within(held.entered.wait())
    await handle.detach()
    await handle.detach()
    held.release.set()
    opened = await until(runtime, session, "action.opened")
    await until(runtime, session, "run.parked")
    await runtime.settle(SessionId(session))
    with pytest.raises(SessionClosed):
        await handle.prompt("x")
    assert await runtime.status(session) == "waiting"
    assert not runtime.hosts(SessionId(session))
    assert isinstance(opened.data, ActionOpened)
    await runtime.send_event(session, UserAnswer(opened.data.action, "result", content=(Text("found"),)))
    assert await done(runtime, session) == "done"


async def test_who_leaves_at_once_leaves_the_work_and_what_guards_it(bench: Bench) -> None:
    """The prompt, what follows on it and the hooks of this process need a handle, and nobody holds one any more."""
    asked: list[str] = []

    @godwit.hook("before_tool")
    async def watch(call: HookCall) -> None:
        asked.append(call.payload["tool"])

    held = Held()
    runtime, session = await begin(bench, [call("held"), "One.", call("held", n=2), "Two."], held.tool)
    handle = await runtime.open_session(session)
    handle.register_hook(watch)
    await handle.prompt("Go.")
    await handle.detach()
    await within(held.entered.wait())
    watching = await runtime.open_session(session, drive=False)
    await watching.follow_up("And again.")
    held.release.set()
    assert await done(runtime, session) == "done"
    assert asked == ["held", "held"]
    await runtime.settle(SessionId(session))
    assert not runtime.hosts(SessionId(session))


# --- sessions that go -----------------------------------------------------------------------------------------------


async def test_a_session_that_was_made_anew_under_its_id_is_another_one(bench: Bench) -> None:
    """Deleted and made again by another process: the handle of the old one would wake nobody."""
    runtime, session = await begin(bench, ["Hello."], session="ses_mine")
    old = await runtime.desk.session(session)
    elsewhere = await bench.runtime()
    await within(elsewhere.delete_session(session))
    with pytest.raises(SessionNotFound):
        await within(runtime.store.wait(SessionId(session), 1000))  # until the news has come
    agent = await elsewhere.create(godwit.Agent("tester", model=MODEL))
    await elsewhere.start_session(agent, session=session, drive=False)
    assert await runtime.desk.session(session) is not old
    await runtime.send_event(session, says("Hi."))
    assert await done(runtime, session) == "done"
    assert len(runtime.desk) == 1


async def test_a_session_that_is_deleted_while_it_is_opened_leaves_nothing(bench: Bench) -> None:
    doors = Doors(waits=True)
    runtime, session = await begin(bench, ["Hello."], runtime=await bench.runtime(["Hello."], hooks=[doors.hook]))
    opening = asyncio.create_task(runtime.desk.session(session))
    await within(doors.reached.wait())
    deleting = asyncio.create_task(runtime.delete_session(session))
    stream = await runtime.stream_events(session)
    assert [getattr(e, "type", None) async for e in stream] in (["session.archived"], [])
    doors.release.set()
    await within(deleting)
    await within(opening)
    assert len(runtime.desk) == 0
    assert not runtime.hosts(SessionId(session))
    with pytest.raises(SessionNotFound):
        await runtime.desk.session(session)


async def test_closing_the_runtime_while_a_session_is_opened(bench: Bench) -> None:
    doors = Doors(waits=True)
    runtime = await bench.runtime(["Hello."], hooks=[doors.hook], grace_s=0.05)
    _, session = await begin(bench, ["Hello."], runtime=runtime)
    waiting, giving_up = (asyncio.create_task(runtime.send_event(session, says("Hi."))) for _ in range(2))
    await within(doors.reached.wait())
    giving_up.cancel()
    await within(runtime.close())
    doors.release.set()
    with pytest.raises(StoreClosed):
        await within(waiting)
    with pytest.raises(StoreClosed):
        await runtime.send_event(session, says("Hi."))


async def test_a_prompt_that_was_accepted_while_the_runtime_closes_is_gone_on_with(bench: Bench) -> None:
    held = Held()
    script: Script = [call("held"), "Done."]
    runtime, session = await begin(bench, script, held.tool)
    _, other = await begin(bench, script, held.tool, runtime=runtime)
    await runtime.desk.session(other)
    await runtime.send_event(session, says("Go."))
    await within(held.entered.wait())
    closing = asyncio.create_task(runtime.close())
    await asyncio.sleep(0)
    await runtime.send_event(other, says("Go."))
    held.release.set()
    await within(closing)
    runtime, _ = await begin(bench, script, held.tool)
    assert set(await runtime.desk.recover()) == {session, other}
    assert [await done(runtime, one) for one in (session, other)] == ["done", "done"]


# --- recovering -----------------------------------------------------------------------------------------------------


async def cut_off(bench: Bench, count: int, script: Script, *tools: Any) -> list[str]:
    """Sessions whose runs were accepted by a process that is gone."""
    runtime = await bench.runtime(script)
    ids = await sessions(runtime, count, *tools)
    for session in ids:
        await (await runtime.open_session(session, drive=False)).prompt("Go.")
    await runtime.close()
    return ids


async def test_open_runs_are_gone_on_with_and_nothing_else(bench: Bench) -> None:
    """More than a page of them."""
    ids = await cut_off(bench, 210, ["Done."])
    runtime = await bench.runtime(["Done."])
    await sessions(runtime, 3)  # new ones that never ran
    assert set(await within(runtime.desk.recover())) == set(ids)
    assert {await done(runtime, session) for session in ids} == {"done"}
    assert await runtime.desk.recover() == []


async def test_two_processes_may_recover_at_once(bench: Bench) -> None:
    held = Held()
    held.release.set()
    script: Script = [call("held"), "Done."]
    ids = await cut_off(bench, 10, script, held.tool)
    first, second = await bench.runtime(script), await bench.runtime(script)
    for runtime in (first, second):
        await runtime.create(godwit.Agent("tester", model=MODEL, tools=[held.tool]))
    taken = await within(asyncio.gather(first.desk.recover(), second.desk.recover()))
    assert set(taken[0]) | set(taken[1]) == set(ids)
    for session in ids:
        assert await done(first, session) == "done"
        assert len(await data(first, session, ToolStarted)) == 1
        assert [c.attempt for c in await data(first, session, RunClaimed)] == [1]
    assert held.calls == len(ids)


async def test_what_a_living_process_has_is_left_to_it(bench: Bench) -> None:
    held = Held()
    runtime, session = await begin(bench, [call("held"), "Done."], held.tool)
    await runtime.send_event(session, says("Go."))
    await within(held.entered.wait())
    elsewhere = await bench.runtime([call("held"), "Done."])
    await elsewhere.create(godwit.Agent("tester", model=MODEL, tools=[held.tool]))
    assert await elsewhere.desk.recover() == []
    assert await runtime.desk.recover() == [], "it is worked on here already"
    held.release.set()
    assert await done(runtime, session) == "done"


async def test_a_paused_run_waits_for_resume_unless_it_is_to_end(bench: Bench) -> None:
    waiting, ending = await cut_off(bench, 2, ["Done."])
    runtime = await bench.runtime(["Done."])
    for session in (waiting, ending):
        await append_outside(runtime.store, SessionId(session), [SessionPaused()], runtime.clock)
    row = await runtime.store.session(SessionId(ending))
    assert row.run is not None
    await append_outside(runtime.store, SessionId(ending), [UserInterrupt(row.run)], runtime.clock, run=row.run)
    assert await runtime.desk.recover() == [ending]
    assert await done(runtime, ending) == "interrupted"
    assert await runtime.status(waiting) == "paused"
    await runtime.resume(waiting)
    assert await done(runtime, waiting) == "done"


async def test_what_cannot_go_on_here_is_logged_and_keeps_nobody_waiting(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    held = Held()
    (missing,) = await cut_off(bench, 1, ["Done."], held.tool)
    runtime = await bench.runtime(["Done."])
    agent = await runtime.create(godwit.Agent("other", model=MODEL))
    fine = (await runtime.start_session(agent, drive=False)).id
    await (await runtime.open_session(fine, drive=False)).prompt("Go.")
    with caplog.at_level(logging.WARNING, "godwit"):
        assert await runtime.desk.recover() == [fine]
    assert [missing in record.getMessage() for record in caplog.records] == [True]
    assert await done(runtime, fine) == "done"
    assert await types(runtime, missing) == ["session.created", "user.message", "run.started"]


async def test_a_store_that_fails_is_no_session_that_cannot_go_on(bench: Bench) -> None:
    await cut_off(bench, 1, ["Done."])
    runtime = await bench.runtime(["Done."])
    await runtime.close()
    with pytest.raises(StoreClosed):
        await runtime.desk.recover()
