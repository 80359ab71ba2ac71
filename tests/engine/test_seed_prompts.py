"""Rows of seed 002 in docs/seeds.md whose meaning no other test shows: prompts, queues, events."""

from __future__ import annotations

import asyncio

import pytest

import godwit
from godwit.core.errors import ActionNotFound, AgentNotFound, InvalidArgument, NoOpenRun, SessionBusy, ToolNotFound
from godwit.core.events import ToolStarted, UserAnswer, UserInterrupt, UserMessage
from godwit.core.ids import ActionId, InputId
from godwit.core.messages import Text, ToolResult
from godwit.engine.session import Session
from godwit.models.script import ScriptedModel, call, hold, say
from tests.engine.conftest import MODEL, Bench, data, types, until_type, within
from tests.engine.seed_words import Gate, note, users


async def test_prompt_returns_while_the_agent_works(bench: Bench) -> None:
    """S002-04, 05, 06, 09, 32."""
    reached, release = asyncio.Event(), asyncio.Event()
    session = await bench.start([hold(release, reached=reached) + say("done")])
    assert await session.is_running() is False
    run = await within(session.prompt("Go."))
    await within(reached.wait())
    assert await session.is_running() is True
    assert await session.status() == "running"
    with pytest.raises(SessionBusy):
        await session.prompt("Me too.")
    release.set()
    result = await within(session.wait())
    assert (result.run, result.text) == (run, "done")
    assert await session.is_running() is False
    assert await within(session.wait()) == result, "waiting again gives the same"
    assert await within(session.wait(run)) == result
    assert len(await data(session, UserMessage)) == 1, "the refused prompt left nothing"


async def test_prompt_and_wait_leaves_its_events_to_be_read(bench: Bench) -> None:
    """S002-07, 08, 17, 18."""
    session = await bench.start([call("note", text="a"), "done"], note)
    assert await within(_none_yet(session)) is True
    assert (await within(session.prompt_and_wait("Go."))).text == "done"
    read = []
    while (event := await within(session.recv_event())) is not None:
        read.append(event.type)
    assert [t for t in read if t in ("user.message", "agent.message", "tool.finished", "run.finished")] == [
        "user.message",
        "agent.message",
        "tool.finished",
        "agent.message",
        "run.finished",
    ]
    assert await session.recv_event() is None


async def _none_yet(session: Session) -> bool:
    """A session that has not run has nothing to receive, and says so instead of waiting."""
    return await session.recv_event() is None


async def test_recv_event_can_be_waited_for_beside_other_things(bench: Bench) -> None:
    """S002-17, 20: giving up on a wait loses no event."""
    gate = Gate()
    session = await bench.start([call("gate"), "done"], gate.tool)
    await session.prompt("Go.")
    await within(gate.entered.wait())
    read: list[str] = []
    while True:
        try:
            event = await asyncio.wait_for(session.recv_event(), 0.05)
        except TimeoutError:  # nothing more comes while the gate is shut
            break
        assert event is not None
        read.append(event.type)
    assert read[-1] == "tool.started"
    waiting = asyncio.create_task(session.recv_event())
    other = asyncio.create_task(gate.release.wait())
    gate.release.set()
    done, _ = await within(asyncio.wait({waiting, other}, return_when=asyncio.FIRST_COMPLETED))
    assert other in done
    rest = await within(waiting)
    assert rest is not None
    read.append(rest.type)
    await within(session.wait())
    while (event := await session.recv_event()) is not None:
        read.append(event.type)
    assert read == (await types(session))[1:], "from the handle's opening on, nothing was lost or seen twice"


