"""Every control at every phase of a run: queued, in the model, in a tool, waiting for a retry, parked, paused, closing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import godwit
from godwit.contracts import ModelRequest
from godwit.core.errors import CheckpointNotFound, KeyReused, NoOpenRun, RateLimited, RunFailed, SessionBusy, SessionClosed
from godwit.core.events import InputDelivered, RunClaimed, RunFinished, RunYielded, ToolFinished, UserInterrupt, UserMessage
from godwit.core.ids import MessageId
from godwit.core.messages import Assistant, Message, Text, User, text_of, user_content
from godwit.core.transcript import problems
from godwit.engine.session import Session
from godwit.models.script import call, fail, hold, say, tries
from tests.patience import PATIENCE_S

from .conftest import MODEL, Bench, data, until_type, within
from .test_control import Gate, note

PHASES = ["queued", "model", "tool", "retrying", "parked", "paused", "paused_parked", "paused_retrying"]


async def at_phase(bench: Bench, phase: str) -> tuple[Session, Gate, asyncio.Event]:
    """A session whose run stands in that phase. Later prompts are answered with "later"."""
    gate, release, reached = Gate(), asyncio.Event(), asyncio.Event()
    first: dict[str, Any] = {
        "queued": say("first"),
        "model": say("half ") + hold(release, reached=reached) + say("whole"),
        "tool": call("gate"),
        "retrying": tries(RateLimited("later", retry_after_s=25), "first"),
        "parked": call("note", text="a"),
        "paused": call("gate"),
        "paused_parked": call("note", text="a"),
        "paused_retrying": tries(RateLimited("later", retry_after_s=25), "first"),
    }
    runtime = await bench.runtime(grace_s=0.2)
    script = [first[phase], *["later"] * 8]
    session = await bench.start(script, gate.tool, note, runtime=runtime, permissions=godwit.Permissions(ask=("note",)))
    if phase == "queued":
        await session.pause()
        await session.prompt("Go.")
        return session, gate, release
    await session.prompt("Go.")
    match phase:
        case "model":
            await within(reached.wait())
        case "tool":
            await within(gate.entered.wait())
        case "retrying":
            await until_type(session, "run.retrying")
        case "parked":
            await until_type(session, "run.parked")
        case "paused":
            await within(gate.entered.wait())
            pausing = asyncio.create_task(session.pause())
            await until_type(session, "session.paused")
            gate.release.set()
            await within(pausing)
        case "paused_parked":
            await until_type(session, "run.parked")
            await within(session.pause())
        case "paused_retrying":
            await until_type(session, "run.retrying")
            await within(session.pause())
    return session, gate, release


async def sound(session: Session) -> None:
    """The stored log is complete: ended runs, results for all calls, valid messages, nothing lost."""
    events = await session.events()
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    assert not list(problems(await session.history()))
    state = await session.state()
    assert state.run is None
    assert not state.gate.actions


async def usable(session: Session) -> None:
    if await session.status() == "paused":
        await session.resume()
    result = await asyncio.wait_for(session.send("Once more."), PATIENCE_S)
    assert (result.outcome, result.text in ("first", "later")) == ("done", True)
    await sound(session)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("phase", PHASES)
async def test_interrupt(bench: Bench, phase: str, force: bool) -> None:
    session, _, _ = await at_phase(bench, phase)
    assert await asyncio.wait_for(session.interrupt(force=force), PATIENCE_S)
    assert [d.outcome for d in await data(session, RunFinished)] == ["interrupted"]
    await sound(session)
    assert not await session.interrupt()
    await usable(session)


@pytest.mark.parametrize("phase", PHASES)
async def test_interrupt_by_a_handle_that_only_watches(bench: Bench, phase: str) -> None:
    session, _, _ = await at_phase(bench, phase)
    elsewhere = await Bench.runtime(bench)
    watching = await elsewhere.open_session(session.id, drive=False)
    assert await asyncio.wait_for(watching.interrupt(), PATIENCE_S)
    assert [d.outcome for d in await data(session, RunFinished)] == ["interrupted"]
    await sound(session)


@pytest.mark.parametrize("phase", PHASES)
async def test_a_raw_interrupt_ends_the_run(bench: Bench, phase: str) -> None:
    session, _, _ = await at_phase(bench, phase)
    run = (await session.state()).run
    assert run is not None
    await session.send_event(UserInterrupt(run.id))
    assert (await asyncio.wait_for(session.wait(run.id), PATIENCE_S)).outcome == "interrupted"


@pytest.mark.parametrize("phase", PHASES)
async def test_the_session_token(bench: Bench, phase: str) -> None:
    session, _, _ = await at_phase(bench, phase)
    run = (await session.state()).run
    assert run is not None
    session.session_cancel_token.cancel()
    assert (await asyncio.wait_for(session.wait(run.id), PATIENCE_S)).outcome == "interrupted"
    await sound(session)
    with pytest.raises(SessionClosed):
        await session.prompt("Refused.")


@pytest.mark.parametrize("phase", PHASES)
async def test_close(bench: Bench, phase: str) -> None:
    session, _, _ = await at_phase(bench, phase)
    await asyncio.wait_for(session.close(), PATIENCE_S)
    assert [d.outcome for d in await data(session, RunFinished)] == ["interrupted"]
    await sound(session)
    await session.close()


@pytest.mark.parametrize("phase", PHASES)
async def test_two_interrupts_a_pause_and_a_close_at_once(bench: Bench, phase: str) -> None:
    session, _, _ = await at_phase(bench, phase)
    work: list[Awaitable[Any]] = [session.interrupt(), session.interrupt(force=True), session.close()]
    results = await asyncio.wait_for(asyncio.gather(*work, return_exceptions=True), PATIENCE_S)
    assert not [r for r in results if isinstance(r, BaseException)], results
    assert [d.outcome for d in await data(session, RunFinished)] == ["interrupted"]


@pytest.mark.parametrize("phase", PHASES)
async def test_closing_the_runtime(bench: Bench, phase: str) -> None:
    session, gate, release = await at_phase(bench, phase)
    run = (await session.state()).run
    assert run is not None
    waiting = asyncio.create_task(session.wait(run.id))
    await asyncio.sleep(0.02)
    runtime = bench.runtimes.pop()
    await asyncio.wait_for(runtime.close(), PATIENCE_S)
    with pytest.raises(godwit.GodwitError):
        await asyncio.wait_for(waiting, PATIENCE_S)
    gate.release.set()
    release.set()
    again = await (await bench.runtime(["later"] * 9)).open_session(
        session.id, agent=godwit.Agent("tester", model=MODEL, tools=[gate.tool, note])
    )
    assert (await again.state()).run is not None
    assert await asyncio.wait_for(again.interrupt(), PATIENCE_S)
    await sound(again)


@pytest.mark.parametrize("phase", ["model", "tool", "retrying", "parked"])
async def test_pause_twice_resume_twice(bench: Bench, phase: str) -> None:
    session, gate, release = await at_phase(bench, phase)
    pausing = asyncio.create_task(session.pause())
    await until_type(session, "session.paused")
    gate.release.set()
    release.set()
    assert await within(pausing)
    assert not await within(session.pause())
    assert await session.status() == "paused"
    before = (await session.state()).seq
    await asyncio.sleep(0.05)
    assert (await session.state()).seq == before, "nothing is taken while paused"
    assert await session.resume()
    assert not await session.resume()
    if phase == "parked":
        assert await session.confirm_tool_use((await session.pending_confirmations())[0].id, True)
    if phase == "retrying":
        await within(session.interrupt())
    else:
        assert (await within(session.wait())).outcome == "done"
    await usable(session)


async def test_resume_in_one_runtime_goes_on_in_the_other(bench: Bench) -> None:
    session, gate, _ = await at_phase(bench, "paused")
    run = (await session.state()).run
    assert run is not None
    elsewhere = await Bench.runtime(bench, ["unused", "later"])
    other = await elsewhere.open_session(session.id, agent=godwit.Agent("tester", model=MODEL, tools=[gate.tool, note]))
    assert await other.resume()
    first, second = await within(asyncio.gather(session.wait(run.id), other.wait(run.id)))
    assert first.outcome == second.outcome == "done"
    assert [d.attempt for d in await data(session, RunClaimed)][-1] == 1


# --- steers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["skip", "batch"])
@pytest.mark.parametrize("phase", PHASES)
async def test_a_steer_is_delivered_or_withdrawn(bench: Bench, phase: str, mode: Any) -> None:
    session, gate, release = await at_phase(bench, phase)
    steer = await session.steer("Mind this.", mode=mode)
    gate.release.set()
    release.set()
    if (await session.status()) == "paused":
        await session.resume()
    if "retrying" in phase:
        await within(session.interrupt())
        assert [e.status for e in await session.queue.list(all=True) if e.id == steer] == ["withdrawn"]
        return
    if "parked" in phase and mode == "batch":
        assert (await session.queue.list())[0].id == steer
        assert await session.confirm_tool_use((await session.pending_confirmations())[0].id, True)
    assert (await within(session.wait())).outcome == "done"
    assert [e.status for e in await session.queue.list(all=True) if e.id == steer] == ["delivered"]
    await sound(session)


async def test_a_skipping_steer_answers_an_external_call_too(bench: Bench) -> None:
    external = godwit.ToolDefinition("ask_client", "Ask.", {"type": "object", "properties": {}})
    session = await bench.start([call("ask_client") + call("note", text="a"), "later"], note, external)
    run = await session.prompt("Go.")
    await until_type(session, "run.parked")
    action = (await session.approvals.pending())[0]
    await session.steer("Never mind.")
    assert (await within(session.wait(run))).outcome == "done"
    assert not await session.answer(action.id, "too late")
    assert not await session.answer(action.call or "", "too late")
    assert sorted(d.status for d in await data(session, ToolFinished)) == ["ok", "skipped"]
    await sound(session)


async def test_approved_calls_of_a_skipped_turn_do_not_run(bench: Bench) -> None:
    """An approval and a skipping steer at once: each call ends exactly once, whichever came first."""
    for first in ("approve", "steer"):
        session = await bench.start(
            [call("note", text="a") + call("note", text="b"), "later", "later"],
            note,
            permissions=godwit.Permissions(ask=("note",)),
        )
        run = await session.prompt("Go.")
        await until_type(session, "run.parked")
        pending = await session.pending_confirmations()
        work = [session.approve(pending[0].id), session.steer("Never mind.")]
        await asyncio.gather(*(work if first == "approve" else reversed(work)))
        assert (await within(session.wait(run))).outcome == "done"
        assert len(await data(session, ToolFinished)) == 2
        await sound(session)


# --- follow-ups after an interrupt -----------------------------------------------------------------------------------


async def test_follow_ups_left_by_an_interrupt_wait_for_the_next_run(bench: Bench) -> None:
    session, _, _ = await at_phase(bench, "model")
    one, two = await session.follow_up("One."), await session.follow_up("Two.")
    await within(session.interrupt())
    assert [e.id for e in await session.queue.list()] == [one, two]
    await session.queue.reorder([two, one])
    await asyncio.sleep(0.05)
    assert await session.status() == "idle"
    three = await session.follow_up("Three.")
    await until_type(session, "run.finished", (await session.state()).seq - 1)
    assert (await within(session.wait())).outcome == "done"
    delivered = [d.id for d in await data(session, InputDelivered)]
    assert delivered[1:] == [two, one, three]
    assert await session.queue.list() == []


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", PHASES)
async def test_inputs_repeated_under_their_key_at_each_phase(bench: Bench, phase: str) -> None:
    session, _, _ = await at_phase(bench, phase)
    steer = await session.steer("S.", mode="batch", key="s")
    follow = await session.follow_up("F.", key="f")

    async def again() -> None:
        assert await session.steer("S.", mode="batch", key="s") == steer
        assert await session.follow_up("F.", key="f") == follow
        with pytest.raises(KeyReused):
            await session.follow_up("Another.", key="f")

    await again()
    await within(session.interrupt())
    await again()
    if await session.status() == "paused":
        await session.resume()
    run = await session.prompt("P.", key="p")
    await again()
    assert await session.prompt("P.", key="p") == run
    assert (await within(session.wait(run))).outcome == "done"
    await again()
    assert (await within(session.send("P.", key="p"))).run == run
    messages = [text_of(d.content) for d in await data(session, UserMessage)]
    assert sorted(messages) == ["F.", "Go.", "P.", "S."]
    await sound(session)


async def test_a_follow_up_under_a_key_that_started_a_run_joins_it(bench: Bench) -> None:
    gate = Gate()
    session = await bench.start([call("gate"), "done"], gate.tool)
    first = await session.follow_up("Go.", key="k")
    await within(gate.entered.wait())
    assert await session.follow_up("Go.", key="k") == first
    gate.release.set()
    await within(session.wait())
    assert await session.follow_up("Go.", key="k") == first
    assert len(await data(session, UserMessage)) == 1


async def test_a_steer_repeated_under_its_key_after_the_default_mode_changed(bench: Bench) -> None:
    session, gate, _ = await at_phase(bench, "tool")
    steer = await session.steer("S.", key="s")
    await session.configure(steer_mode="batch")
    assert await session.steer("S.", key="s") == steer
    gate.release.set()


# --- a history of its own --------------------------------------------------------------------------------------------


GIVEN: list[Message] = [User(user_content("old question")), Assistant(MessageId("m"), (Text("old answer"),), MODEL)]


def seen(request: ModelRequest) -> list[str]:
    return [text_of(e.message.content) for e in request.entries]


async def test_a_run_on_a_given_history_takes_steers_pauses_and_a_crash(bench: Bench) -> None:
    gate = Gate()
    script: list[Any] = ["own", call("gate"), "done"]
    session = await bench.start(script, gate.tool)
    await within(session.send("Mine."))
    own = await session.history()
    run = await session.prompt("Go.", history=GIVEN)
    await within(gate.entered.wait())
    await session.steer("Mind this.", mode="batch")
    pausing = asyncio.create_task(session.pause())
    await until_type(session, "session.paused")
    gate.release.set()
    await within(pausing)
    await bench.close()
    runtime = await bench.runtime(script)
    again = await runtime.open_session(session.id, agent=godwit.Agent("tester", model=MODEL, tools=[gate.tool]))
    await again.resume()
    assert (await within(again.wait(run))).text == "done"
    assert bench.model is not None
    assert seen(bench.model.requests[-1]) == ["old question", "old answer", "Go.", "", "went through 0", "Mind this."]
    assert await again.history() == own


async def test_resuming_a_run_on_a_given_history_goes_on_with_that_history(bench: Bench) -> None:
    script: list[Any] = ["own", tries(fail(ValueError("broken"), 0), "went on"), "went on", "went on"]
    session = await bench.start(script, limits=godwit.Limits(max_model_retries=0))
    await within(session.send("Mine."))
    own = await session.history()
    with pytest.raises(RunFailed) as failed:
        await within(session.send("Go.", history=GIVEN))
    result = await within(session.resume_run(failed.value.result.run))
    assert result.outcome == "done"
    assert bench.model is not None
    assert seen(bench.model.requests[-1])[:3] == ["old question", "old answer", "Go."]
    assert (await session.history())[: len(own)] == own


# --- resuming runs ---------------------------------------------------------------------------------------------------


async def test_resume_run_after_a_failure_in_mid_turn_twice_and_while_paused(bench: Bench) -> None:
    script: list[Any] = [
        call("note", text="a"),
        tries(say("half") + fail(ValueError("broken")), fail(ValueError("again")), "went on"),
    ]
    script += ["went on", "went on", "went on"]
    session = await bench.start(script, note, limits=godwit.Limits(max_model_retries=0))
    with pytest.raises(RunFailed) as failed:
        await within(session.send("Go."))
    run = failed.value.result.run
    await session.pause()
    resuming = asyncio.create_task(session.resume_run(run))
    await until_type(session, "run.started", (await session.state()).seq - 1)
    assert not resuming.done()
    with pytest.raises(SessionBusy):
        await session.resume_run(run)
    await session.resume()
    try:
        result = await within(resuming)
    except RunFailed as error:
        result = await within(session.resume_run(error.result.run))
    assert result.outcome == "done"
    with pytest.raises(CheckpointNotFound):
        await session.resume_run(result.run)
    again = await within(session.resume_run(run))
    assert again.outcome == "done"
    await sound(session)


@pytest.mark.parametrize("phase", PHASES)
async def test_resume_run_after_an_interrupt(bench: Bench, phase: str) -> None:
    session, _, _ = await at_phase(bench, phase)
    run = (await session.state()).run
    assert run is not None
    await within(session.interrupt())
    if await session.status() == "paused":
        await session.resume()
    try:
        result = await asyncio.wait_for(session.resume_run(run.id), PATIENCE_S)
    except CheckpointNotFound:
        assert phase == "queued"
        return
    assert result.outcome == "done"
    await sound(session)


# --- leases ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["model", "tool", "retrying"])
async def test_a_lease_taken_in_the_middle(bench: Bench, phase: str) -> None:
    """The old driver stops without effects; its handle's wait() returns when the new driver has finished the run."""
    session, gate, release = await at_phase(bench, phase)
    run = (await session.state()).run
    assert run is not None
    waiting = asyncio.create_task(session.wait(run.id))
    elsewhere = await Bench.runtime(bench, [call("gate") if phase == "tool" else "first", *["later"] * 8])
    store = elsewhere.store
    lease = await store.claim(session.id, "another", 60.0, force=True)
    assert lease is not None
    gate.release.set()
    release.set()
    await asyncio.sleep(0.2)
    await store.release(lease)
    other = await elsewhere.open_session(session.id, agent=godwit.Agent("tester", model=MODEL, tools=[gate.tool, note]))
    if phase == "retrying":
        await within(other.interrupt())
        assert (await within(waiting)).outcome == "interrupted"
    else:
        first, second = await within(asyncio.gather(waiting, other.wait(run.id)))
        assert first.outcome == second.outcome == "done"
    await sound(session)


Check = Callable[[Session], Awaitable[None]]
__all__ = ["Check", "NoOpenRun", "RunYielded"]


async def test_an_input_that_comes_while_a_drive_ends_needs_no_second_look(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from godwit.host import dispatch

    monkeypatch.setattr(dispatch, "RETRY_S", 3600.0)
    session, _, _ = await at_phase(bench, "queued")
    await within(session.interrupt())


async def test_a_steer_finds_a_call_of_a_driver_that_is_gone(bench: Bench) -> None:
    """The call had begun, so it is not skipped; nobody knows what became of it, and the run goes on with the steer."""
    gate = Gate()
    session = await bench.start([call("gate"), "After."], gate.tool)
    run = await session.prompt("Go.")
    await within(gate.entered.wait())
    await session.steer("Rather this.", mode="skip")
    lease = await bench.runtimes[0].store.claim(session.id, "thief", 60.0, force=True)
    assert lease is not None
    await bench.runtimes[0].store.release(lease)
    gate.release.set()
    result = await within(session.wait(run))
    assert (result.outcome, result.text) == ("done", "After.")
    finished = [d.status for d in await data(session, ToolFinished)]
    assert finished == ["unknown"]
