"""Rows of seed 001 in docs/seeds.md whose meaning no other test shows: the session bound to a workspace."""

from __future__ import annotations

import asyncio
import sys

import msgspec
import pytest

import godwit
from godwit.core.errors import ArtifactNotFound, CheckpointNotFound, ModelRefused, RunFailed, SessionClosed
from godwit.core.events import ActionClosed, RunFinished, RunStarted, ToolFinished
from godwit.core.ids import MessageId
from godwit.core.messages import Assistant, Image, Message, Text, ToolResult, Usage, User
from godwit.models.script import ScriptedModel, call, end, hold, say
from tests.engine.conftest import MODEL, Bench, data, until_type, within
from tests.engine.seed_words import Gate, note, users

PIXEL = b"\x89PNG\r\n\x1a\n"


async def test_all_work_happens_in_the_sessions_folder(bench: Bench) -> None:
    """S001-01, S002-28."""
    session = await bench.start(
        [
            call("write", file_path="a.txt", content="hello\n") + call("bash", command="pwd"),
            call("bash", command="cat a.txt"),
            "done",
        ],
        "files",
        "bash",
    )
    await within(session.send("Go."))
    assert session.workspace == session.cwd == str(bench.workspace.resolve())
    assert (bench.workspace / "a.txt").read_text() == "hello\n"
    results = [m.text for m in await session.history() if isinstance(m, ToolResult)]
    assert str(bench.workspace.resolve()) in results[1]
    assert "hello" in results[2]


async def test_history_grows_after_send_and_after_a_finished_stream(bench: Bench) -> None:
    """S001-02, 35, 47."""
    session = await bench.start(["one", "two"])
    assert await session.history() == ()
    await within(session.send("First."))
    assert [type(m) for m in await session.history()] == [User, Assistant]

    async def read() -> None:
        async for _ in session.stream("Second."):
            pass

    await within(read())
    assert users(await session.history()) == ["First.", "Second."]
    assert [m.text for m in await session.history() if isinstance(m, Assistant)] == ["one", "two"]
    assert bench.model is not None
    assert len(bench.model.requests[1].entries) == 3, "the second prompt came with the first exchange"


async def test_a_stream_with_a_given_history_uses_that_one(bench: Bench) -> None:
    """S001-48."""
    session = await bench.start(["own", "from the given one"])
    await within(session.send("First."))
    before = await session.history()
    given: list[Message] = [User((Text("a"),)), Assistant(MessageId("m1"), (Text("b"),))]
    said: list[str] = []

    async def read() -> None:
        async for item in session.stream("Second.", history=given):
            if isinstance(item, godwit.Delta):
                said.append(item.text)

    await within(read())
    assert "".join(said) == "from the given one"
    assert await session.history() == before
    assert bench.model is not None
    assert [type(e.message) for e in bench.model.requests[1].entries] == [User, Assistant, User]


async def test_a_closed_handle_refuses_at_once_and_starts_no_run(bench: Bench) -> None:
    """S001-08, 09, 33."""
    session = await bench.start(["never"])
    assert session.is_closed is False
    await within(session.close())
    assert session.is_closed is True
    await session.close()
    image = [Text("Look."), Image("image/png", PIXEL)]
    for refused in (session.send("x"), session.prompt("x"), session.send(image), session.prompt_and_wait("x")):
        with pytest.raises(SessionClosed) as closed:
            await refused
        assert closed.value.code == "session_closed"
    for streamed in (session.stream("x"), session.stream(image)):
        with pytest.raises(SessionClosed):
            await anext(streamed)
    assert not await data(session, RunStarted)


async def test_closing_refuses_before_the_open_run_has_ended(bench: Bench) -> None:
    """S001-27, 28, 29: closed first, then the tokens fall and the run is recorded as interrupted."""
    entered, release = asyncio.Event(), asyncio.Event()

    @godwit.tool
    async def slow(ctx: godwit.ToolContext) -> str:
        entered.set()
        await ctx.cancel.wait()
        await release.wait()
        return "cleaned up"

    session = await bench.start([call("slow"), "never"], slow)
    token = session.session_cancel_token
    run = await session.prompt("Go.")
    await within(entered.wait())
    closing = asyncio.create_task(session.close())
    await until_type(session, "user.interrupt")
    assert not closing.done()
    assert session.is_closed
    with pytest.raises(SessionClosed):
        await session.send("Too late.")
    release.set()
    await within(closing)
    assert token.cancelled
    finished = [d for d in await data(session, RunFinished) if d.run == run]
    assert [d.outcome for d in finished] == ["interrupted"]
    result = next(d for d in await data(session, ToolFinished))
    assert "cleaned up" in "".join(b.text for b in result.content if isinstance(b, Text)), "it had its grace"