async def test_an_event_receiver_can_be_waited_for_beside_other_things(bench: Bench) -> None:
    """S002-19, 20: any number of them, each with its place; a timeout or a lost race costs no event."""
    gate = Gate()
    session = await bench.start([call("gate"), "done"], gate.tool)
    early, whole = session.event_rx(), session.event_rx(0)
    await session.prompt("Go.")
    await within(gate.entered.wait())
    read: list[int] = []
    while not read or not isinstance((await session.events())[read[-1] - 1].data, ToolStarted):
        read.append((await within(anext(early))).seq)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(early), 0.01)
    waiting = asyncio.ensure_future(anext(early))
    done, _ = await within(asyncio.wait({waiting, asyncio.create_task(asyncio.sleep(0))}, return_when="FIRST_COMPLETED"))
    assert waiting not in done
    gate.release.set()
    read.append((await within(waiting)).seq)
    await within(session.wait())
    while (event := await within(early.recv())) is not None:
        read.append(event.seq)
    head = (await session.events())[-1].seq
    assert read == list(range(2, head + 1)), "from the handle's opening on"
    assert [(await within(anext(whole))).seq for _ in range(head)] == list(range(1, head + 1))
    assert (early.seq, whole.seq) == (head, head)


async def test_commands_go_through_one_sender_or_another(bench: Bench) -> None:
    """S002-33, S003-15, 16, 17, 18: the event's type decides what it does, and the checks are those of the methods."""
    gate = Gate()
    session = await bench.start([call("gate"), "second"], gate.tool)
    sender, other = session.command_tx(), session.command_tx()
    nothing = InputId("")
    with pytest.raises(NoOpenRun):
        await sender.send(UserMessage(nothing, (Text("Too early."),), "steer"))
    await sender.send(UserMessage(nothing, (Text("Go."),)), key="k")
    await within(gate.entered.wait())
    await other.send(UserMessage(nothing, (Text("Go."),)), key="k")
    with pytest.raises(SessionBusy):
        await other.send(UserMessage(nothing, (Text("Me too."),)))
    await asyncio.create_task(other.send(UserMessage(nothing, (Text("And then?"),), "follow_up")))
    assert [e.text for e in await session.queue.list()] == ["And then?"]
    run = await session.current_run()
    assert run is not None
    await session.send_event(UserInterrupt(run.id, reason="enough"))
    assert (await within(run.wait())).outcome == "interrupted"
    assert [e.text for e in await session.queue.list()] == ["And then?"]
    await session.send_event(UserMessage(nothing, (Text("On."),)))
    assert bench.model is not None
    bench.model._turns = ["?", "on", "then"]
    assert (await within(session.wait())).text == "then"
    assert users(await session.history()) == ["Go.", "On.", "And then?"]


async def test_answers_may_be_sent_as_events(bench: Bench) -> None:
    """S003-19, 20: a result for an external call, a verdict on another."""
    lookup = godwit.ToolDefinition("lookup", "Look it up.", {"type": "object", "properties": {}})
    session = await bench.start([call("lookup") + call("note", text="a"), "done"], lookup, note, permissions={"note": "ask"})
    await session.prompt("Go.")
    await until_type(session, "run.parked")
    actions = {p.name: p.id for p in await session.approvals.pending()}
    await session.send_event(UserAnswer(actions["lookup"], "result", content=(Text("found"),)))
    await session.send_event(UserAnswer(actions["note"], "deny", reason="not now"))
    assert (await within(session.wait())).text == "done"
    results = {m.name: (m.status, m.text) for m in await session.history() if isinstance(m, ToolResult)}
    assert results["lookup"] == ("ok", "found")
    assert results["note"][0] == "denied"
    assert "not now" in results["note"][1]
    with pytest.raises(ActionNotFound):
        await session.send_event(UserAnswer(ActionId("act_none"), "approve"))


