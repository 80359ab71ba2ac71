"""The built-in slash commands: what each tells of a session and does to it."""

from __future__ import annotations

import asyncio

import msgspec

import godwit
from godwit.core.agent import AgentSpec
from godwit.core.budget import Budget
from godwit.core.events import UserAnswer, UserMessage
from godwit.core.hooks import HookMatcher, HookResult, HookSpec
from godwit.core.ids import AgentName
from godwit.core.messages import Usage
from godwit.core.verification import VerificationCommand, VerificationPolicy
from godwit.engine.builtin_commands import CommandContext
from godwit.engine.permissions import Policy
from godwit.models.script import Script, ScriptedModel, call, hold, say
from tests.engine.command_words import PING, said

from .conftest import MODEL, Bench, data, until_type, within


async def test_help_lists_all_and_explains_one(bench: Bench) -> None:
    session = await bench.start([])
    session.register_command(PING)
    text = await said(session, "/help")
    for command in session.command_registry().commands():
        assert f"/{command.name}" in text
        assert command.description in text
    one = await said(session, "/help /model")
    assert one.splitlines()[0] == "/model [PROVIDER:MODEL]"
    assert "Unknown command: /nothing" in await said(session, "/help nothing")


async def test_cost_and_status_tell_what_was_used(bench: Bench) -> None:
    """Seed 001: "/cost" with 5000 tokens and 0.0123 shows both."""
    session = await bench.start([])
    assert "Cost: unknown" in await said(session, "/cost")
    commands = session.command_registry()
    state = msgspec.structs.replace(await session.state(), usage=Usage(4000, 1000, cost_usd=0.0123), turns=1)
    context = CommandContext(session, commands, state, Policy([]))
    cost = await commands.dispatch("/cost", context)
    assert cost is not None
    assert cost.text.splitlines() == [
        f"Session: {session.id}",
        f"Model: {MODEL}",
        "Tokens: 5000 (4000 in, 1000 out)",
        "Cost: $0.0123",
    ]
    status = await commands.dispatch("/status", context)
    assert status is not None
    for shown in ("Status: queued", "Turns: 1", "5000, $0.0123", f"Workspace: {session.workspace}", "To answer: 0"):
        assert shown in status.text


async def test_model_thinking_and_name_are_shown_and_set(bench: Bench) -> None:
    """Seed 001: "/model" tells the model, "/model a" switches it."""
    other = ScriptedModel([], "scripted:other")
    runtime = await bench.runtime([], models={MODEL: ScriptedModel([], MODEL), "scripted:other": other})
    session = await bench.start([], runtime=runtime)
    assert await said(session, "/model") == f"Current model: {MODEL}"
    await said(session, "/model scripted:other")
    assert session.model == "scripted:other"
    wrong = await within(session.send("/model gpt-4o"))
    assert wrong.outcome == "failed"
    assert session.model == "scripted:other"
    assert "as the model does" in await said(session, "/thinking")
    await said(session, "/thinking high")
    assert session.thinking == "high"
    assert "none of off" in await said(session, "/thinking much")
    await said(session, "/name my work")
    assert (await session.state()).name == "my work"
    assert "needs something" in await said(session, "/name")


async def test_history_runs_tools_and_mcp_are_listed(bench: Bench) -> None:
    session = await bench.start([call("bash", command="echo hi"), "done"], "files", "bash")
    await within(session.send("Say hi."))
    history = (await said(session, "/history")).splitlines()
    assert history[0] == "Messages: 4"
    assert history[1:] == ["  user: Say hi.", "  assistant:  → bash", "  bash: hi", "  assistant: done"]
    assert (await said(session, "/history 1")).splitlines() == ["Messages: 4", "  … 3 before", "  assistant: done"]
    assert "no count" in await said(session, "/history many")
    runs = (await said(session, "/runs")).splitlines()
    assert runs[0] == "Runs: 1"
    assert "done, 2 turns, 1 call  Say hi." in runs[1]
    tools = (await said(session, "/tools")).splitlines()
    assert tools[0] == f"Tools: {len(session.tool_names())} total"
    assert tools[1].startswith(f"Builtin ({len(session.tool_names())}): ")
    assert await said(session, "/mcp") == "No MCP servers connected."
    assert await said(session, "/artifacts") == "Artifacts: 0"
    assert "takes nothing" in await said(session, "/mcp x")