async def test_a_session_can_be_opened_again_right_after_closing() -> None:
    """S001-27: closing is the handle's; in memory nothing yields between the two calls."""
    model = ScriptedModel(["hello", "hello again"], MODEL)
    async with await godwit.Runtime.open(":memory:", models={MODEL: model}) as runtime:
        session = await runtime.start_session(godwit.Agent("tester", model=MODEL))
        await within(session.send("Hi."))
        await session.close()
        again = await runtime.open_session(session.id)
        assert (await within(again.send("Hi."))).text == "hello again"


async def test_the_tokens_of_running_calls_fall_with_the_sessions(bench: Bench) -> None:
    """S001-10, 11, 12, 13."""
    gate = Gate()
    session = await bench.start([call("gate"), "never"], gate.tool)
    token = session.session_cancel_token
    watcher = asyncio.create_task(token.wait())
    run = await session.prompt("Go.")
    await within(gate.entered.wait())
    assert gate.context is not None
    assert not gate.context.cancel.cancelled
    assert not watcher.done()
    token.cancel()
    assert gate.context.cancel.cancelled, "the call's token is a child of the session's"
    await within(watcher)
    assert (await within(session.wait(run))).outcome == "interrupted"
    assert not session.is_closed, "cancelling the token is not closing"


async def test_another_sessions_token_is_left_alone(bench: Bench) -> None:
    """S001-11: the token is the session's, not the runtime's."""
    gate = Gate()
    first = await bench.start([call("gate"), "done"], gate.tool)
    second = await bench.start([], gate.tool, runtime=bench.runtimes[0])
    await first.prompt("Go.")
    await within(gate.entered.wait())
    second.session_cancel_token.cancel()
    gate.release.set()
    assert (await within(first.wait())).outcome == "done"


async def test_labels_are_kept_and_read_back(bench: Bench) -> None:
    """S001-15, 18, 19, 20: none by default, and the same after a restart."""
    runtime = await bench.runtime(["hello"])
    agent = godwit.Agent("tester", model=MODEL)
    plain = await runtime.start_session(agent)
    assert (plain.tenant_id, plain.principal, plain.agent_template_id, plain.correlation_id) == (None, None, None, None)
    labels = godwit.Labels(
        tenant="acme-corp", principal="user-42", agent_template="planner-v3", correlation="trace-deadbeef"
    )
    session = await runtime.start_session(agent, labels=labels)
    await within(session.send("Hi."))
    await bench.close()
    again = await (await bench.runtime()).open_session(session.id)
    assert again.labels == labels
    told = (again.tenant_id, again.principal, again.agent_template_id, again.correlation_id)
    assert told == ("acme-corp", "user-42", "planner-v3", "trace-deadbeef")


async def test_the_tenant_label_is_only_carried(bench: Bench) -> None:
    """S001-16: nobody is kept from anything by it; it can be asked for."""
    runtime = await bench.runtime(["hello", "hello again"])
    agent = godwit.Agent("tester", model=MODEL)
    odd = godwit.Labels(tenant="../; DROP TABLE events --")
    first = await runtime.start_session(agent, labels=odd)
    second = await runtime.start_session(agent, labels=godwit.Labels(tenant="other"))
    assert (await within(first.send("Hi."))).text == "hello"
    opened = await runtime.open_session(first.id)  # whoever holds the id holds the session
    assert (await within(opened.send("Hi."))).text == "hello again"
    assert [r.id for r in await runtime.sessions(tenant="other")] == [second.id]
    assert [r.id for r in await runtime.sessions(tenant=odd.tenant)] == [first.id]


async def test_the_correlation_id_travels_with_the_events(bench: Bench) -> None:
    """S001-21: on every event read through a handle, and in its frame; not in what is stored."""
    runtime = await bench.runtime(["hello"])
    agent = godwit.Agent("tester", model=MODEL)
    session = await runtime.start_session(agent, labels=godwit.Labels(tenant="acme", correlation="trace-1"))
    receiver = session.event_rx(0)
    run = await session.prompt("Hi.")
    seen = [await within(anext(receiver))]
    while seen[-1].type != "run.finished":
        seen.append(await within(anext(receiver)))
    for event in (*seen, *await session.events(), *await session.run_events(run)):
        assert event.labels == godwit.Labels(tenant="acme", correlation="trace-1")
        assert msgspec.json.decode(event.frame())["correlation"] == "trace-1"
        assert b"trace-1" not in event.body or event.type == "session.created"
    plain = await runtime.start_session(agent)
    assert "correlation" not in msgspec.json.decode((await plain.events())[0].frame())


