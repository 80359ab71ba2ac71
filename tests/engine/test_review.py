"""What becomes of a call before its effect: hooks, rules, people and their absence, in that order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import godwit
from godwit.contracts import HookCall
from godwit.core.errors import InvalidArgument
from godwit.core.events import ActionOpened, HookBlocked, ToolFinished, ToolStarted, UserAnswer
from godwit.core.hooks import HookPoint, HookResult, HookSpec
from godwit.core.messages import ToolResult
from godwit.core.rules import ApprovalPolicy
from godwit.engine.session import Session
from godwit.models.script import Script, call

from .conftest import Bench, data, types, until_type, within


@godwit.tool
def write(text: str) -> str:
    """Write."""
    return f"wrote {text}"


@godwit.tool(read_only=True)
def look() -> str:
    """Look."""
    return "seen"


ASK = {"write": "ask", "look": "ask"}


def hook(bench: Bench, session: Session, point: HookPoint, answer: Any, name: str = "h") -> None:
    bench.runtimes[-1].hooks(session.id).register(HookSpec(name, point), answer)


async def results(session: Session) -> list[tuple[str, str]]:
    return [(m.status, m.text) for m in await session.history() if isinstance(m, ToolResult)]


async def test_a_hook_changes_the_arguments_and_the_model_is_told(bench: Bench) -> None:
    session = await bench.start([call("write", text="a"), "done"], write)
    hook(bench, session, "before_tool", lambda c: HookResult(modified={"text": c.payload["arguments"]["text"] + "!"}))
    await session.send("Go.")
    assert [s.arguments for s in await data(session, ToolStarted)] == [{"text": "a!"}]
    [(status, text)] = await results(session)
    assert status == "ok"
    assert "wrote a!" in text
    assert "changed the arguments" in text


async def test_arguments_changed_into_some_that_do_not_fit_are_an_error(bench: Bench) -> None:
    session = await bench.start([call("write", text="a"), "done"], write)
    hook(bench, session, "before_tool", lambda _: HookResult(modified={"txt": 1}))
    await session.send("Go.")
    [(status, text)] = await results(session)
    assert (status, "do not fit" in text) == ("error", True)
    assert not await data(session, ToolStarted)


async def test_a_hook_blocks_skips_or_sends_a_note(bench: Bench) -> None:
    turns: Script = [call("write", text="block") + call("write", text="skip") + call("write", text="note"), "done"]
    session = await bench.start(turns, write)

    def answer(asked: HookCall) -> HookResult:
        match asked.payload["arguments"]["text"]:
            case "block":
                return HookResult("block", reason="not this one")
            case "skip":
                return HookResult("skip", reason="left out")
            case _:
                return HookResult(note="mind the gap")

    hook(bench, session, "before_tool", answer)
    await session.send("Go.")
    blocked, skipped, noted = await results(session)
    assert (blocked[0], "not this one" in blocked[1]) == ("denied", True)
    assert skipped == ("skipped", "left out")
    assert noted == ("ok", "mind the gap\nwrote note")
    assert [(b.hook, b.point, b.reason) for b in await data(session, HookBlocked)] == [("h", "before_tool", "not this one")]
    assert len(await data(session, ToolStarted)) == 1


async def test_a_hook_lets_a_person_decide_where_no_rule_would_ask(bench: Bench) -> None:
    session = await bench.start([call("write", text="a"), "done"], write)
    hook(bench, session, "before_tool", lambda _: HookResult("escalate", reason="looks odd"))
    run = await session.prompt("Go.")
    await until_type(session, "run.parked")
    [pending] = await session.approvals.pending()
    assert (pending.kind, pending.message, pending.rules) == ("approval", "looks odd", ())
    with pytest.raises(InvalidArgument, match="no narrow rule"):
        await session.approve(pending.id, remember="session")
    await session.approve(pending.id)
    await within(session.wait(run))
    assert await results(session) == [("ok", "wrote a")]


async def test_a_hook_may_spare_the_question_but_not_lift_a_deny(bench: Bench) -> None:
    session = await bench.start(
        [call("write", text="a") + call("look"), "done"], write, look, permissions={"write": "ask", "look": "deny"}
    )
    hook(bench, session, "before_tool", lambda _: HookResult("allow"))
    await session.send("Go.")
    assert [s for s, _ in await results(session)] == ["ok", "denied"]


async def test_what_a_hook_changed_is_what_is_approved_and_run_by_another_process(bench: Bench) -> None:
    first = await bench.runtime([call("write", text="a"), "done"])
    session = await bench.start([], write, runtime=first, permissions=ASK)
    assert bench.model is not None
    bench.model._turns = [call("write", text="a"), "done"]
    calls: list[str] = []

    def change(_: HookCall) -> HookResult:
        calls.append("called")
        return HookResult(modified={"text": f"changed {len(calls)}"})

    hook(bench, session, "before_tool", change)
    await session.prompt("Go.")
    await until_type(session, "run.parked")
    assert [p.arguments for p in await session.approvals.pending()] == [{"text": "changed 1"}]
    await first.close()
    second = await bench.runtime(["", "done"])
    again = await second.open_session(session.id, agent=godwit.Agent("tester", model="scripted:test", tools=[write]))
    hook(bench, again, "before_tool", change)
    await again.approve((await again.approvals.pending())[0].id)
    assert (await within(again.wait())).text == "done"
    assert [s.arguments for s in await data(again, ToolStarted)] == [{"text": "changed 1"}]
    assert calls == ["called"], "what was approved is not asked about again"


async def test_an_edit_passes_the_hooks_too(bench: Bench) -> None:
    session = await bench.start([call("write", text="a"), "done"], write, permissions=ASK)
    seen: list[str] = []

    def check(asked: HookCall) -> HookResult | None:
        text = asked.payload["arguments"]["text"]
        seen.append(text)
        return HookResult("block", reason="not even by hand") if text == "bad" else None

    hook(bench, session, "before_tool", check)
    run = await session.prompt("Go.")
    await until_type(session, "run.parked")
    await session.approve((await session.approvals.pending())[0].id, arguments={"text": "bad"})
    await within(session.wait(run))
    assert seen == ["a", "bad"]
    [(status, text)] = await results(session)
    assert (status, "not even by hand" in text) == ("denied", True)


async def test_hooks_around_the_approval(bench: Bench) -> None:
    session = await bench.start([call("write", text="a") + call("look"), "done"], write, look, permissions=ASK)
    decisions: list[str] = []
    hook(bench, session, "before_approval", lambda c: HookResult("allow") if c.payload["tool"] == "look" else None, "b")
    hook(bench, session, "after_approval", lambda c: decisions.append(c.payload["decision"]), "a")
    run = await session.prompt("Go.")
    await until_type(session, "run.parked")
    assert [p.name for p in await session.approvals.pending()] == ["write"]
    await session.deny((await session.approvals.pending())[0].id, "no")
    await within(session.wait(run))
    assert decisions == ["deny"]


async def test_a_hook_after_the_call_takes_out_what_must_not_be_kept(bench: Bench) -> None:
    session = await bench.start([call("write", text="secret 123"), "done"], write)

    def redact(asked: HookCall) -> HookResult:
        return HookResult(modified={"result": asked.payload["result"].replace("123", "***")}, note="redacted")

    hook(bench, session, "after_tool", redact)
    await session.send("Go.")
    assert await results(session) == [("ok", "redacted\nwrote secret ***")]
    finished = [e for e in await session.events() if e.type == "tool.finished"]
    assert b"123" not in finished[0].body


async def test_a_hanging_hook_does_not_hold_up_an_interrupt(bench: Bench) -> None:
    session = await bench.start([call("write", text="a"), "done"], write)
    entered = asyncio.Event()

    async def hang(_: HookCall) -> None:
        entered.set()
        await asyncio.Event().wait()

    hook(bench, session, "before_tool", hang)
    run = await session.prompt("Go.")
    await within(entered.wait())
    assert await within(session.interrupt())
    assert (await within(session.wait(run))).outcome == "interrupted"
    assert not await data(session, ToolStarted)


async def test_hooks_are_called_once_for_a_call_that_has_to_wait_for_its_turn(bench: Bench) -> None:
    release = asyncio.Event()

    @godwit.tool(exclusive=True)
    async def alone(n: int) -> str:
        """Run alone."""
        if n == 0:
            await release.wait()
        return str(n)

    session = await bench.start([call("alone", n=0) + call("alone", n=1) + call("alone", n=2), "done"], alone)
    seen: list[int] = []

    def note(asked: HookCall) -> None:
        seen.append(asked.payload["arguments"]["n"])
        if len(seen) == 3:
            release.set()

    hook(bench, session, "before_tool", note)
    await within(session.send("Go."))
    assert seen == [0, 1, 2]


# --- approvals by policy --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("on_timeout", "status"), [("deny", "denied"), ("approve", "ok")])
async def test_an_approval_nobody_gives_is_answered_by_policy(bench: Bench, on_timeout: Any, status: str) -> None:
    session = await bench.start(
        [call("write", text="a"), "done"], write, permissions=ASK, approvals=ApprovalPolicy(0.2, on_timeout)
    )
    await within(session.send("Go."))
    assert [s for s, _ in await results(session)] == [status]
    [answer] = await data(session, UserAnswer)
    assert (answer.sender, answer.reason) == ("policy", "nobody answered in time")
    kinds = await types(session)
    assert kinds.index("run.parked") < kinds.index("user.answer"), "it had waited without a process at work"


async def test_the_policy_answers_while_another_call_is_under_way(bench: Bench) -> None:
    release = asyncio.Event()

    @godwit.tool
    async def hold() -> str:
        """Wait."""
        await release.wait()
        return "held"

    session = await bench.start(
        [call("hold") + call("write", text="a"), "done"],
        hold,
        write,
        permissions={"write": "ask"},
        approvals=ApprovalPolicy(0.1),
    )
    run = await session.prompt("Go.")
    await until_type(session, "user.answer")
    release.set()
    await within(session.wait(run))
    assert [s for s, _ in await results(session)] == ["ok", "denied"]


async def test_an_overdue_approval_is_answered_by_the_process_that_opens_the_session(bench: Bench) -> None:
    first = await bench.runtime([call("write", text="a")])
    session = await bench.start([], write, runtime=first, permissions=ASK, approvals=ApprovalPolicy(0.3))
    assert bench.model is not None
    bench.model._turns = [call("write", text="a")]
    await session.prompt("Go.")
    await until_type(session, "run.parked")
    [pending] = await session.approvals.pending()
    assert pending.remaining_s is not None
    assert 0 < pending.remaining_s <= 0.3
    await first.close()
    second = await bench.runtime(["", "done"])
    again = await second.open_session(session.id, agent=godwit.Agent("tester", model="scripted:test", tools=[write]))
    assert (await within(again.wait())).text == "done"
    assert [s for s, _ in await results(again)] == ["denied"]


async def test_kinds_of_work_are_approved_without_asking(bench: Bench) -> None:
    session = await bench.start(
        [call("write", text="a") + call("look"), "done"],
        write,
        look,
        permissions=ASK,
        approvals=ApprovalPolicy(auto=("query",)),
    )
    run = await session.prompt("Go.")
    await until_type(session, "run.parked")
    assert [p.name for p in await session.approvals.pending()] == ["write"]
    await session.configure(approvals=ApprovalPolicy(auto=("query", "execute")))
    assert await session.cancel_confirmations() == 1
    await within(session.wait(run))
    assert [s for s, _ in await results(session)] == ["denied", "ok"]


async def test_a_run_that_cannot_ask_is_denied_what_needs_asking(bench: Bench) -> None:
    session = await bench.start([call("write", text="a"), "done"], write, permissions=ASK)
    result = await within(session.send("Go.", unattended=True))
    assert result.outcome == "done"
    [(status, text)] = await results(session)
    assert (status, "nobody can be asked" in text) == ("denied", True)
    assert not await data(session, ActionOpened)


async def test_an_answer_is_remembered_for_the_session(bench: Bench) -> None:
    turns: Script = [call("write", text="a"), "one", call("write", text="b"), "two"]
    session = await bench.start(turns, write, permissions=ASK)
    run = await session.prompt("Go.")
    await until_type(session, "run.parked")
    [pending] = await session.approvals.pending()
    await session.approve(pending.id, remember="session", rule="write")
    assert (await within(session.wait(run))).text == "one"
    assert (await within(session.send("Again."))).text == "two", "nobody was asked"
    state = await session.state()
    assert state.permissions is not None
    assert state.permissions.allow == ("write",)


async def test_a_refusal_is_remembered_too_and_wins(bench: Bench) -> None:
    turns: Script = [call("write", text="a"), "one", call("write", text="b"), "two"]
    session = await bench.start(turns, write, permissions=ASK)
    run = await session.prompt("Go.")
    await until_type(session, "run.parked")
    await session.deny((await session.approvals.pending())[0].id, "never", remember="session", rule="write")
    await within(session.wait(run))
    await within(session.send("Again."))
    assert [s for s, _ in await results(session)] == ["denied", "denied"]
    assert len(await data(session, ActionOpened)) == 1


async def test_a_rule_that_cannot_be_read_is_refused_and_nothing_is_answered(bench: Bench) -> None:
    session = await bench.start([call("write", text="a"), "done"], write, permissions=ASK)
    await session.prompt("Go.")
    await until_type(session, "run.parked")
    [pending] = await session.approvals.pending()
    with pytest.raises(InvalidArgument):
        await session.approve(pending.id, remember="session", rule="")
    with pytest.raises(InvalidArgument):
        await session.approve(pending.id, rule="write")
    assert [p.id for p in await session.approvals.pending()] == [pending.id]
    assert not await data(session, ToolFinished)


# --- rules about arguments ------------------------------------------------------------------------------------------


async def test_rules_judge_each_part_of_a_command(bench: Bench) -> None:
    rules = godwit.Permissions(allow=("bash(echo:*)",), deny=("bash(touch:*)",), ask=("bash",))
    turns: Script = [
        call("bash", command="echo one"),
        call("bash", command="echo two && touch here"),
        call("bash", command="echo three; env X=1 bash -c 'touch there'"),
        "done",
    ]
    session = await bench.start(turns, "bash", permissions=rules)
    await within(session.send("Go."))
    assert [s for s, _ in await results(session)] == ["ok", "denied", "denied"]
    assert "bash(touch:*)" in (await results(session))[1][1]
    assert not (bench.workspace / "here").exists()
    assert not (bench.workspace / "there").exists()


async def test_what_is_offered_to_be_remembered_is_narrow(bench: Bench) -> None:
    turns: Script = [
        call("bash", command="git log --oneline"),
        "one",
        call("bash", command="git log -3") + call("bash", command="git push"),
        "two",
    ]
    session = await bench.start(turns, "bash", permissions={"bash": "ask"})
    run = await session.prompt("Go.")
    await until_type(session, "run.parked")
    [pending] = await session.approvals.pending()
    assert pending.rules
    assert "bash" not in pending.rules
    await session.approve(pending.id, remember="session")
    await within(session.wait(run))
    head = (await session.events())[-1].seq
    again = await session.prompt("Again.")
    await until_type(session, "run.parked", head)
    assert [p.arguments["command"] for p in await session.approvals.pending()] == ["git push"]
    await session.deny((await session.approvals.pending())[0].id)
    await within(session.wait(again))


async def test_a_tool_that_can_never_run_is_not_shown_to_the_model(bench: Bench) -> None:
    rules = godwit.Permissions(deny=("write", "bash(rm:*)"))
    session = await bench.start(["done"], write, "bash", permissions=rules)
    await within(session.send("Go."))
    assert bench.model is not None
    [request] = bench.model.requests
    assert [t.name for t in request.tools] == ["bash"]


async def test_an_answer_for_good_holds_in_other_sessions_of_the_folder(bench: Bench) -> None:
    turns: Script = [call("bash", command="git log -1"), "one"]
    session = await bench.start(turns, "bash", permissions={"bash": "ask"})
    run = await session.prompt("Go.")
    await until_type(session, "run.parked")
    [pending] = await session.approvals.pending()
    await session.approve(pending.id, remember="always")
    await within(session.wait(run))
    second = await bench.start([], "bash", runtime=bench.runtimes[0], permissions={"bash": "ask"})
    assert (await within(second.send("Go."))).text == "one", "nobody was asked"
    assert not await data(second, ActionOpened)
    [saved] = await bench.runtimes[0].store.rules(workspace=str(bench.workspace))
    assert (saved.verdict, saved.rule) == ("allow", pending.rules[0])


async def test_an_answer_for_good_reaches_a_session_that_is_at_work(bench: Bench) -> None:
    ready, go = asyncio.Event(), asyncio.Event()

    @godwit.tool
    async def hold() -> str:
        """Wait."""
        ready.set()
        await go.wait()
        return "held"

    turns: Script = [call("hold"), call("bash", command="git log -1"), "done"]
    session = await bench.start(turns, "bash", hold, permissions={"bash": "ask"})
    run = await session.prompt("Go.")
    await within(ready.wait())
    await bench.runtimes[0].store.save_rule("allow", "bash(git log:*)", workspace=str(bench.workspace))
    go.set()
    assert (await within(session.wait(run))).text == "done"
    assert not await data(session, ActionOpened)
