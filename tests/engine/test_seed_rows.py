"""Rows of docs/seeds.md whose meaning no other test shows: each test runs one promise of the five seed pages."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

import godwit
from godwit.contracts import Execution, FileInfo, Model, StoredArtifact, Workspace
from godwit.core.artifact import ArtifactLimits
from godwit.core.errors import (
    ActionNotFound,
    AgentNotFound,
    ArtifactNotFound,
    CheckpointNotFound,
    GodwitError,
    InvalidArgument,
    ModelNotFound,
    ModelRefused,
    NoOpenRun,
    RunFailed,
    SessionArchived,
    SessionBusy,
    SessionClosed,
    SessionNotFound,
    ToolNotFound,
)
from godwit.core.events import (
    ActionClosed,
    AgentMessage,
    InputDelivered,
    RunFinished,
    RunStarted,
    ToolFinished,
    ToolStarted,
    UserAnswer,
    UserInterrupt,
    UserMessage,
)
from godwit.core.ids import ActionId, ArtifactRef, InputId, MessageId, SequentialIds, SessionId, SystemClock
from godwit.core.messages import Assistant, Image, Message, Text, ToolResult, Usage, User
from godwit.core.sandbox import SandboxPolicy
from godwit.engine.session import Session
from godwit.models.script import Script, ScriptedModel, call, end, hold, say
from godwit.stores.sqlite import SqliteStore
from godwit.tools.toolbox import Toolbox

from .conftest import MODEL, Bench, data, types, until_type, within

PIXEL = b"\x89PNG\r\n\x1a\n"


class Gate:
    """A tool that waits until the test lets it go, and knows its call's token."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.release = asyncio.Event()
        self.context: godwit.ToolContext | None = None

        @godwit.tool
        async def gate(ctx: godwit.ToolContext) -> str:
            """Wait."""
            self.context = ctx
            self.entered.set()
            waits = [asyncio.ensure_future(self.release.wait()), asyncio.ensure_future(ctx.cancel.wait())]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
            return "went through"

        self.tool = gate


@godwit.tool
def note(text: str) -> str:
    """Write a note."""
    return f"noted {text}"


def users(history: tuple[Any, ...]) -> list[str]:
    return ["".join(b.text for b in m.content if isinstance(b, Text)) for m in history if isinstance(m, User)]


# --- 001: the workspace-bound session -------------------------------------------------------------------------------


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


# --- 002: prompts, queues, events -----------------------------------------------------------------------------------


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


# --- 003: the runtime -----------------------------------------------------------------------------------------------


class Shelf:
    """A workspace that is no folder: a dict. Only what the `files` tools need here."""

    root = "/shelf"

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    async def read(self, path: str) -> bytes:
        return self.files[path]

    async def write(self, path: str, content: bytes, *, create_only: bool = False) -> None:
        self.files[path] = content

    async def delete(self, path: str) -> None:
        del self.files[path]

    async def info(self, path: str) -> FileInfo | None:
        return FileInfo(path, "file", len(self.files[path]), 0) if path in self.files else None

    async def listdir(self, path: str = ".") -> list[FileInfo]:
        return [FileInfo(p, "file", len(c), 0) for p, c in self.files.items()]

    async def glob(self, pattern: str, path: str = ".", *, limit: int = 1000) -> list[FileInfo]:
        return await self.listdir()

    async def grep(
        self, pattern: str, path: str = ".", *, glob: str | None = None, ignore_case: bool = False, limit: int = 1000
    ) -> list[tuple[str, int, str]]:
        return []

    async def execute(self, command: str, *, output: Any, **options: Any) -> Execution:
        output(f"would run {command}".encode())
        return Execution(0)


NO_LIMITS = ArtifactLimits()


class BoxStore(SqliteStore):
    """A store that keeps artifacts in a place of its own."""

    box: dict[str, tuple[StoredArtifact, bytes]]

    async def put_artifact(
        self,
        session: SessionId,
        content: bytes,
        media_type: str,
        *,
        limits: ArtifactLimits = NO_LIMITS,
        pinned: bool = False,
    ) -> StoredArtifact:
        stored = StoredArtifact(ArtifactRef(f"box:{len(self.box)}"), len(content), media_type)
        self.box[stored.ref] = (stored, content)
        return stored

    async def get_artifact(self, ref: ArtifactRef) -> tuple[StoredArtifact, bytes]:
        return self.box[ref]