async def test_send_waits_for_the_whole_answer(bench: Bench) -> None:
    """S001-34."""
    session = await bench.start([say("All of ") + say("it.") + end(usage=Usage(7, 3, requests=1))])
    result = await within(session.send("Go."))
    assert (result.outcome, result.text, result.usage.total_tokens) == ("done", "All of it.", 10)
    assert result.message == (await session.history())[-1]
    assert (await session.events())[-1].seq == result.seq


async def test_resume_run_takes_up_the_last_checkpoint_and_what_was_used(bench: Bench) -> None:
    """S001-38, 39, 40, 41: no new prompt, a new run id, usage and counts carried over, what was done stays done."""
    gate, noted = Gate(), []

    @godwit.tool
    def write(text: str) -> str:
        noted.append(text)
        return f"wrote {text}"

    session = await bench.start(
        [
            call("write", text="a") + end(usage=Usage(800, 200, requests=1)),
            call("gate") + end(usage=Usage(10, 10, requests=1)),
            say("finished") + end(usage=Usage(1, 1, requests=1)),
        ],
        write,
        gate.tool,
    )
    run = await session.prompt("Go.")
    await within(gate.entered.wait())
    await session.interrupt()
    stopped = await within(session.wait(run))
    result = await within(session.resume_run(run))
    assert result.text == "finished"
    assert result.run != run
    started = (await data(session, RunStarted))[-1]
    assert (started.resumes, started.run) == (run, result.run)
    assert result.usage.input_tokens == stopped.usage.input_tokens + 1 == 811
    assert result.tool_calls == stopped.tool_calls == 2
    assert noted == ["a"], "the call before the checkpoint ran once"
    assert users(await session.history()) == ["Go."]
    for unknown in (result.run, "run_never"):
        with pytest.raises(CheckpointNotFound):
            await session.resume_run(unknown)


async def test_resume_run_needs_no_store_of_its_own() -> None:
    """S001-41: there is always a store; one in memory has checkpoints too, and a run that never got to one says so."""
    model = ScriptedModel([call("note", text="a"), call("note", text="b"), "finished"], MODEL)
    async with await godwit.Runtime.open(":memory:", models={MODEL: model}) as runtime:
        agent = godwit.Agent("tester", model=MODEL, tools=[note], limits=godwit.Limits(max_turns=1))
        session = await runtime.start_session(agent)
        limited = await within(session.send("Go."))
        assert limited.outcome == "limited"
        assert (await within(session.resume_run(limited.run))).outcome == "limited"
        with pytest.raises(CheckpointNotFound):
            await session.resume_run("run_never")


async def test_attachments_are_blocks_of_the_user_message(bench: Bench) -> None:
    """S001-42, 43, 45: a prompt may be text with images or documents, sent or streamed."""
    session = await bench.start(["a pixel", "a page"])
    await within(session.send([Text("What is this?"), Image("image/png", PIXEL)]))

    async def read() -> None:
        async for _ in session.stream([Text("And this?"), godwit.Document("application/pdf", b"%PDF-1.7", name="a.pdf")]):
            pass

    await within(read())
    assert bench.model is not None
    asked = [e.message for e in bench.model.requests[1].entries if isinstance(e.message, User)]
    assert asked[0].content == (Text("What is this?"), Image("image/png", PIXEL))
    assert asked[1].content[1] == godwit.Document("application/pdf", b"%PDF-1.7", name="a.pdf")
    assert [m for m in await session.history() if isinstance(m, User)] == asked