async def test_a_run_is_steered_and_interrupted_by_commands(bench: Bench) -> None:
    gate = asyncio.Event()
    session = await bench.start([hold(gate) + say("first"), "after the steer", "after the follow-up"])
    assert "no run is open" in (await said(session, "/steer Stop."))
    assert await said(session, "/interrupt") == "No run is open."
    run = await session.prompt("Go.")
    await until_type(session, "model.started")
    await said(session, "/steer Be brief.", sender="ada")
    await said(session, "/follow-up Then rest.")
    await said(session, "/follow-up Not this.")
    queued = (await said(session, "/queue")).splitlines()
    assert queued[0] == "Queue: 3 messages"
    last = queued[3].split()[0]
    assert await said(session, f"/queue withdraw {last}") == f"Withdrawn: {last}"
    assert "no waiting" in await said(session, f"/queue withdraw {last}")
    assert "type /queue" in await said(session, "/queue clear")
    gate.set()
    assert (await within(session.wait(run))).text == "after the follow-up"
    assert [m.sender for m in await data(session, UserMessage)][1] == "ada"


async def test_interrupt_and_stop_end_the_run(bench: Bench) -> None:
    never = asyncio.Event()
    session = await bench.start([hold(never) + say("x"), hold(never) + say("x")])
    for text in ("/interrupt", "/stop force"):
        run = await session.prompt("Go.")
        await until_type(session, "model.started", (await session.events())[-1].seq - 1)
        assert await said(session, text) == "Interrupted."
        assert (await within(session.wait(run))).outcome == "interrupted"
    assert "type /interrupt" in await said(session, "/interrupt now")


async def test_pause_and_resume(bench: Bench) -> None:
    session = await bench.start(["done"])
    assert "Paused" in await said(session, "/pause lunch")
    assert await said(session, "/pause") == "It was paused already."
    assert "Status: paused" in await said(session, "/status")
    assert await said(session, "/resume") == "It goes on."
    assert await said(session, "/resume") == "It was not paused."


async def test_what_waits_is_listed_and_answered(bench: Bench) -> None:
    question = godwit.ToolDefinition("ask", "Ask.", {"type": "object", "properties": {}})
    session = await bench.start(
        [
            call("bash", command="echo one") + call("bash", command="echo two\u202e"),
            call("ask"),
            "done",
        ],
        "bash",
        question,
        permissions={"bash": "ask"},
    )
    assert await said(session, "/pending") == "To answer: 0"
    assert "nothing waits" in await said(session, "/approve")
    run = await session.prompt("Go.")
    await until_type(session, "run.parked")
    first, second = await session.approvals.pending()
    pending = await said(session, "/pending")
    assert "To answer: 2" in pending
    assert "echo two\\u202e" in pending
    assert "name one" in await said(session, "/approve")
    assert "name one" in await said(session, "/deny not this")
    assert (await said(session, f"/deny {second.id} not this", sender="ada")).startswith("Denied: bash")
    assert (await said(session, "/approve", sender="ada")).startswith("Approved: bash")
    external = await until_type(session, "run.parked", (await session.events())[-1].seq)
    assert external.run == run
    assert "nothing waits" in await said(session, "/approve")
    assert "needs something" in await said(session, "/answer")
    assert (await said(session, "/answer forty two")).startswith("Answered: ask")
    assert (await within(session.wait(run))).text == "done"
    answers = {e.data.action: e.data for e in await session.events() if e.type == "user.answer"}  # type: ignore[union-attr]
    assert answers[second.id].reason == "not this"  # type: ignore[union-attr]
    assert answers[first.id].sender == "ada"  # type: ignore[union-attr]