class OneModel:
    """A registry that knows a single model under any name."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def resolve(self, name: str) -> Model:
        return self.model


async def test_a_runtime_is_made_of_exchangeable_parts(tmp_path: Path) -> None:
    """S003-03: store, models, tools, workspace, clock and ids all come from the host."""
    shelf, store = Shelf(), BoxStore.open(":memory:")
    store.box = {}

    @godwit.tool
    async def put(text: str, ctx: godwit.ToolContext) -> str:
        """Put it on the shelf."""
        await ctx.workspace.write("a", text.encode())
        return "x" * 200_000

    def workspace(_session: str, _root: str, _environment: Mapping[str, str], _sandbox: SandboxPolicy) -> Workspace:
        return shelf

    runtime = godwit.Runtime(
        store=store,
        models=OneModel(ScriptedModel([call("put", text="hello"), "done"], "own:model")),
        toolbox=Toolbox([put]),
        workspace=workspace,
        clock=SystemClock(),
        ids=SequentialIds(),
    )
    async with runtime:
        session = await runtime.start_session(godwit.Agent("tester", model="any:name", tools=["put"]), workspace=tmp_path)
        assert (await within(session.send("Go."))).text == "done"
        assert shelf.files == {"a": b"hello"}
        assert (await data(session, ToolFinished))[0].metadata["artifact"] == "box:0"
        assert len(await runtime.get_artifact("box:0")) == 200_000


async def test_a_whole_life_of_an_agent(bench: Bench) -> None:
    """S003-01: define, start, talk, interrupt, pause, resume in another process, archive, delete."""
    gate = Gate()
    agent = godwit.Agent("tester", model=MODEL, tools=[gate.tool])
    script: Script = ["hello", call("gate"), "after the pause"]
    runtime = await bench.runtime(script)
    session = await runtime.start_session(await runtime.create(agent))
    with pytest.raises(ToolNotFound):
        await (await bench.runtime(script)).open_session(session.id)  # a process that lacks the agent's functions
    await session.send_event(UserMessage(InputId(""), (Text("Hi."),)))
    assert (await within(session.wait())).text == "hello"
    await session.prompt("Work.")
    await within(gate.entered.wait())
    pausing = asyncio.create_task(session.pause())
    await until_type(session, "session.paused")
    gate.release.set()
    await within(pausing)
    assert await runtime.status(session.id) == "paused"
    await bench.close()
    runtime = await bench.runtime(script)
    session = await runtime.open_session(session.id, agent=agent)
    await session.resume()
    assert (await within(session.wait())).text == "after the pause"
    assert await session.interrupt() is False
    follower = session.follow()
    await runtime.archive(session.id)
    seen = [(await within(anext(follower))).type]
    while seen[-1] != "session.archived":
        seen.append((await within(anext(follower))).type)
    assert seen == await types(session)
    await runtime.delete_session(session.id)
    assert await runtime.sessions() == []


async def test_every_call_fails_within_one_family_of_errors(bench: Bench) -> None:
    """S003-04."""
    runtime = await bench.runtime(["hello"])
    session = await bench.start(["hello"], runtime=runtime)
    await within(session.send("Hi."))
    await runtime.archive(session.id)
    refused: list[tuple[Any, type[GodwitError]]] = [
        (runtime.open_session("ses_none"), SessionNotFound),
        (runtime.status("ses_none"), SessionNotFound),
        (runtime.archive("ses_none"), SessionNotFound),
        (runtime.delete_session("ses_none"), SessionNotFound),
        (runtime.start_session("nobody"), AgentNotFound),
        (runtime.get_artifact("none"), ArtifactNotFound),
        (session.send("x"), SessionArchived),
        (session.pause(), SessionArchived),
        (session.steer("x"), SessionArchived),
        (session.follow_up("x"), SessionArchived),
        (session.approve("none"), ActionNotFound),
        (session.set_model("x:y"), ModelNotFound),
        (session.set_model(MODEL), SessionArchived),
        (session.resume_run("none"), CheckpointNotFound),
    ]
    for work, kind in refused:
        with pytest.raises(GodwitError) as failed:
            await within(work)
        assert isinstance(failed.value, kind), failed.value
        assert failed.value.code
        assert failed.value.message
        assert failed.value.fault().code == failed.value.code


async def test_one_runtime_serves_many_tasks(bench: Bench) -> None:
    """S003-07."""
    runtime = await bench.runtime(["hello"])
    agent = godwit.Agent("tester", model=MODEL)

    async def one(number: int) -> tuple[str, str]:
        session = await runtime.start_session(agent)
        result = await session.send(f"I am {number}.")
        return session.id, users(await session.history())[0] + result.text

    done = await within(asyncio.gather(*(one(n) for n in range(50))))
    assert len({session for session, _ in done}) == 50
    assert [text for _, text in done] == [f"I am {n}.hello" for n in range(50)]


async def test_create_stores_versions_of_an_agent(bench: Bench) -> None:
    """S003-08, 10."""
    runtime = await bench.runtime(["hello"])
    first = await runtime.create(godwit.Agent("tester", model=MODEL, instructions="One."))
    assert await runtime.create(godwit.Agent("tester", model=MODEL, instructions="One.")) == first
    second = await runtime.create(godwit.Agent("tester", model=MODEL, instructions="Two."))
    assert (first.version, second.version) == (1, 2)
    for handle, says in ((first, "One."), (second, "Two."), ("tester", "Two.")):
        session = await runtime.start_session(handle)
        assert (await within(session.send("Hi."))).text == "hello"
        assert session.config.spec.instructions == says


async def test_a_new_session_is_queued_until_it_runs(bench: Bench) -> None:
    """S003-11, 12, 13, 31."""
    session = await bench.start(["hello"])
    runtime = bench.runtimes[0]
    assert (await session.status(), await runtime.status(session.id)) == ("queued", "queued")
    assert (await within(session.send("Hi."))).text == "hello", "the handle is ready for events"
    assert (await session.status(), await runtime.status(session.id)) == ("idle", "idle")


async def test_a_started_session_hears_other_processes(bench: Bench) -> None:
    """S003-13: ready for events also before its first run, wherever they come from."""
    session = await bench.start(["hello"])
    other = await bench.runtime()
    watching = await other.open_session(session.id, drive=False)
    run = await watching.prompt("Hi.")
    assert (await within(watching.wait(run))).text == "hello"


async def test_folder_and_variables_are_honoured(bench: Bench) -> None:
    """S003-14."""
    runtime = await bench.runtime([call("bash", command='printf "%s in %s" "$GREETING" "$(basename "$PWD")"'), "done"])
    agent = godwit.Agent("tester", model=MODEL, tools=["bash"])
    session = await runtime.start_session(agent, workspace=bench.workspace, environment={"GREETING": "ahoy"})
    await within(session.send("Go."))
    result = next(m for m in await session.history() if isinstance(m, ToolResult))
    assert "ahoy in workspace" in result.text


async def test_from_seq_gives_greater_seqs_then_what_comes(bench: Bench) -> None:
    """S003-21, 22."""
    session = await bench.start(["one", "two"])
    await within(session.send("First."))
    head = (await session.events())[-1].seq
    for start in (0, 3, head):
        assert [e.seq for e in await session.events(start)] == list(range(start + 1, head + 1))
    seen: list[int] = []
    joined = asyncio.Event()

    async def read() -> None:
        async for event in session.follow(3):
            seen.append(event.seq)
            if event.seq == head:
                joined.set()
            if event.type == "run.finished" and event.seq > head:
                return

    reader = asyncio.create_task(read())
    await within(joined.wait())
    await within(session.send("Second."))
    await within(reader)
    assert seen == list(range(4, (await session.events())[-1].seq + 1))
    nothing = session.follow(seen[-1] + 100)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(anext(nothing), 0.05)
        pytest.fail("there are no events yet beyond the head")


async def test_watching_without_from_seq_shows_only_what_is_new(bench: Bench) -> None:
    """S003-23."""
    session = await bench.start(["one", "two"])
    await within(session.send("First."))
    head = (await session.events())[-1].seq
    watching = session.watch()
    first = asyncio.ensure_future(anext(watching))
    await asyncio.sleep(0)
    await within(session.send("Second."))
    event = await within(first)
    assert isinstance(event, godwit.Event)
    assert event.seq == head + 1


async def test_interrupt_stops_and_leaves_an_idle_session(bench: Bench) -> None:
    """S003-24, 25."""
    gate = Gate()
    session = await bench.start([call("gate"), "usable"], gate.tool)
    await session.prompt("Go.")
    await within(gate.entered.wait())
    assert await within(session.interrupt()) is True
    assert await session.status() == "idle"
    assert (await types(session))[-1] == "run.finished"
    assert (await within(session.send("Again."))).text == "usable"


async def test_a_paused_session_takes_nothing_and_its_state_is_on_disk(bench: Bench) -> None:
    """S003-26, 27, 28."""
    gate = Gate()
    session = await bench.start([call("gate"), "done"], gate.tool)
    await session.prompt("Go.")
    await within(gate.entered.wait())
    pausing = asyncio.create_task(session.pause())
    await until_type(session, "session.paused")
    gate.release.set()
    await within(pausing)
    assert await session.status() == "paused"
    await session.follow_up("Wait for me.")
    delivered = len(await data(session, InputDelivered))
    # Another process may look, answer and queue, and takes nothing either.
    runtime = await bench.runtime(["done", "done"])
    other = await runtime.open_session(session.id, agent=godwit.Agent("tester", model=MODEL, tools=[gate.tool]))
    assert await other.status() == "paused"
    assert [e.text for e in await other.queue.list()] == ["Wait for me."]
    state = await other.state()
    assert state == await session.state(), "all of it is on disk"
    assert state.run is not None
    assert (state.run.turns, state.run.tool_calls) == (1, 1)
    assert len(await data(session, InputDelivered)) == delivered
    assert await session.is_running()


async def test_resume_goes_on_after_a_restart(bench: Bench) -> None:
    """S003-29, 30."""
    gate = Gate()
    script: Script = [call("note", text="a") + call("gate"), "resumed"]
    session = await bench.start(script, note, gate.tool)
    run = await session.prompt("Go.")
    await within(gate.entered.wait())
    pausing = asyncio.create_task(session.pause())
    await until_type(session, "session.paused")
    gate.release.set()
    await within(pausing)
    await bench.close()
    runtime = await bench.runtime(script)
    again = await runtime.open_session(session.id, agent=godwit.Agent("tester", model=MODEL, tools=[note, gate.tool]))
    assert await again.resume() is True
    assert await again.status() in ("queued", "running", "idle")
    assert (await within(again.wait(run))).text == "resumed"
    assert len([d for d in await data(again, ToolStarted) if d.name == "note"]) == 1
    assert await again.resume() is False


async def test_archiving_stops_the_run_and_keeps_the_log(bench: Bench) -> None:
    """S003-32, 33, 34."""
    gate = Gate()
    session = await bench.start([call("gate"), "never"], gate.tool)
    runtime = bench.runtimes[0]
    await session.prompt("Go.")
    await within(gate.entered.wait())
    await within(runtime.archive(session.id))
    assert await runtime.status(session.id) == "archived"
    assert [d.outcome for d in await data(session, RunFinished)] == ["interrupted"]
    assert (await types(session))[-1] == "session.archived"
    assert users(await session.history()) == ["Go."]
    with pytest.raises(SessionArchived):
        await session.send("More.")
    assert [r.id for r in await runtime.sessions(include_archived=False)] == []


class NotingStore(SqliteStore):
    """The real store; it notes the status of what is to be deleted."""

    found: list[str]

    async def delete(self, session: SessionId) -> None:
        self.found.append((await self.session(session)).status)
        await super().delete(session)


async def test_deleting_archives_first_and_leaves_nothing(bench: Bench) -> None:
    """S003-35, 36, 37."""
    store = NotingStore.open(bench.path)
    store.found = []

    @godwit.tool
    def much() -> str:
        return "line\n" * 50_000

    runtime = await bench.runtime([call("much"), "done"], store=store)
    session = await bench.start([call("much"), "done"], much, runtime=runtime)
    await within(session.send("Go."))
    ref = (await data(session, ToolFinished))[0].metadata["artifact"]
    assert await runtime.get_artifact(ref)
    assert await runtime.status(session.id) == "idle"
    await within(runtime.delete_session(session.id))
    assert store.found == ["archived"]
    with pytest.raises(SessionNotFound):
        await runtime.status(session.id)
    with pytest.raises(SessionNotFound):
        await runtime.delete_session(session.id)
    with pytest.raises(ArtifactNotFound):
        await runtime.get_artifact(ref)
    assert await runtime.sessions() == []
    with sqlite3.connect(f"file:{bench.path}?mode=ro", uri=True) as file:
        tables = [t for (t,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            columns = [c[1] for c in file.execute(f"PRAGMA table_info({table})")]
            for column in columns:
                found = file.execute(f"SELECT count(*) FROM {table} WHERE {column} = ?", (session.id,)).fetchone()
                assert found == (0,), f"{table}.{column} still names the session"
    file.close()


async def test_the_answer_reads_the_same_from_any_model() -> None:
    """S003-02: what a session does does not depend on which model, or how it chunks its answer."""
    logs = []
    for name, chunk in (("first:model", None), ("second:model", 1)):
        model = ScriptedModel([call("note", text="a"), "It is done."], name, chunk=chunk)
        async with await godwit.Runtime.open(":memory:", models={name: model}, ids=SequentialIds()) as runtime:
            session = await runtime.start_session(godwit.Agent("tester", model=name, tools=[note]))
            await within(session.send("Go."))
            logs.append((await types(session), [m.message.text for m in await data(session, AgentMessage)]))
    assert logs[0] == logs[1]


def test_an_unknown_model_is_told_by_name() -> None:
    """S002-03, in part: the name is checked when it is resolved."""
    from godwit.models.registry import Registry

    with pytest.raises(ModelNotFound) as failed:
        Registry(environment={}).resolve("nobody:nothing")
    assert "nobody" in failed.value.message