async def test_abort_ends_a_run_whose_tool_does_not_heed_its_token(bench: Bench) -> None:
    """S002-15, 16."""
    entered, asked, release = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @godwit.tool
    async def stubborn(ctx: godwit.ToolContext) -> str:
        entered.set()
        await ctx.cancel.wait()
        asked.set()
        await release.wait()
        return "never comes here"

    runtime = await bench.runtime([call("stubborn"), "after"], grace_s=60.0)
    session = await bench.start([call("stubborn"), "after"], stubborn, runtime=runtime)
    run = await session.prompt("Go.")
    await within(entered.wait())
    cancelling = asyncio.create_task(session.cancel())
    await within(asked.wait())
    assert not cancelling.done(), "cancel waits for the grace"
    assert await within(session.abort()) is True
    assert await within(cancelling) is True
    assert (await within(session.wait(run))).outcome == "interrupted"
    assert (await within(session.send("On."))).text == "after"
    release.set()


async def test_config_tells_what_the_next_run_uses(bench: Bench) -> None:
    """S002-21, 24, 25."""
    known = {MODEL: ScriptedModel(["hello"], MODEL), "scripted:other": ScriptedModel([], "scripted:other")}
    runtime = await bench.runtime(["hello"], models=known)
    agent = godwit.Agent("tester", model=MODEL, instructions="Be brief.", thinking="low")
    session = await runtime.start_session(agent, workspace=bench.workspace, environment={"A": "1"})
    config = session.config
    assert (config.model, config.thinking, config.steer_mode) == (MODEL, "low", "skip")
    assert (config.agent, config.spec.instructions, config.environment) == (session.agent, "Be brief.", {"A": "1"})
    await session.set_model("scripted:other")
    await session.set_thinking("high")
    assert (session.model, session.thinking) == ("scripted:other", "high")
    await bench.close()
    other = ScriptedModel(["from the other"], "scripted:other")
    again = await (await bench.runtime(models={"scripted:other": other})).open_session(session.id)
    assert (again.config.model, again.config.thinking) == ("scripted:other", "high"), "durable"
    assert (await within(again.send("Hi."))).text == "from the other"
    assert other.requests[0].settings.thinking == "high"


async def test_an_open_run_keeps_its_model_for_all_its_turns(bench: Bench) -> None:
    """S002-22, 23: the settings of a run are those at its start."""
    gate = Gate()
    first = ScriptedModel([call("gate"), "still the first"], "scripted:first")
    second = ScriptedModel(["?", "?", "now the second"], "scripted:second")
    runtime = await bench.runtime(models={"scripted:first": first, "scripted:second": second})
    session = await bench.start([], gate.tool, runtime=runtime, model="scripted:first")
    await session.prompt("Go.")
    await within(gate.entered.wait())
    await session.set_model("scripted:second")
    await session.set_thinking("high")
    gate.release.set()
    assert (await within(session.wait())).text == "still the first"
    assert [r.settings.thinking for r in first.requests] == [None, None]
    assert (await within(session.send("Again."))).text == "now the second"
    assert [r.settings.thinking for r in second.requests] == ["high"]


async def test_start_session_settles_agent_tools_and_folder_in_one_call(bench: Bench) -> None:
    """S002-01, 02."""
    runtime = await bench.runtime(["hello"])
    agent = godwit.Agent("tester", model=MODEL, tools=[note])
    session = await runtime.start_session(agent, workspace=bench.workspace, name="first try", metadata={"ticket": "7"})
    assert (session.agent.name, session.agent.version, session.model) == ("tester", 1, MODEL)
    assert session.tool_names() == ["note"]
    await session.command_tx().send(UserMessage(InputId(""), (Text("Hi."),)))
    assert (await within(anext(session.event_rx()))).type == "user.message"
    assert (await within(session.wait())).text == "hello"
    await session.save()
    row = (await runtime.sessions())[0]
    assert (row.id, row.name, row.workspace) == (session.id, "first try", session.workspace)
    with pytest.raises(InvalidArgument):
        await runtime.start_session(agent, workspace=bench.workspace / "nowhere")
    with pytest.raises(ToolNotFound):
        await runtime.start_session(godwit.Agent("tester", model=MODEL, tools=["no such tool"]))
    with pytest.raises(AgentNotFound):
        await runtime.start_session("nobody")