async def test_an_answer_is_remembered_as_far_as_it_says(bench: Bench) -> None:
    @godwit.tool
    def pay(amount: int) -> str:
        """Pay."""
        return f"paid {amount}"

    turns: Script = [call("pay", amount=1), call("pay", amount=1), "done"]
    session = await bench.start(turns, pay, permissions={"pay": "ask"})
    run = await session.prompt("Pay.")
    await until_type(session, "run.parked")
    (pending,) = await session.approvals.pending()
    assert pending.rules
    assert "may be remembered: " in await said(session, "/pending")
    assert "neither session nor always" in await said(session, f"/approve {pending.id} forever")
    answer = await said(session, "/approve session pay")
    assert answer.startswith("Approved, and so from now on in this session: pay")
    assert (await within(session.wait(run))).text == "done"
    (given,) = await data(session, UserAnswer)
    assert (given.remember, given.rule) == ("session", "pay")


async def test_permissions_lists_the_agents_rules_and_the_sessions(bench: Bench) -> None:
    rules = godwit.Permissions(allow=("read",), ask=("bash(git push:*)",), deny=("write(\u202e*)",), default="ask")
    session = await bench.start([], permissions=rules)
    await session.configure(permissions=godwit.Permissions(allow=("bash(ls)",)))
    assert (await said(session, "/permissions")).splitlines() == [
        "Permissions: ask what no rule is about",
        '  deny   "write(\\u202e*)"  (agent)',
        '  ask    "bash(git push:*)"  (agent)',
        '  allow  "read"  (agent)',
        '  allow  "bash(ls)"  (session)',
    ]
    assert (await said(session, "/permissions check bash git push origin")).startswith("ask: ")
    allowed = (await said(session, "/permissions check bash ls")).splitlines()
    assert allowed[0].startswith("allow: ")
    assert allowed[1].startswith('  allow  "ls"')
    assert (await said(session, "/permissions check read a.py")).startswith("allow: ")
    assert "nothing it does" in await said(session, "/permissions give")
    assert "needs something" in await said(session, "/permissions check")


async def test_verify_runs_the_projects_checks_and_nothing_that_is_typed(bench: Bench) -> None:
    policy = VerificationPolicy((VerificationCommand("one", "true"), VerificationCommand("two", "exit 3")), presets=False)
    runtime = await bench.runtime([])
    made = AgentSpec(AgentName("tester"), (MODEL,), verification=policy)
    session = await runtime.start_session(made, workspace=bench.workspace)
    both = (await said(session, "/verify")).splitlines()
    assert both[0] == "passed: one"
    assert both[1].startswith("failed: two (")
    assert both[2].startswith("Verification failed: 1 failed check in workspace")
    assert (await said(session, "/verify one")).splitlines()[0] == "passed: one"
    wrong = await within(session.send("/verify touch ran"))
    assert wrong.error is not None
    assert wrong.text == "/verify: no check is named 'touch ran': there are one, two"
    assert not (bench.workspace / "ran").exists()
    bare = await bench.start([], runtime=runtime)
    assert "nothing here says what to check" in await said(bare, "/verify")
    assert [r.subject for r in await session.verification_reports()] == ["workspace", "one"]


async def test_hooks_are_listed_and_what_they_report_is_recorded(bench: Bench) -> None:
    session = await bench.start([])
    assert await said(session, "/hooks") == "Hooks: 0"
    session.register_hook(HookSpec("lint", "after_tool", HookMatcher(tool="write"), command="ruff check"))
    session.register_hook(HookSpec("hello", "after_command"), lambda _: HookResult(message="well done"))
    assert (await said(session, "/hooks")).splitlines() == [
        "Hooks: 2",
        "  after_command  hello",
        "  after_tool  lint: ruff check  (when tool write)",
    ]
    result = await within(session.send("/cost"))
    events = await session.events()
    assert [e.type for e in events[-2:]] == ["hook.reported", "command.executed"]
    assert result.seq == events[-1].seq