async def test_cancel_says_whether_something_was_cancelled(bench: Bench) -> None:
    """S001-50, 51, 52, S002-14: it reaches the stream of a model and a running tool."""
    reached, gate = asyncio.Event(), Gate()
    session = await bench.start([say("half ") + hold(asyncio.Event(), reached=reached), "next"], gate.tool)
    assert await session.cancel() is False
    run = await session.prompt("Go.")
    await within(reached.wait())
    assert await within(session.cancel()) is True
    assert (await within(session.wait(run))).text == "half "
    assert bench.model is not None
    assert bench.model.cut
    bench.model._turns = ["?", call("gate"), "never"]
    run = await session.prompt("Again.")
    await within(gate.entered.wait())
    assert await within(session.cancel()) is True
    assert gate.context is not None
    assert gate.context.cancel.cancelled
    assert (await within(session.wait(run))).outcome == "interrupted"
    assert await session.cancel() is False


async def test_cancel_run_is_for_the_run_that_is_open(bench: Bench) -> None:
    """S001-53, 54."""
    gate = Gate()
    session = await bench.start(["one", call("gate"), "two"], gate.tool)
    old = (await within(session.send("Go."))).run
    assert await session.cancel_run(old) is False
    run = await session.prompt("Again.")
    await within(gate.entered.wait())
    assert await session.cancel_run(old) is False
    assert await session.is_running()
    assert await within(session.cancel_run(run)) is True
    assert await session.cancel_run(run) is False
    assert [d.outcome for d in await data(session, RunFinished)] == ["done", "interrupted"]


async def test_runs_are_told_from_the_log(bench: Bench) -> None:
    """S001-55, 56, 57: every run with its prompt, end and events, also after a restart."""
    session = await bench.start([call("note", text="a"), "first answer", ModelRefused("no"), "?"], note)
    assert await session.runs() == []
    first = await within(session.send("First."))
    with pytest.raises(RunFailed):
        await within(session.send("Second."))
    await bench.close()
    again = await (await bench.runtime(tools=[note])).open_session(session.id)
    one, two = await again.runs()
    assert (one.id, one.status, one.prompt, one.text) == (first.run, "done", "First.", "first answer")
    assert (one.turns, one.tool_calls, one.usage, one.attempt) == (2, 1, first.usage, 1)
    assert (two.status, two.error.code if two.error else None) == ("failed", "model_refused")
    assert await again.run_snapshot(first.run) == one
    assert await again.run_snapshot("run_never") is None
    events = await again.run_events(one.id)
    assert [e.type for e in events][:2] == ["user.message", "run.started"]
    assert events[-1].type == "run.finished"
    assert (len(events), events[0].seq, events[-1].seq) == (one.event_count, one.first_seq, one.last_seq)
    assert {e.run for e in events if e.run is not None} == {one.id}
    assert await again.run_events("run_never") == []
    assert one.created_ms <= one.updated_ms <= two.updated_ms


async def test_the_open_run_and_its_tools_can_be_looked_at(bench: Bench) -> None:
    """S001-58, 59."""
    gate = Gate()
    session = await bench.start([call("gate", id="c1") + call("note", text="a"), "never"], gate.tool, note)
    assert await session.current_run() is None
    assert await session.active_tools() == []
    run = await session.prompt("Go.")
    await within(gate.entered.wait())
    await until_type(session, "tool.finished")
    handle = await session.current_run()
    assert handle is not None
    assert (handle.id, await handle.status(), (await handle.snapshot()).prompt) == (run, "running", "Go.")
    active = await session.active_tools()
    assert [(a.call, a.name, a.arguments) for a in active] == [("c1", "gate", {})]
    assert active[0].started_ms > 0
    assert await within(handle.cancel()) is True
    assert (await within(handle.wait())).outcome == "interrupted"
    assert await handle.status() == "interrupted"
    assert (await handle.events())[-1].type == "run.finished"
    assert await session.current_run() is None
    assert await session.active_tools() == []


async def test_all_pending_confirmations_can_be_cancelled(bench: Bench) -> None:
    """S001-73."""
    lookup = godwit.ToolDefinition("lookup", "Look it up.", {"type": "object", "properties": {}})
    session = await bench.start(
        [call("note", text="a") + call("note", text="b") + call("lookup"), "done"], note, lookup, permissions={"note": "ask"}
    )
    assert await session.cancel_confirmations() == 0
    await session.prompt("Go.")
    await until_type(session, "run.parked")
    assert [p.name for p in await session.pending_confirmations()] == ["note", "note"], "external calls are no approvals"
    assert await session.cancel_confirmations() == 2
    assert await session.pending_confirmations() == []
    await session.answer((await session.approvals.pending())[0].id, "found")
    await within(session.wait())
    results = [m for m in await session.history() if isinstance(m, ToolResult)]
    assert [m.status for m in results] == ["denied", "denied", "ok"]
    assert "cancelled" in results[0].text


