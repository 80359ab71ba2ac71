"""Hooks in real runs: every point in its order, and what each answer does there, durably."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import godwit
from godwit.contracts import HookCall
from godwit.core.errors import BlockedByHook, ConfigurationError, InvalidArgument, RateLimited, RunFailed
from godwit.core.events import (
    ActionClosed,
    ActionOpened,
    HookBlocked,
    HookReported,
    InputDelivered,
    InputWithdrawn,
    Labels,
    RunFinished,
    ToolStarted,
    UserMessage,
)
from godwit.core.hooks import GATING, PAYLOAD, POINTS, HookMatcher, HookPoint, HookResult, HookSpec
from godwit.core.messages import Text, ToolResult, User, text_of
from godwit.engine.hook import Hook
from godwit.engine.hooks import Hooks
from godwit.engine.points import BLOCKED, HELD_LONGEST
from godwit.engine.session import Session
from godwit.models.script import Script, call, tries
from tests.engine.conftest import MODEL, Bench, data, types, until_type, within
from tests.files import png

Answers = Callable[[HookCall], Any]


@godwit.tool
def work(text: str) -> str:
    """Do some work."""
    return f"did {text}"


def answer(point: HookPoint, *results: HookResult | None, id: str = "h", **spec: Any) -> Hook:  # noqa: A002
    """A hook that answers with each of these in turn, and goes on after the last."""
    left = list(results)

    async def handler(_: HookCall) -> HookResult | None:
        return left.pop(0) if left else None

    return Hook(HookSpec(id, point, **spec), handler)


def listen(told: list[HookCall], *points: HookPoint) -> list[Hook]:
    async def handler(call: HookCall) -> None:
        told.append(call)

    return [Hook(HookSpec(f"listen-{point}", point, priority=1000), handler) for point in points or POINTS]


async def outcome(session: Session) -> tuple[str, str | None]:
    finished = (await data(session, RunFinished))[-1]
    return finished.outcome, finished.error.code if finished.error else None


def said(session_messages: tuple[Any, ...]) -> list[str]:
    return [text_of(m.content) for m in session_messages if isinstance(m, User)]


# --- every point --------------------------------------------------------------------------------------------------------


async def test_every_point_of_a_run_is_told_in_order_with_what_the_page_promises(bench: Bench) -> None:
    told: list[HookCall] = []
    runtime = await bench.runtime([call("work", text="a"), call("work", text="b"), "done"], hooks=listen(told))
    session = await bench.start(
        (), work, runtime=runtime, permissions={"work": "ask"}, limits=godwit.Limits(max_parallel_tools=1)
    )
    run, seen = await session.prompt("go"), 0
    for _ in range(2):
        parked = await within(until_type(session, "run.parked", seen))
        seen = parked.seq
        (pending,) = await session.pending_confirmations()
        await session.approve(pending.id)
    assert (await within(session.wait(run))).text == "done"
    await session.close()
    kept = ["before_checkpoint", "after_checkpoint"]
    tool = ["before_tool", "before_approval", "after_approval", *kept, "after_tool", *kept]
    turn = ["before_turn", "before_model", "after_model"]
    assert [c.point for c in told] == [
        "before_session", "before_run", "before_prompt", "after_prompt",
        *turn, *tool, "after_turn",
        *turn, *tool, "after_turn",
        *turn, "after_turn",
        "before_finish", "after_finish", "after_run", "after_session",
    ]  # fmt: skip
    for c in told:
        assert tuple(c.payload) == PAYLOAD[c.point], c.point
        assert c.session == session.id
        assert c.workspace == session.workspace
        assert c.run == (None if c.point.endswith("_session") else run), c.point


async def test_errors_and_rate_limits_are_told(bench: Bench) -> None:
    told: list[HookCall] = []
    runtime = await bench.runtime(hooks=listen(told, "on_error", "on_rate_limit"))
    script = [
        tries(
            RateLimited(retry_after_s=0),
            godwit.errors.ModelUnavailable("down", retry_after_s=0),
            godwit.errors.ModelError("broken"),
        )
    ]
    session = await bench.start(script, runtime=runtime)
    with pytest.raises(RunFailed):
        await within(session.send("go"))
    assert [(c.point, c.payload["code"], c.payload["will_retry"]) for c in told] == [
        ("on_rate_limit", "rate_limited", True),
        ("on_error", "model_unavailable", True),
        ("on_error", "model", False),
    ]
    for c in told:
        assert tuple(c.payload) == PAYLOAD[c.point], c.point


async def test_commands_verifications_and_direct_calls_are_told_as_the_page_promises(bench: Bench) -> None:
    told: list[HookCall] = []
    runtime = await bench.runtime(hooks=listen(told))
    session = await bench.start((), work, "bash", runtime=runtime)
    told.clear()
    await within(session.command("/help"))
    await within(session.verify_commands("it works", ["true"]))
    await within(session.tool("work", {"text": "a"}))
    call_points = ["before_tool", "after_tool"]
    assert [c.point for c in told] == [
        "before_command", "after_command", "before_verification", *call_points, "after_verification", *call_points
    ]  # fmt: skip
    for c in told:
        assert set(c.payload) == set(PAYLOAD[c.point]), c.point
    assert [c.payload["origin"] for c in told if c.point == "before_tool"] == ["verification", "direct"]


async def test_checkpoints_and_what_is_put_back_are_told(bench: Bench) -> None:
    (bench.workspace / "a.txt").write_text("one")
    told: list[HookCall] = []
    points: list[HookPoint] = ["before_checkpoint", "after_checkpoint", "before_restore", "after_restore"]
    runtime = await bench.runtime([call("write", file_path="a.txt", content="two"), "done"], hooks=listen(told, *points))
    session = await bench.start((), "files", runtime=runtime)
    await within(session.send("go"))
    (turning,) = await session.turnings()
    await within(session.rewind(turning.seq, files=True))
    await within(session.checkpoint())
    assert (bench.workspace / "a.txt").read_text() == "one"
    kept: list[HookPoint] = ["before_checkpoint", "after_checkpoint"]
    assert [c.point for c in told] == [*kept, *kept, "before_restore", "after_restore", *kept]
    for c in told:
        assert set(c.payload) == set(PAYLOAD[c.point]), c.point
    assert [c.payload["when"] for c in told if c.point == "after_checkpoint"] == ["before", "after", "manual"]
    assert next(c for c in told if c.point == "before_restore").payload["paths"] == ["a.txt"]


async def test_a_hook_may_keep_files_from_being_put_back(bench: Bench) -> None:
    (bench.workspace / "a.txt").write_text("one")
    hooks = [answer("before_restore", HookResult("block", reason="not these"), HookResult("skip"))]
    script: Script = [call("write", file_path="a.txt", content="two"), "done"]
    session = await bench.start(script, "files", hooks=hooks)
    await within(session.send("go"))
    (turning,) = await session.turnings()
    before = len(await session.history())
    with pytest.raises(BlockedByHook, match="not these"):
        await within(session.rewind(turning.seq, files=True))
    assert len(await session.history()) == before, "nothing was done"
    assert [(b.hook, b.point) for b in await data(session, HookBlocked)] == [("h", "before_restore")]
    await within(session.rewind(turning.seq, files=True))
    assert (await session.history(), (bench.workspace / "a.txt").read_text()) == ((), "two")


async def test_hooks_are_told_of_the_sessions_labels(bench: Bench) -> None:
    told: list[HookCall] = []
    runtime = await bench.runtime(["ok"], hooks=listen(told))
    agent = godwit.Agent("tester", model=MODEL)
    labels = Labels(tenant="acme", principal="ada", agent_template="t", correlation="c")
    session = await runtime.start_session(agent, labels=labels)
    await within(session.send("go"))
    await session.close()
    assert {c.labels for c in told} == {labels}
    assert {c.point for c in told} >= {"before_session", "before_prompt", "after_session"}


async def test_without_hooks_the_log_is_as_it_was(bench: Bench) -> None:
    session = await bench.start([call("work", text="a"), "done"], work)
    await within(session.send("go"))
    before = await types(session)
    told: list[HookCall] = []
    runtime = await bench.runtime([call("work", text="a"), "done"], hooks=listen(told))
    other = await bench.start((), work, runtime=runtime)
    await within(other.send("go"))
    assert await types(other) == before
    assert told


# --- prompts ------------------------------------------------------------------------------------------------------------


async def test_a_blocked_prompt_fails_the_run_and_never_reaches_the_transcript(bench: Bench) -> None:
    session = await bench.start(["unreachable", "fine"], hooks=[answer("before_prompt", HookResult("block", reason="no"))])
    with pytest.raises(RunFailed, match="no") as caught:
        await within(session.send("secret"))
    assert caught.value.details["reason"] == BLOCKED
    assert await session.history() == ()
    assert [(w.reason) for w in await data(session, InputWithdrawn)] == ["hook"]
    assert [(b.hook, b.point, b.reason, b.failed) for b in await data(session, HookBlocked)] == [
        ("h", "before_prompt", "no", False)
    ]
    assert (await session.state()).gate.queue == ()
    assert await session.status() == "idle"
    assert bench.model is not None
    bench.model._turns = ["fine"]
    assert (await within(session.send("again"))).text == "fine"


async def test_a_changed_prompt_is_what_the_model_sees_and_the_log_keeps_both(bench: Bench) -> None:
    change = HookResult(modified={"prompt": "be kind"}, note="the branch is main")
    session = await bench.start(["ok"], hooks=[answer("before_prompt", change)])
    image = godwit.Image("image/png", data=png(1, 1))
    await within(session.send([godwit.Text("be rude"), image]))
    (message,) = await data(session, UserMessage)
    (delivered,) = await data(session, InputDelivered)
    assert text_of(message.content) == "be rude"
    assert delivered.content == (Text("be kind"), image, Text("\n[Added by a hook]\nthe branch is main"))
    assert (await session.history())[0] == User(delivered.content)
    assert bench.model is not None
    assert bench.model.requests[0].entries[0].message == User(delivered.content)


async def test_a_skipped_prompt_is_left_out_without_a_failure(bench: Bench) -> None:
    session = await bench.start(["unreachable"], hooks=[answer("before_prompt", HookResult("skip"))])
    result = await within(session.send("hello"))
    assert (result.outcome, result.text) == ("done", "")
    assert await session.history() == ()


async def test_a_blocked_steer_is_left_out_and_the_run_goes_on(bench: Bench) -> None:
    async def only(call: HookCall) -> HookResult | None:
        return HookResult("block", reason="no") if call.payload["prompt"] == "bad" else None

    session = await bench.start(
        [call("work", text="a"), "done"],
        work,
        permissions={"work": "ask"},
        hooks=[Hook(HookSpec("h", "before_prompt"), only)],
    )
    run = await session.prompt("go")
    await within(until_type(session, "run.parked"))
    await session.steer("bad", mode="batch")
    await session.steer("good", mode="batch")
    await session.approve((await session.pending_confirmations())[0].id)
    assert (await within(session.wait(run))).outcome == "done"
    assert said(await session.history()) == ["go", "good"]


async def test_what_a_session_begins_with_goes_with_its_first_prompt(bench: Bench) -> None:
    runtime = await bench.runtime(["one", "two"], hooks=[answer("before_session", HookResult(note="today is Monday"))])
    session = await bench.start((), runtime=runtime)
    await within(session.send("first"))
    await within(session.send("second"))
    assert said(await session.history()) == ["first\n[Added by a hook]\ntoday is Monday", "second"]


# --- run, turn, model -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["before_run", "before_turn", "before_model"])
async def test_a_block_ends_the_run_before_it_costs_anything(bench: Bench, point: HookPoint) -> None:
    session = await bench.start(["unreachable"], hooks=[answer(point, HookResult("block", reason="not today"))])
    with pytest.raises(RunFailed, match="not today"):
        await within(session.send("go"))
    assert await outcome(session) == ("failed", BLOCKED)
    assert [b.point for b in await data(session, HookBlocked)] == [point]
    assert "model.started" not in await types(session)
    assert await session.status() == "idle"


@pytest.mark.parametrize("point", ["before_run", "before_prompt", "before_turn", "before_model", "before_finish"])
async def test_a_hook_may_have_a_person_decide(bench: Bench, point: HookPoint) -> None:
    told: list[HookCall] = []
    hooks = [answer(point, HookResult("escalate", reason="sure?", note="n" if point == "before_prompt" else None))]
    session = await bench.start(["done"], hooks=[*hooks, *listen(told, point)])
    run = await session.prompt("go")
    await within(until_type(session, "run.parked"))
    (opened,) = await data(session, ActionOpened)
    assert (opened.call, opened.kind, opened.name, opened.message) == (None, "approval", "hook h", "sure?")
    await session.approve(opened.action)
    assert (await within(session.wait(run))).text == "done"
    assert [c.reason for c in await data(session, ActionClosed)] == ["answered"]
    assert len(told) == 1, "what a person has let pass is not asked about again"
    if point == "before_prompt":
        assert said(await session.history()) == ["go\n[Added by a hook]\nn"]


async def test_a_person_may_say_no(bench: Bench) -> None:
    session = await bench.start(["unreachable"], hooks=[answer("before_turn", HookResult("escalate", reason="sure?"))])
    run = await session.prompt("go")
    await within(until_type(session, "run.parked"))
    await session.deny((await data(session, ActionOpened))[0].action, "too late")
    assert (await within(session.wait(run))).outcome == "limited"
    assert await session.status() == "idle"


async def test_an_answer_holds_after_a_restart_without_asking_again(bench: Bench) -> None:
    gate = answer("before_turn", HookResult("escalate"), HookResult("block"))
    agent = godwit.Agent("tester", model=MODEL, hooks=[gate])
    runtime = await bench.runtime(["done"])
    session = await runtime.start_session(agent, workspace=bench.workspace)
    run = await session.prompt("go")
    await within(until_type(session, "run.parked"))
    opened = (await data(session, ActionOpened))[0]
    await bench.close()
    again = await bench.runtime(["done"])
    handle = await again.open_session(session.id, agent=agent)
    await handle.approve(opened.action)
    assert (await within(handle.wait(run))).text == "done"


# --- the end ------------------------------------------------------------------------------------------------------------


async def test_a_block_before_the_end_sends_the_run_back_to_work_with_the_reason(bench: Bench) -> None:
    told: list[HookCall] = []
    hooks = [answer("before_finish", HookResult("block", reason="run the tests first")), *listen(told, "before_finish")]
    session = await bench.start(["done?", "done!"], hooks=hooks)
    assert (await within(session.send("go"))).text == "done!"
    assert said(await session.history()) == ["go", "run the tests first"]
    assert [m.sender for m in await data(session, UserMessage)] == [None, "hook h"]
    assert [(c.payload["stop_hook_active"], c.payload["text"]) for c in told] == [(True, "done!")]


async def test_it_does_so_a_few_times_and_no_more(bench: Bench) -> None:
    block = HookResult("block", reason="more")
    session = await bench.start(["x"] * 9, hooks=[answer("before_finish", *[block] * 9)])
    result = await within(session.send("go"))
    assert (result.outcome, result.turns) == ("limited", HELD_LONGEST + 1)
    assert await outcome(session) == ("limited", BLOCKED)
    assert len(await data(session, HookBlocked)) == HELD_LONGEST + 1


async def test_a_hook_that_fails_before_the_end_fails_the_run(bench: Bench) -> None:
    async def broken(_: HookCall) -> HookResult:
        raise RuntimeError("boom")

    session = await bench.start(["done", "unreachable"], hooks=[Hook(HookSpec("h", "before_finish"), broken)])
    with pytest.raises(RunFailed, match="Required hook 'h' failed: RuntimeError: boom"):
        await within(session.send("go"))
    assert (await data(session, RunFinished))[0].turns == 1


# --- tools --------------------------------------------------------------------------------------------------------------


async def tool_result(session: Session) -> ToolResult:
    return next(m for m in await session.history() if isinstance(m, ToolResult))


@pytest.mark.parametrize(
    ("result", "status", "text"),
    [
        (HookResult(), "ok", "did a"),
        (HookResult(modified={"text": "b"}), "ok", "did b"),
        (HookResult(modified={"wrong": 1}), "error", "do not fit"),
        (HookResult("block", reason="never"), "denied", "never"),
        (HookResult("skip"), "skipped", "Left out"),
        (HookResult("allow", note="mind"), "ok", "mind"),
        (HookResult("retry", delay_s=0.0), "ok", "did a"),
    ],
    ids=lambda value: value.action if isinstance(value, HookResult) else str(value),
)
async def test_a_call_is_changed_blocked_left_out_or_allowed(
    bench: Bench, result: HookResult, status: str, text: str
) -> None:
    session = await bench.start([call("work", text="a"), "done"], work, hooks=[answer("before_tool", result)])
    await within(session.send("go"))
    got = await tool_result(session)
    assert (got.status, text in got.text) == (status, True), got


async def test_a_hook_may_change_what_a_call_gave_back(bench: Bench) -> None:
    hide = HookResult(modified={"result": "did ***"}, note="one word was taken out")
    session = await bench.start([call("work", text="secret"), "done"], work, hooks=[answer("after_tool", hide)])
    await within(session.send("go"))
    assert (await tool_result(session)).text == "one word was taken out\ndid ***"
    log = "".join(e.body.decode() for e in await session.events() if e.type == "tool.finished")
    assert "secret" not in log


async def test_a_command_hook_guards_the_shell(bench: Bench) -> None:
    """As a user of Claude Code would write it: a script that reads JSON and ends with 2."""
    (bench.workspace / "guard.sh").write_text(
        'input=$(cat); case "$input" in *"rm -rf"*) echo "no rm -rf in $CLAUDE_PROJECT_DIR" >&2; exit 2;; esac\n'
    )
    guard = HookSpec("guard", "PreToolUse", HookMatcher(tool="Bash"), "sh guard.sh")  # type: ignore[arg-type]  # an alias
    (bench.workspace / "keep").write_text("x")
    turns: Script = [call("bash", command="rm -rf keep") + call("bash", command="echo fine"), "done"]
    session = await bench.start(turns, "bash", hooks=[guard])
    await within(session.send("go"))
    first, second = (m for m in await session.history() if isinstance(m, ToolResult))
    assert (first.status, f"no rm -rf in {session.workspace}" in first.text) == ("denied", True)
    assert (second.status, second.text.strip()) == ("ok", "fine")
    assert (bench.workspace / "keep").exists()
    assert [d.call for d in await data(session, ToolStarted)] == [second.call_id]


# --- time ---------------------------------------------------------------------------------------------------------------


def hanging(point: HookPoint, started: asyncio.Event) -> Hook:
    async def hang(_: HookCall) -> HookResult | None:
        started.set()
        await asyncio.Event().wait()
        return None

    return Hook(HookSpec("h", point), hang)


HELD_UP: list[HookPoint] = [p for p in GATING if p in ("before_prompt", "before_run", "before_turn", "before_model")]


@pytest.mark.parametrize("point", [*sorted(HELD_UP), "before_tool", "after_tool", "after_model", "before_finish"])
async def test_no_hanging_hook_holds_up_an_interrupt(bench: Bench, point: HookPoint) -> None:
    started = asyncio.Event()
    session = await bench.start([call("work", text="a"), "done"], work, hooks=[hanging(point, started)])
    run = await session.prompt("go")
    await within(started.wait())
    assert await within(session.interrupt())
    assert (await within(session.wait(run))).outcome == "interrupted"
    assert not await data(session, HookBlocked)
    assert await session.status() == "idle"


async def test_a_hook_that_hangs_after_the_end_holds_up_no_interrupt_either(bench: Bench) -> None:
    started = asyncio.Event()
    runtime = await bench.runtime([call("work", text="a"), "done"], grace_s=0.1)
    session = await bench.start(
        (), work, runtime=runtime, hooks=[hanging("after_run", started)], permissions={"work": "ask"}
    )
    run = await session.prompt("go")
    await within(until_type(session, "run.parked"))
    assert await within(session.interrupt())
    assert started.is_set()
    assert (await within(session.wait(run))).outcome == "interrupted"
    other = await bench.start(["done", "never"], runtime=runtime, hooks=[hanging("after_run", started)])
    started.clear()
    await within(other.send("go"))
    await within(started.wait())
    run = await other.prompt("and then")
    assert await within(other.interrupt())
    assert (await within(other.wait(run))).outcome == "interrupted"


async def test_closing_tells_the_hooks_of_the_run_and_of_the_session(bench: Bench) -> None:
    told: list[HookCall] = []
    runtime = await bench.runtime(hooks=listen(told, "after_run", "after_session"))
    script: Script = [call("work", text="a"), "done"]
    session = await bench.start(script, work, runtime=runtime, permissions={"work": "ask"})
    await session.prompt("go")
    await within(until_type(session, "run.parked"))
    await within(session.close())
    await within(session.close())
    assert [(c.point, c.payload.get("outcome") or c.payload.get("reason")) for c in told] == [
        ("after_run", "interrupted"),
        ("after_session", "closed"),
    ]


async def test_a_hosts_end_tells_the_hooks_of_its_sessions_and_waits_for_none_that_hangs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("godwit.engine.hooks.CLOSING_S", 0.05)
    told, started = list[HookCall](), asyncio.Event()
    runtime = await bench.runtime(["done"], hooks=[*listen(told, "after_session"), hanging("after_session", started)])
    session = await bench.start((), runtime=runtime)
    await within(session.send("go"))
    await within(bench.close())
    assert started.is_set()


async def test_a_hook_may_ask_its_own_session_to_stop_without_waiting_for_itself(bench: Bench) -> None:
    sessions: list[Session] = []

    async def stop(_: HookCall) -> HookResult | None:
        await sessions[0].interrupt(reason="by a hook")
        return None

    session = await bench.start(["unreachable"], hooks=[Hook(HookSpec("h", "before_turn"), stop)])
    sessions.append(session)
    assert (await within(session.send("go"))).outcome == "interrupted"


@pytest.mark.parametrize("point", ["before_turn", "before_tool", "after_tool", "after_turn"])
async def test_a_hook_may_end_the_run(bench: Bench, point: HookPoint) -> None:
    end = HookResult(end_run=True, reason="that will do")
    session = await bench.start([call("work", text="a"), "done"], work, hooks=[answer(point, end)])
    assert (await within(session.send("go"))).outcome == "interrupted"
    assert [e.data.reason for e in await session.events() if e.type == "user.interrupt"] == ["that will do"]  # type: ignore[union-attr]


async def test_a_failing_hook_after_a_step_changes_nothing_but_is_in_the_log(bench: Bench) -> None:
    async def broken(_: HookCall) -> HookResult:
        raise RuntimeError("boom")

    points: list[HookPoint] = ["after_tool", "after_turn", "after_run", "after_prompt", "before_session", "after_session"]
    runtime = await bench.runtime([call("work", text="a"), "done"], hooks=[Hook(HookSpec(p, p), broken) for p in points])
    session = await bench.start((), work, runtime=runtime)
    assert (await within(session.send("go"))).text == "done"
    await session.close()
    reports = await data(session, HookReported)
    assert {(r.hook, r.text, r.failed) for r in reports} == {(p, "RuntimeError: boom", True) for p in points}


async def test_a_message_for_people_is_in_the_log_and_not_in_the_transcript(bench: Bench) -> None:
    session = await bench.start(["done"], hooks=[answer("before_turn", HookResult(message="mind the step"))])
    await within(session.send("go"))
    assert [(r.hook, r.text, r.failed) for r in await data(session, HookReported)] == [("h", "mind the step", False)]
    assert len(await session.history()) == 2


async def test_a_hook_that_its_process_did_not_outlive_is_asked_again(bench: Bench) -> None:
    """At least once: what a gate has not let pass in the log it is asked about again."""
    told: list[str] = []
    started = asyncio.Event()

    def gate(name: str, *, hang: bool) -> Hook:
        async def handler(_: HookCall) -> HookResult | None:
            told.append(name)
            if hang:
                started.set()
                await asyncio.Event().wait()
            return None

        return Hook(HookSpec("h", "before_turn"), handler)

    runtime = await bench.runtime(["done"], grace_s=0.1)
    session = await runtime.start_session(godwit.Agent("tester", model=MODEL, hooks=[gate("first", hang=True)]))
    await session.prompt("go")
    await within(started.wait())
    await bench.close()
    again = await bench.runtime(["done"])
    handle = await again.open_session(
        session.id, agent=godwit.Agent("tester", model=MODEL, hooks=[gate("second", hang=False)])
    )
    assert (await within(handle.wait())).text == "done"
    assert told == ["first", "second"]


# --- a live session -------------------------------------------------------------------------------------------------------


async def test_hooks_of_a_live_session_come_and_go_and_its_handles_share_them(bench: Bench) -> None:
    session = await bench.start(["one", "two", "three"])
    other = await bench.runtimes[0].open_session(session.id)
    watcher = await bench.runtimes[0].open_session(session.id, drive=False)
    spec = HookSpec("h", "before_prompt")
    assert (session.hook_count(), session.hooks()) == (0, [])
    assert session.register_hook(spec) is None
    assert (session.hook_count(), other.hook_count(), other.hooks()) == (1, 1, [spec])
    assert (await within(session.send("a"))).text == "one"
    other.register_hook_handler("h", lambda _: HookResult("block", reason="no"))
    with pytest.raises(RunFailed, match="no"):
        await within(session.send("b"))
    session.unregister_hook_handler("h")
    assert (await within(session.send("c"))).text == "two"
    assert other.unregister_hook("h") == spec
    assert session.unregister_hook("h") is None
    assert session.hook_count() == 0
    with pytest.raises(InvalidArgument, match="only watches"):
        watcher.register_hook(spec)
    with pytest.raises(ConfigurationError, match="RE2"):
        session.register_hook(HookSpec("bad", "before_tool", HookMatcher(command="(?!x)")))
    session.register_hook(spec)
    await session.close()
    assert other.hook_count() == 1
    await other.close()
    again = await bench.runtimes[0].open_session(session.id)
    assert again.hook_count() == 0, "they end with the last handle of this process"
    with pytest.raises(godwit.errors.SessionClosed):
        session.register_hook(spec)


async def test_an_agents_function_hook_that_is_not_here_blocks(bench: Bench) -> None:
    gate = answer("before_prompt", id="gate")
    required = Hook(HookSpec("gate", "before_prompt", required=True), gate.handler)
    runtime = await bench.runtime(["one"])
    session = await runtime.start_session(godwit.Agent("tester", model=MODEL, hooks=[required]))
    assert (await within(session.send("a"))).text == "one"
    await bench.close()
    again = await bench.runtime(["one", "two"])
    handle = await again.open_session(session.id)
    with pytest.raises(RunFailed, match="no handler in this process"):
        await within(handle.send("b"))
    handle.register_hook_handler("gate", gate.handler)
    assert (await within(handle.send("c"))).text == "two"


async def test_an_agent_with_a_hook_that_cannot_be_used_is_refused_and_not_stored(bench: Bench) -> None:
    runtime = await bench.runtime()
    agent = godwit.Agent("tester", model=MODEL, hooks=[HookSpec("h", "before_tool", HookMatcher(path="{"))])
    with pytest.raises(ConfigurationError, match="'h'"):
        await runtime.create(agent)
    assert await runtime.store.agents() == []
    with pytest.raises(ConfigurationError, match="RE2"):
        await bench.runtime(hooks=[HookSpec("h", "before_tool", HookMatcher(command="(?!x)"))])


async def test_a_direct_call_is_hooked_before_anything_has_run(bench: Bench) -> None:
    session = await bench.start((), work, hooks=[answer("before_tool", HookResult("block", reason="no"))])
    result = await session.tool("work", {"text": "a"})
    assert (result.status, "no" in result.output) == ("denied", True)


async def test_nothing_is_kept_for_an_idle_session_without_hooks(bench: Bench) -> None:
    session = await bench.start(["done"])
    await within(session.send("go"))
    assert isinstance(session._hooks, Hooks)
    assert (session._hooks._at, session._hooks._hooks) == ({}, {})
    assert bench.runtimes[0]._kept_hooks == {}