async def test_a_budget_is_shown_and_set_limit_by_limit(bench: Bench) -> None:
    session = await bench.start(["one", "two"], budget=Budget(turns=3))
    await within(session.send("Go."))
    lines = (await said(session, "/budget")).splitlines()
    assert lines[:2] == ["Budget of the session: turns 3; at a limit it stops", "  turns: 1 of 3"]
    assert lines[2] == "Budget of the session and all that works for it: no limits"
    assert "1 turns, 0 tool_calls" in lines[3]
    set_ = await said(session, "/budget tokens=50000 on_limit=ask")
    assert set_ == "From the next prompt on: tokens 50000, turns 3; at a limit it asks"
    await said(session, "/budget turns=none scope=session")
    await said(session, "/budget usd=2.5 scope=tree")
    now = await session.budget()
    assert now is not None
    assert (now.limits, now.on_limit) == ({"tokens": 50000}, "ask")
    tree = await session.budget("tree")
    assert tree is not None
    assert tree.limits == {"usd": 2.5}
    for wrong in ("/budget tokens", "/budget tokens=-1", "/budget usd=nan", "/budget lunch=1", "/budget scope=all turns=1"):
        answer = await within(session.send(wrong))
        assert answer.outcome == "failed", wrong
    assert await session.budget() == now
    await said(session, "/budget none")
    assert await session.budget() == Budget(turns=3)


async def test_artifacts_are_listed_and_pinned(bench: Bench) -> None:
    session = await bench.start([call("bash", command="seq 1 60000"), "done"], "bash")
    await within(session.send("Count."))
    first, line = (await said(session, "/artifacts")).splitlines()
    assert first == "Artifacts: 1"
    ref = line.split()[0]
    assert await said(session, f"/artifacts pin {ref[:20]}") == f"Pinned: {ref}"
    assert await said(session, f"/artifacts pin {ref}") == "It was pinned already."
    assert (await said(session, "/artifacts 1")).endswith("  pinned")
    assert await said(session, f"/artifacts unpin {ref}") == f"Not pinned any more: {ref}"
    assert (await within(session.send("/artifacts pin nothing"))).outcome == "failed"
    assert "needs something" in await said(session, "/artifacts pin")


async def test_clear_begins_the_transcript_anew_and_keeps_the_log(bench: Bench) -> None:
    """Seed 001: "/clear" with 10 messages tells the 10."""
    session = await bench.start([f"answer {n}" for n in range(6)])
    assert await said(session, "/clear") == "Cleared 0 messages."
    for number in range(5):
        await within(session.send(f"Message {number}."))
    before = len(await session.events())
    assert "Cleared 10 messages." in await said(session, "/clear")
    assert await session.history() == ()
    assert len(await session.events()) > before
    assert "The last rewind is taken back." in await said(session, "/redo")
    assert len(await session.history()) == 10
    again = await within(session.send("/redo"))
    assert again.outcome == "failed"


async def test_rewind_diff_and_checkpoints_go_back_with_the_files(bench: Bench) -> None:
    turns: Script = [
        call("write", file_path="a.txt", content="one\n"), "written",
        call("write", file_path="a.txt", content="two\n"), "changed",
    ]  # fmt: skip
    session = await bench.start(turns, "files")
    await within(session.send("Write it."))
    await within(session.send("Change it."))
    places = (await said(session, "/rewind")).splitlines()
    assert places[0] == "Places to go back to: 2"
    assert places[2].endswith("before: Change it.")
    seq = places[2].split()[0]
    assert "+two" in await said(session, f"/diff {seq}")
    assert "+two" in await said(session, "/diff last")
    assert (await said(session, "/checkpoints")).startswith("Checkpoints of files: ")
    for wrong in (
        "/rewind soon",
        "/rewind 1 all",
        f"/rewind {seq} files maybe",
        "/diff 1 2 3",
        "/redo maybe",
        "/rewind 99999",
    ):
        assert (await within(session.send(wrong))).outcome == "failed", wrong
    went = await said(session, f"/rewind {seq} files")
    assert went.splitlines()[0] == f"Went back to event {seq}."
    assert "modified: a.txt" in went
    assert "Taken back: Change it." in went
    assert (bench.workspace / "a.txt").read_text() == "one\n"
    assert len(await session.history()) == 4
    assert "modified: a.txt" in await said(session, "/redo")
    assert (bench.workspace / "a.txt").read_text() == "two\n"
    (bench.workspace / "a.txt").write_text("mine\n")
    refused = await within(session.send("/rewind last files"))
    assert refused.outcome == "failed"
    assert "a.txt" in refused.text
    await said(session, "/rewind last files keep")
    assert (bench.workspace / "a.txt").read_text() == "mine\n"