async def test_closing_cancels_what_is_pending(bench: Bench) -> None:
    """S001-32."""
    session = await bench.start([call("note", text="a"), "never"], note, permissions={"note": "ask"})
    run = await session.prompt("Go.")
    await until_type(session, "run.parked")
    await within(session.close())
    again = await bench.runtimes[0].open_session(session.id)
    assert await again.approvals.pending() == []
    assert [d.reason for d in await data(again, ActionClosed)] == ["interrupted"]
    assert (await within(again.wait(run))).outcome == "interrupted"


async def test_confirm_tool_use_tells_whether_it_was_pending(bench: Bench) -> None:
    """S001-70, 71, 72."""
    session = await bench.start(
        [call("note", text="a", id="c1") + call("note", text="b", id="c2"), "done"], note, permissions={"note": "ask"}
    )
    assert await session.approvals.pending() == []
    assert await session.confirm_tool_use("c1", True) is False, "nothing is pending yet"
    await session.prompt("Go.")
    await until_type(session, "run.parked")
    assert [(p.call, p.name, p.arguments) for p in await session.approvals.pending()] == [
        ("c1", "note", {"text": "a"}),
        ("c2", "note", {"text": "b"}),
    ]
    assert await session.confirm_tool_use("c1", True) is True
    assert await session.confirm_tool_use("c2", False, "not that one") is True
    await within(session.wait())
    assert await session.confirm_tool_use("c1", True) is False
    assert [m.status for m in await session.history() if isinstance(m, ToolResult)] == ["ok", "denied"]
    free = await bench.start(["hello"])
    assert await free.confirm_tool_use("c1", True) is False, "nothing of this agent is ever asked about"


async def test_a_session_has_an_id_of_its_own_or_the_given_one(bench: Bench) -> None:
    """S001-76."""
    first = await bench.start(["x"])
    second = await bench.start([], runtime=bench.runtimes[0])
    given = await bench.runtimes[0].start_session(godwit.Agent("tester", model=MODEL), session="ses_mine")
    assert len({first.id, second.id, given.id}) == 3
    assert given.id == "ses_mine"
    assert {r.id for r in await bench.runtimes[0].sessions()} == {first.id, second.id, given.id}


async def test_tool_definitions_and_names_are_what_the_model_is_told(bench: Bench) -> None:
    """S001-77, 79."""
    lookup = godwit.ToolDefinition("lookup", "Look it up.", {"type": "object", "properties": {"q": {"type": "string"}}})
    session = await bench.start(["hello"], note, "files", "bash", lookup)
    definitions = session.tool_definitions()
    assert session.tool_names() == [d.name for d in definitions]
    assert session.tool_names()[0] == "note"
    assert session.tool_names()[-1] == "lookup"
    assert {"read", "write", "bash"} < set(session.tool_names())
    assert definitions[0].description == "Write a note."
    assert definitions[0].parameters["properties"]["text"]["type"] == "string"
    await within(session.send("Hi."))
    assert bench.model is not None
    assert list(bench.model.requests[0].tools) == definitions


async def test_an_artifact_that_is_not_there_is_not_found(bench: Bench) -> None:
    """S001-80."""
    runtime = await bench.runtime()
    with pytest.raises(ArtifactNotFound):
        await runtime.get_artifact("sha256:0000")


READ_FROM_ANOTHER_PROCESS = """
import asyncio, sys
from godwit.stores.sqlite import SqliteStore
async def main():
    async with SqliteStore.open(sys.argv[1]) as store:
        print([e.type for e in await store.read(sys.argv[2])][-1])
asyncio.run(main())
"""


async def test_save_is_a_barrier_and_needs_no_file(bench: Bench) -> None:
    """S001-91, 92: after it another process reads everything; in memory it has nothing to do and says nothing."""
    session = await bench.start(["hello"])
    await within(session.send("Hi."))
    await within(session.save())
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", READ_FROM_ANOTHER_PROCESS, str(bench.path), session.id, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await within(process.communicate())
    assert out.decode().strip() == "run.finished"
    async with await godwit.Runtime.open(":memory:", models={MODEL: ScriptedModel(["hello"], MODEL)}) as runtime:
        kept_nowhere = await runtime.start_session(godwit.Agent("tester", model=MODEL))
        await within(kept_nowhere.send("Hi."))
        await within(kept_nowhere.save())
