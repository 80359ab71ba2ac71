"""Steering, follow-ups, interrupting, pausing, configuring, closing: all of it durable and visible."""

from __future__ import annotations

import asyncio

import pytest

import godwit
from godwit.core.errors import (
    CheckpointNotFound,
    InboxFull,
    InputNotFound,
    InvalidArgument,
    ModelNotFound,
    NoOpenRun,
    RunFailed,
    RunNotFound,
    SessionArchived,
    SessionClosed,
)
from godwit.core.events import (
    AgentMessage,
    InputDelivered,
    InputWithdrawn,
    RunClaimed,
    RunFinished,
    ToolFinished,
    UserMessage,
)
from godwit.core.gate import INBOX_LIMIT
from godwit.core.messages import Assistant, ToolResult, User
from godwit.core.transcript import problems
from godwit.models.script import Script, call, hold, say
from tests.patience import PATIENCE_S

from .conftest import Bench, data, types, until, until_type, within


class Gate:
    """A tool that waits until the test lets it go."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.release = asyncio.Event()

        @godwit.tool
        async def gate(n: int = 0) -> str:
            """Wait."""
            self.entered.set()
            await self.release.wait()
            return f"went through {n}"

        self.tool = gate


@godwit.tool(exclusive=True)
def note(text: str) -> str:
    """Write a note."""
    return f"noted {text}"


async def test_steer_skips_what_has_not_started(bench: Bench) -> None:
    gate = Gate()
    session = await bench.start([call("gate") + call("note", text="a") + call("note", text="b"), "steered"], gate.tool, note)
    await session.prompt("Go.")
    await within(gate.entered.wait())
    await session.steer("Stop that, do this.")
    await until(session, lambda e: isinstance(e.data, ToolFinished) and e.data.status == "skipped")
    gate.release.set()
    assert (await within(session.wait())).text == "steered"
    history = await session.history()
    assert [m.status for m in history if isinstance(m, ToolResult)] == ["ok", "skipped", "skipped"]
    assert [type(m) for m in history] == [User, Assistant, ToolResult, ToolResult, ToolResult, User, Assistant]
    assert not list(problems(history))


async def test_steer_after_the_batch_lets_it_finish(bench: Bench) -> None:
    gate = Gate()
    session = await bench.start([call("gate") + call("note", text="a"), "steered"], gate.tool, note)
    await session.prompt("Go.")
    await within(gate.entered.wait())
    await session.steer("And this.", mode="batch")
    gate.release.set()
    await within(session.wait())
    assert [m.status for m in await session.history() if isinstance(m, ToolResult)] == ["ok", "ok"]
    assert isinstance((await session.history())[-2], User)


async def test_configured_steer_mode_is_the_default(bench: Bench) -> None:
    gate = Gate()
    session = await bench.start([call("gate") + call("note", text="a"), "steered"], gate.tool, note)
    await session.configure(steer_mode="batch")
    await session.prompt("Go.")
    await within(gate.entered.wait())
    await session.steer("And this.")
    gate.release.set()
    await within(session.wait())
    assert [m.status for m in await session.history() if isinstance(m, ToolResult)] == ["ok", "ok"]


async def test_steer_during_the_answer_comes_after_it(bench: Bench) -> None:
    release, reached = asyncio.Event(), asyncio.Event()
    session = await bench.start([say("first ") + hold(release, reached=reached) + say("answer"), "second answer"])
    await session.prompt("Go.")
    await within(reached.wait())
    await session.steer("More.")
    release.set()
    assert (await within(session.wait())).text == "second answer"
    assert [type(m) for m in await session.history()] == [User, Assistant, User, Assistant]


async def test_steer_without_a_run_is_refused_and_never_leaks(bench: Bench) -> None:
    session = await bench.start(["one", "two"])
    with pytest.raises(NoOpenRun):
        await session.steer("Too early.")
    assert await session.interrupt() is False
    await within(session.send("Go."))
    with pytest.raises(NoOpenRun):
        await session.steer("Too late.")
    assert (await within(session.send("Again."))).text == "two"
    assert len(await session.history()) == 4


async def test_follow_ups_come_one_by_one_when_nothing_else_is_left(bench: Bench) -> None:
    gate = Gate()
    session = await bench.start([call("gate"), "first", "second", "third"], gate.tool)
    await session.prompt("Go.")
    await within(gate.entered.wait())
    a = await session.follow_up("a")
    b = await session.follow_up("b")
    c = await session.follow_up("c")
    assert [e.text for e in await session.queue.list()] == ["a", "b", "c"]
    await session.queue.withdraw(b)
    await session.queue.reorder([c, a])
    assert [e.text for e in await session.queue.list()] == ["c", "a"]
    with pytest.raises(InputNotFound):
        await session.queue.withdraw(b)
    with pytest.raises(InputNotFound):
        await session.queue.reorder([a])
    gate.release.set()
    assert (await within(session.wait())).text == "third"
    users = [m.content[0].text for m in await session.history() if isinstance(m, User)]  # type: ignore[union-attr]
    assert users == ["Go.", "c", "a"]
    assert [(e.text, e.status) for e in await session.queue.list(all=True)] == [
        ("Go.", "delivered"),
        ("a", "delivered"),
        ("b", "withdrawn"),
        ("c", "delivered"),
    ]
    assert len(await data(session, RunFinished)) == 1


async def test_follow_up_on_an_idle_session_starts_at_once(bench: Bench) -> None:
    session = await bench.start(["hello"])
    await session.follow_up("Hi.", key="f1")
    await session.follow_up("Hi.", key="f1")
    assert (await within(session.wait())).text == "hello"
    await session.follow_up("Hi.", key="f1")
    assert len(await data(session, UserMessage)) == 1


async def test_interrupt_in_mid_stream_keeps_what_was_said(bench: Bench) -> None:
    release, reached = asyncio.Event(), asyncio.Event()
    session = await bench.start([say("half an ") + hold(release, reached=reached) + say("answer"), "next"])
    run = await session.prompt("Go.")
    await within(reached.wait())
    await session.follow_up("later")
    assert await session.interrupt() is True
    assert bench.model is not None
    assert bench.model.cut, "the model's stream was not closed"
    result = await within(session.wait(run))
    assert (result.outcome, result.text) == ("interrupted", "half an ")
    assert (await data(session, AgentMessage))[0].message.complete is False
    assert [e.text for e in await session.queue.list()] == ["later"]
    assert await session.interrupt() is False
    assert await session.status() == "idle"
    # Usable at once; the follow-up that stayed queued comes after the new prompt's work.
    bench.model._turns = ["?", "next", "for later"]
    assert (await within(session.send("On."))).text == "for later"


async def test_interrupt_stops_running_tools(bench: Bench) -> None:
    gate = Gate()
    session = await bench.start([call("gate", n=1) + call("note", text="x"), "after"], gate.tool, note)
    run = await session.prompt("Go.")
    await within(gate.entered.wait())
    await session.interrupt(reason="enough")
    assert (await within(session.wait(run))).outcome == "interrupted"
    results = {d.name: d.status for d in await data(session, ToolFinished)}
    assert results == {"gate": "error", "note": "skipped"}
    assert not list(problems(await session.history()))
    assert (await within(session.send("Again."))).text == "after"


async def test_undelivered_steers_end_with_their_run(bench: Bench) -> None:
    gate = Gate()
    session = await bench.start([call("gate"), "clean"], gate.tool)
    await session.prompt("Go.")
    await within(gate.entered.wait())
    await session.steer("lost", mode="batch")
    await session.interrupt()
    assert [d.reason for d in await data(session, InputWithdrawn)] == ["run_finished"]
    assert (await within(session.send("Again."))).text == "clean"
    assert len(await data(session, InputDelivered)) == 2


async def test_an_old_run_id_interrupts_nothing(bench: Bench) -> None:
    gate = Gate()
    session = await bench.start(["one", call("gate"), "two"], gate.tool)
    old = (await within(session.send("Go."))).run
    await session.prompt("Again.")
    await within(gate.entered.wait())
    assert await session.cancel_run(old) is False
    gate.release.set()
    assert (await within(session.wait())).text == "two"


async def test_an_interrupt_that_is_sent_again_ends_no_other_run(bench: Bench) -> None:
    gate = Gate()
    session = await bench.start([say("I look.") + call("gate"), say("I look again.") + call("gate"), "two"], gate.tool)
    await session.prompt("Go.")
    await within(gate.entered.wait())
    assert await within(session.interrupt(key="once")) is True
    gate.entered.clear()
    await session.prompt("Again.")
    await within(gate.entered.wait())
    assert await within(session.interrupt(key="once")) is True
    assert await session.is_running()
    gate.release.set()
    assert (await within(session.wait())).text == "two"


async def test_pause_is_a_checkpoint_that_another_process_resumes(bench: Bench) -> None:
    gate = Gate()
    script: Script = [call("gate", n=1) + call("note", text="x"), "resumed"]
    session = await bench.start(script, gate.tool, note)
    run = await session.prompt("Go.")
    await within(gate.entered.wait())
    pausing = asyncio.create_task(session.pause("lunch"))
    await until_type(session, "session.paused")
    gate.release.set()
    assert await within(pausing) is True
    assert await session.status() == "paused"
    assert (await types(session))[-1] == "run.yielded"
    assert await session.pause() is False
    await session.steer("while paused", mode="batch")
    await session.follow_up("later")
    await bench.close()

    runtime = await bench.runtime([*script, "later too"])
    other = await runtime.open_session(
        session.id, agent=godwit.Agent("tester", model="scripted:test", tools=[gate.tool, note])
    )
    assert await other.status() == "paused"
    head = await runtime.head(session.id)
    assert await other.resume() is True
    result = await within(other.wait(run))
    assert (result.outcome, result.text) == ("done", "later too")
    assert await other.resume() is False
    claims = await data(other, RunClaimed)
    assert [c.attempt for c in claims] == [1, 1]
    assert head < result.seq
    started = [d for d in await types(other) if d == "tool.started"]
    assert len(started) == 2, "the call that was done before the pause ran again"


async def test_model_and_thinking_change_with_the_next_prompt(bench: Bench) -> None:
    from godwit.models.script import ScriptedModel

    release, reached = asyncio.Event(), asyncio.Event()
    first = ScriptedModel([hold(release, reached=reached) + say("first"), "first too"], "scripted:first")
    second = ScriptedModel(["?", "second"], "scripted:second")
    runtime = await bench.runtime(models={"scripted:first": first, "scripted:second": second})
    session = await bench.start([], runtime=runtime, model="scripted:first")
    await session.prompt("Go.")
    await within(reached.wait())
    await session.set_model("scripted:second")
    await session.set_thinking("high")
    release.set()
    assert (await within(session.wait())).text == "first"
    assert (await within(session.send("Again."))).text == "second"
    assert (session.model, session.thinking) == ("scripted:second", "high")
    assert first.requests[0].settings.thinking is None
    assert second.requests[0].settings.thinking == "high"


async def test_close_ends_the_run_and_refuses_further_calls(bench: Bench) -> None:
    gate = Gate()
    session = await bench.start([call("gate"), "after"], gate.tool)
    token = session.session_cancel_token
    run = await session.prompt("Go.")
    await within(gate.entered.wait())
    await within(session.close())
    assert session.is_closed
    await within(token.wait())
    await session.close()
    for refused in (session.send("x"), session.steer("x"), session.follow_up("x"), session.resume_run(run), session.pause()):
        with pytest.raises(SessionClosed):
            await refused
    with pytest.raises(SessionClosed):
        async for _ in session.stream("x"):
            pass
    again = await bench.runtimes[0].open_session(session.id)
    assert (await within(again.wait(run))).outcome == "interrupted"
    assert (await within(again.send("On."))).text == "after"


async def test_cancelling_the_session_token_ends_the_run_as_interrupted(bench: Bench) -> None:
    gate = Gate()
    session = await bench.start([call("gate"), "after"], gate.tool)
    run = await session.prompt("Go.")
    await within(gate.entered.wait())
    child = session.session_cancel_token.child()
    session.session_cancel_token.cancel()
    assert child.cancelled
    assert (await within(session.wait(run))).outcome == "interrupted"
    with pytest.raises(SessionClosed):
        await session.send("x")


async def test_resume_run_goes_on_from_the_checkpoint_as_a_new_run(bench: Bench) -> None:
    gate = Gate()
    session = await bench.start([call("note", text="a"), call("gate"), "finished"], gate.tool, note)
    run = await session.prompt("Go.")
    await within(gate.entered.wait())
    await session.interrupt()
    interrupted = await within(session.wait(run))
    assert interrupted.turns == 2
    result = await within(session.resume_run(run))
    assert (result.outcome, result.text) == ("done", "finished")
    assert result.run != run
    assert (result.turns, result.tool_calls) == (3, 2)
    users = [m for m in await session.history() if isinstance(m, User)]
    assert len(users) == 1, "no new prompt"
    with pytest.raises(CheckpointNotFound):
        await session.resume_run(result.run)
    with pytest.raises(CheckpointNotFound):
        await session.resume_run("run_unknown")


async def test_resume_run_rewinds_when_the_session_has_moved_on(bench: Bench) -> None:
    session = await bench.start(
        [call("note", text="a"), call("note", text="b"), "other", "finished"], note, limits=godwit.Limits(max_turns=2)
    )
    limited = await within(session.send("Go."))
    assert limited.outcome == "limited"
    await within(session.send("Something else."))
    assert bench.model is not None
    bench.model._turns[2] = "finished"
    result = await within(session.resume_run(limited.run))
    assert result.text == "finished"
    users = [m.content[0].text for m in await session.history() if isinstance(m, User)]  # type: ignore[union-attr]
    assert users == ["Go."]


async def test_a_run_with_100_000_events_finishes_with_nobody_reading(bench: Bench) -> None:
    chunks = "x" * 100_000
    from godwit.models.script import ScriptedModel

    model = ScriptedModel([chunks], "scripted:test", chunk=1)
    runtime = await bench.runtime(models={"scripted:test": model})
    session = await bench.start([], runtime=runtime)
    result = await asyncio.wait_for(session.prompt_and_wait("Go."), PATIENCE_S)
    assert len(result.text) == 100_000
    events = []
    while (event := await session.recv_event()) is not None:
        events.append(event.type)
    assert events[-1] == "run.finished"
    assert await session.recv_event() is None


async def test_a_full_inbox_is_a_conflict_and_blocks_no_other_session(bench: Bench) -> None:
    gate = Gate()
    session = await bench.start([call("gate"), "done"], gate.tool)
    await session.prompt("Go.")
    await within(gate.entered.wait())
    for n in range(INBOX_LIMIT):
        await session.follow_up(str(n))
    with pytest.raises(InboxFull):
        await session.follow_up("one too many")
    other = await bench.runtimes[0].start_session(godwit.Agent("other", model="scripted:test"))
    assert bench.model is not None
    bench.model._turns = ["from the other"]
    assert (await within(other.send("Hi."))).text == "from the other"
    await session.interrupt()


async def test_settings_and_ids_that_cannot_work_are_refused(bench: Bench) -> None:
    session = await bench.start(["hello"])
    with pytest.raises(ModelNotFound):
        await session.set_model("nowhere:model")
    with pytest.raises(InvalidArgument, match="huge"):
        await session.set_thinking("huge")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="surrogate"):
        await session.send("half \ud800 of a pair")
    with pytest.raises(InvalidArgument):
        await session.send("  ")
    with pytest.raises(InvalidArgument, match="int"):
        await session.send(5)  # type: ignore[arg-type]
    with pytest.raises(RunNotFound):
        await session.wait("run_none")
    with pytest.raises(InvalidArgument, match="bad id"):
        await bench.runtimes[0].start_session(godwit.Agent("tester", model="scripted:test"), session="bad id/../")
    assert len(await session.events()) == 1, "nothing was changed"


async def test_a_full_queue_of_follow_ups_keeps_nobody_from_steering(bench: Bench) -> None:
    gate = Gate()
    session = await bench.start([call("gate"), "done"], gate.tool)
    await session.prompt("Go.")
    await within(gate.entered.wait())
    for n in range(INBOX_LIMIT):
        await session.follow_up(str(n))
    await session.steer("Mind this.")
    await session.interrupt()


async def test_archive_is_final_and_leaves_the_log_readable(bench: Bench) -> None:
    session = await bench.start(["one"])
    await within(session.send("Go."))
    await bench.runtimes[0].archive(session.id)
    assert await session.status() == "archived"
    with pytest.raises(SessionArchived):
        await session.send("More.")
    assert len(await session.events()) > 5


async def test_delete_removes_everything(bench: Bench) -> None:
    from godwit.core.errors import SessionNotFound

    session = await bench.start(["one"])
    await within(session.send("Go."))
    await bench.runtimes[0].delete_session(session.id)
    with pytest.raises(SessionNotFound):
        await bench.runtimes[0].status(session.id)


async def test_many_followers_see_the_log_and_nothing_else(bench: Bench) -> None:
    session = await bench.start([call("note", text="a"), "done"], note)

    async def follow() -> list[int]:
        seen = []
        async for event in session.follow():
            seen.append(event.seq)
            if event.type == "run.finished":
                return seen
        return seen

    followers = [asyncio.create_task(follow()) for _ in range(20)]
    await within(session.send("Go."))
    log = [e.seq for e in await session.events()]
    for follower in followers:
        assert await within(follower) == log


async def test_a_failed_run_says_why_and_events_tell_it(bench: Bench) -> None:
    session = await bench.start([])
    with pytest.raises(RunFailed) as failed:
        await within(session.send("Go."))
    assert "script" in failed.value.message
    assert await session.status() == "idle"
