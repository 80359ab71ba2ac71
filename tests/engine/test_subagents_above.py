"""What sessions above hold a child to: limits, budgets, rules and hooks; and how its questions get to a person."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import godwit
from godwit.contracts import HookCall
from godwit.core.agent import ToolDefinition
from godwit.core.errors import ActionNotFound, SubagentLimit
from godwit.core.events import SubagentAsked, SubagentStarted, ToolFinished
from godwit.core.hooks import HookResult, HookSpec
from godwit.core.lanes import LaneConfig
from godwit.core.rules import ApprovalPolicy
from godwit.core.sandbox import SandboxPolicy
from godwit.engine.hook import Hook
from godwit.engine.session import Session
from godwit.models.script import call, hold, say
from tests.patience import PATIENCE_S

from .conftest import Bench, data, until, within
from .task_words import Team, asked, ends, first_task, home, rest, results, told

ECHO = [lambda request: say(f"({asked(request)})")]


@pytest.fixture
def team(bench: Bench) -> Team:
    return Team(bench)


@godwit.tool
def work(text: str) -> str:
    """Work."""
    return f"worked {text}"


async def children(session: Session) -> list[Session]:
    """The sessions below, parents before their children."""
    ids = await home(session).store.descendants(session.id)
    return [await home(session).desk.session(child) for child in ids]


async def question(session: Session, number: int = 1) -> Any:
    """What is asked on this session, once something below asks it."""
    seen = 0

    async def look() -> Any:
        nonlocal seen
        async for event in session.follow(0):
            if isinstance(event.data, SubagentAsked):
                seen += 1
                if seen == number:
                    return event.data
        raise AssertionError("unreachable")

    return await asyncio.wait_for(look(), PATIENCE_S)


def three_levels(team: Team, *tools: Any, leaf: dict[str, Any] | None = None, **boss: Any) -> None:
    """A leaf that calls `work`, a branch that hands it on, and a boss that asks the branch."""
    team.add("leaf", [call("work", text="a"), lambda r: say(told(r))], *(tools or (work,)), **(leaf or {}))
    team.add("branch", [call("task", agent="leaf", prompt="l"), lambda r: say(told(r))], subagents=["leaf"])
    team.add("boss", [call("task", agent="branch", prompt="b"), lambda r: say(told(r))], subagents=["branch"], **boss)


# --- limits ---------------------------------------------------------------------------------------------------------


async def test_one_that_asks_itself_again_and_again_meets_the_depth(team: Team) -> None:
    team.add(
        "boss",
        [call("task", agent="boss", prompt="deeper"), lambda r: say(told(r))],
        subagents=["boss"],
        limits=godwit.Limits(max_depth=3),
    )
    session = await team.start()
    result = await within(session.send("Go."))
    assert "limit of 3" in result.text
    assert "This is a limit, and no answer" in result.text
    rows = await home(session).sessions()
    assert len(rows) == 1 + 3


async def test_hundreds_are_told_that_there_is_a_limit(team: Team) -> None:
    many = [{"agent": "boss", "prompt": "more"}] * 10

    limits = godwit.Limits(max_depth=9, max_descendants=25, max_children=3)
    team.add("boss", [call("task", tasks=many), lambda r: say(told(r)[:3000])], subagents=["boss"], limits=limits)
    session = await team.start()
    result = await within(session.send("Go."))
    rows = await home(session).sessions(limit=500)
    assert 11 <= len(rows) <= 26
    assert "limit is 25" in result.text
    assert all(row.run is None for row in rows)
    assert await home(session).store.sessions_with_tasks() == []


async def test_no_more_children_work_at_a_time_than_may(team: Team) -> None:
    gate = asyncio.Event()
    team.add("slow", [hold(gate) + "slow"])
    team.add(
        "boss",
        [call("task", tasks=[{"agent": "slow", "prompt": f"{n}"} for n in range(7)]), "All."],
        subagents=["slow"],
        limits=godwit.Limits(max_children=2),
    )
    session = await team.start()
    run = await session.prompt("Go.")
    await until(session, lambda e: e.type == "run.parked")
    await within(home(session).subagents.settle())
    statuses = [t.status for t in await session.tasks.all()]
    assert statuses == ["running"] * 2 + ["queued"] * 5
    gate.set()
    assert (await within(session.wait(run))).text == "All."
    assert len(await home(session).sessions()) == 8


async def test_a_place_in_line_does_not_wait_for_itself(team: Team) -> None:
    """One run at a time: a parent that waits, by its call or by `task_wait`, gives the place to those it waits for."""
    team.add("leaf", ECHO)
    team.add("branch", [call("task", agent="leaf", prompt="l"), "branch"], subagents=["leaf"])
    team.add(
        "boss",
        [
            call("task", agent="branch", prompt="b", background=True),
            lambda r: call("task_wait", tasks=[first_task(r)], timeout_s=15),
            lambda r: say(told(r)),
        ],
        subagents=["branch"],
    )
    session = await team.start(runtime=await team.runtime(max_runs=1))
    assert "completed\nbranch" in (await within(session.send("Go."))).text


async def test_who_waits_holds_no_room_in_a_lane(team: Team) -> None:
    @godwit.tool(read_only=True)
    def look() -> str:
        """Look."""
        return "seen"

    team.add("leaf", [call("look"), lambda r: say(told(r))], look)
    team.add(
        "boss",
        [
            call("task", agent="leaf", prompt="l", background=True),
            lambda r: call("task_wait", tasks=[first_task(r)], timeout_s=15),
            lambda r: say(told(r)),
        ],
        subagents=["leaf"],
    )
    session = await team.start(runtime=await team.runtime(lanes=[LaneConfig("query", concurrency=1)]))
    assert "completed\nseen" in (await within(session.send("Go."))).text


@pytest.mark.parametrize("budget", [{"tokens": 1}, {"turns": 1}, {"turns": 2}])
async def test_a_budget_of_the_tree_ends_what_is_below(team: Team, budget: dict[str, int]) -> None:
    three_levels(team, budget={**budget, "scope": "tree"})
    session = await team.start()
    result = await within(session.send("Go."))
    assert result.outcome == "limited"
    await rest(home(session))
    assert all(row.run is None for row in await home(session).sessions())
    statuses = [t.status for s in [session, *await children(session)] for t in await s.tasks.all()]
    assert "completed" not in statuses


async def test_a_budget_that_asks_is_asked_on_the_first_session(team: Team) -> None:
    three_levels(team, budget={"turns": 2, "scope": "tree", "on_limit": "ask"})
    session = await team.start()
    run = await session.prompt("Go.")
    found = await question(session)
    assert found.name == "budget"
    assert found.path == ("branch", "leaf")
    (pending,) = await session.approvals.pending()
    await session.approvals.approve(pending.id, arguments={"turns": 50})
    assert (await within(session.wait(run))).text == "worked a"


# --- rules ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("above", "own", "outcome"),
    [
        ({"work": "deny"}, {"work": "allow"}, "denied"),
        ({"work": "allow"}, {"work": "deny"}, "denied"),
        ({"work": "allow"}, {"work": "allow"}, "ok"),
        ({"work": "ask"}, {"work": "allow"}, "asked"),
        ({"work": "allow"}, {"work": "ask"}, "asked"),
        ({"work": "ask"}, {"work": "ask"}, "asked"),
    ],
)
async def test_the_strictest_of_all_levels_counts(team: Team, above: Any, own: Any, outcome: str) -> None:
    three_levels(team, leaf={"permissions": own}, permissions=above)
    session = await team.start()
    run = await session.prompt("Go.")
    if outcome == "asked":
        (pending,) = [await question(session)]
        assert pending.name == "work"
        await session.approvals.approve(pending.action)
    result = await within(session.wait(run))
    leaf = (await children(session))[-1]
    finished = await data(leaf, ToolFinished)
    assert finished[0].status == ("denied" if outcome == "denied" else "ok")
    assert ("worked a" in result.text) == (outcome != "denied")
    assert await data(leaf, SubagentAsked) == []
    assert len(await data(session, SubagentAsked)) == (outcome == "asked"), "asked once, however many would ask"


async def test_a_tool_that_is_denied_above_is_not_shown_below(team: Team) -> None:
    three_levels(team, permissions={"work": "deny"})
    session = await team.start()
    await within(session.send("Go."))
    assert [t.name for t in team.models["scripted:leaf"].requests[0].tools] == []


async def test_nobody_is_asked_in_an_unattended_run_also_below(team: Team) -> None:
    three_levels(team, permissions={"work": "ask"})
    session = await team.start()
    result = await within(session.send("Go.", unattended=True))
    assert "nobody can be asked" in result.text
    assert await data(session, SubagentAsked) == []


async def test_what_works_in_the_background_of_an_unattended_run_asks_nobody_either(team: Team) -> None:
    gate = asyncio.Event()
    team.add("leaf", [hold(gate) + "first"], limits=godwit.Limits(max_children=1))
    team.add("asker", [call("work", text="a"), lambda r: say(told(r))], work, permissions={"work": "ask"})
    team.add(
        "boss",
        [
            call("task", tasks=[{"agent": "leaf", "prompt": "l"}, {"agent": "asker", "prompt": "a"}], background=True),
            "Under way.",
            "Heard.",
            "Heard.",
        ],
        subagents=["leaf", "asker"],
        limits=godwit.Limits(max_children=1),
    )
    session = await team.start()
    await within(session.send("Go.", unattended=True))
    gate.set()
    await rest(home(session))
    assert "nobody can be asked" in ((await session.tasks.all())[1].output or "")


@pytest.mark.parametrize("remember", ["session", "always"])
async def test_an_answer_that_is_remembered_counts_for_those_above_too(team: Team, remember: Any) -> None:
    team.add("leaf", [call("work", text="a"), call("work", text="a"), lambda r: say(told(r))], work)
    team.add("boss", [call("task", agent="leaf", prompt="l"), "Fine."], subagents=["leaf"], permissions={"work": "ask"})
    session = await team.start()
    run = await session.prompt("Go.")
    found = await question(session)
    await session.approvals.approve(found.action, remember=remember, rule="work")
    assert (await within(session.wait(run))).text == "Fine."
    assert len(await data(session, SubagentAsked)) == 1


# --- hooks ----------------------------------------------------------------------------------------------------------


async def test_hooks_of_all_levels_are_called_for_a_child_as_its_own(team: Team) -> None:
    heard: list[tuple[str, str, str]] = []

    def listen(of: str) -> Any:
        async def hear(call_: HookCall) -> None:
            heard.append((of, call_.session, call_.payload["tool"]))

        return Hook(HookSpec(f"of-{of}", "before_tool"), hear)

    team.add("leaf", [call("work", text="a"), "leaf"], work, hooks=[listen("leaf")])
    team.add("boss", [call("task", agent="leaf", prompt="l"), "Fine."], subagents=["leaf"], hooks=[listen("boss")])
    session = await team.start()
    await within(session.send("Go."))
    (leaf,) = await children(session)
    assert heard == [("boss", session.id, "task"), ("leaf", leaf.id, "work"), ("boss", leaf.id, "work")]


async def test_a_hook_of_the_host_or_of_one_that_asks_itself_is_called_once_for_each_call(team: Team) -> None:
    heard: list[tuple[str, str]] = []

    def listen(of: str) -> Hook:
        async def hear(call_: HookCall) -> None:
            heard.append((of, call_.session))

        return Hook(HookSpec(f"of-{of}", "before_tool"), hear)

    def play(request: Any) -> Any:
        return call("work", text="a") if asked(request) == "deeper" else call("task", agent="boss", prompt="deeper")

    team.add("boss", [play, "Fine."], work, subagents=["boss"], hooks=[listen("boss")])
    session = await team.start(runtime=await team.runtime(hooks=[listen("host")]))
    await within(session.send("Go."))
    (child,) = await children(session)
    assert sorted(heard) == sorted((of, at) for of in ("boss", "host") for at in (session.id, child.id))


async def test_a_hook_above_blocks_what_a_grandchild_does_also_after_a_restart(team: Team) -> None:
    held, reached = asyncio.Event(), asyncio.Event()

    async def block(call_: HookCall) -> HookResult | None:
        return HookResult("block", reason="not here") if call_.payload["tool"] == "work" else None

    team.add("leaf", [hold(held, reached=reached) + call("work", text="a"), lambda r: say(told(r))], work)
    team.add("branch", [call("task", agent="leaf", prompt="l"), lambda r: say(told(r))], subagents=["leaf"])
    team.add(
        "boss",
        [call("task", agent="branch", prompt="b"), lambda r: say(told(r))],
        subagents=["branch"],
        hooks=[Hook(HookSpec("b", "before_tool"), block)],
    )
    session = await team.start()
    run = await session.prompt("Go.")
    await within(reached.wait())
    await team.bench.close()
    held.set()
    again = await team.runtime()
    await again.create(team.agents["boss"])
    await again.desk.recover()
    session = await again.open_session(session.id)
    assert "not here" in (await within(session.wait(run))).text


async def test_a_live_hook_of_a_parent_that_was_let_go_of_and_opened_again_is_called(team: Team) -> None:
    held, reached = asyncio.Event(), asyncio.Event()

    async def block(call_: HookCall) -> HookResult | None:
        return HookResult("block", reason="not here") if call_.payload["tool"] == "work" else None

    team.add("leaf", [hold(held, reached=reached) + call("work", text="a"), lambda r: say(told(r))], work)
    team.add("boss", [call("task", agent="leaf", prompt="l", background=True), "On.", "Heard."], subagents=["leaf"])
    session = await team.start()
    await within(session.send("Go."))
    await within(reached.wait())
    runtime = home(session)
    await session.detach()
    await asyncio.sleep(0)
    session = await runtime.open_session(session.id)
    session.register_hook(Hook(HookSpec("b", "before_tool"), block))
    held.set()
    await rest(runtime)
    assert "not here" in ((await session.tasks.all())[0].output or "")


@pytest.mark.parametrize("drive", [True, False])
async def test_a_hook_above_blocks_what_a_host_calls_on_a_child(team: Team, drive: bool) -> None:
    async def block(call_: HookCall) -> HookResult | None:
        return HookResult("block", reason="not here") if call_.payload["tool"] == "work" else None

    hook = Hook(HookSpec("b", "before_tool"), block)
    team.add("leaf", ["leaf"], work)
    team.add("boss", [call("task", agent="leaf", prompt="l"), "Fine."], subagents=["leaf"], hooks=[hook])
    session = await team.start()
    await within(session.send("Go."))
    runtime, (task,) = home(session), await session.tasks.all()
    await rest(runtime)
    await runtime.desk.drop(task.session)
    child = await runtime.open_session(task.session, drive=drive)
    result = await child.tool("work", {"text": "a"})
    assert (result.status, "not here" in result.output) == ("denied", True)


async def test_a_host_is_told_of_limits(team: Team) -> None:
    team.add("leaf", ECHO)
    team.add("boss", ["Heard."] * 9, subagents=["leaf"], limits=godwit.Limits(max_descendants=2))
    session = await team.start()
    for n in range(2):
        await session.tasks.start("leaf", f"{n}")
    with pytest.raises(SubagentLimit, match="limit is 2"):
        await session.tasks.start("leaf", "3")
    await rest(home(session))


# --- what an agent is made of when it works for another ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["explore", "general", "plan", "review", "verify", "code-review"])
async def test_built_in_agents_work_with_the_models_of_who_asks(team: Team, name: str) -> None:
    # The one model plays both: what it is asked tells which.
    def play(request: Any) -> Any:
        return (
            call("task", agent=name, prompt="look") if asked(request) == "Go." else call("write", file_path="x", content="y")
        )

    team.add("boss", [play, lambda r: say(told(r))], subagents=[name])
    session = await team.start()
    result = await within(session.send("Go."))
    (task,) = await session.tasks.all()
    assert task.status == "completed", task.error
    written = (team.bench.workspace / "x").exists()
    assert written == (name == "general"), "those that are to look only cannot write"
    assert result.text


async def test_the_sandbox_and_the_approval_policy_are_narrowed_for_the_whole_line(team: Team) -> None:
    auto = ApprovalPolicy(auto=("execute", "query"))
    three_levels(
        team,
        leaf={"approvals": auto, "sandbox": SandboxPolicy(network=True), "limits": godwit.Limits(max_depth=9)},
        sandbox=SandboxPolicy(hidden=("/srv",)),
        limits=godwit.Limits(max_depth=4),
    )
    session = await team.start()
    await within(session.send("Go."))
    leaf = (await children(session))[-1]
    spec = leaf.config.spec
    assert spec.name.startswith("leaf@1~")
    assert (spec.sandbox.network, spec.sandbox.hidden) == (False, ("/srv",))
    assert (spec.limits.max_depth, spec.approvals.auto) == (4, ())
    assert [t.agent for t in await (await children(session))[0].tasks.all()] == ["leaf"]


# --- questions ------------------------------------------------------------------------------------------------------


async def test_a_grandchild_is_answered_at_the_first_session_with_other_arguments(team: Team) -> None:
    three_levels(team, leaf={"permissions": {"work": "ask"}})
    session = await team.start()
    run = await session.prompt("Go.")
    found = await question(session)
    branch, leaf = await children(session)
    assert (found.asked_by, found.path, found.arguments) == (leaf.id, ("branch", "leaf"), {"text": "a"})
    for at, path in ((session, ("branch", "leaf")), (branch, ("leaf",)), (leaf, ())):
        (pending,) = await at.approvals.pending()
        assert (pending.id, pending.path, pending.session) == (found.action, path, leaf.id)
    assert [t.status for t in await session.tasks.all()] == ["waiting"]
    assert await session.approve(found.action, arguments={"text": "b"}) is True
    assert await session.approve(found.action) is False
    assert "worked b" in (await within(session.wait(run))).text
    assert await session.approvals.pending() == []
    with pytest.raises(ActionNotFound):
        await session.approve("act_nobody")


async def test_it_is_denied_there_with_a_reason(team: Team) -> None:
    three_levels(team, leaf={"permissions": {"work": "ask"}})
    session = await team.start()
    run = await session.prompt("Go.")
    found = await question(session)
    await session.approvals.deny(found.action, "not on Fridays")
    assert "not on Fridays" in (await within(session.wait(run))).text


async def test_it_is_answered_at_the_child_meanwhile(team: Team) -> None:
    three_levels(team, leaf={"permissions": {"work": "ask"}})
    session = await team.start()
    run = await session.prompt("Go.")
    found = await question(session)
    leaf = (await children(session))[-1]
    assert await leaf.approve(found.action) is True
    assert await session.approve(found.action) is False
    assert "worked a" in (await within(session.wait(run))).text
    assert await session.approvals.pending() == []


async def test_nobody_answers_in_time(team: Team) -> None:
    three_levels(team, leaf={"permissions": {"work": "ask"}}, approvals=ApprovalPolicy(0.2))
    session = await team.start()
    result = await within(session.send("Go."))
    assert "nobody answered in time" in result.text


async def test_the_result_of_an_external_tool_is_given_at_the_first_session(team: Team) -> None:
    outside = ToolDefinition("outside", "Done elsewhere.", {"type": "object", "properties": {}})
    team.add("leaf", [call("outside"), lambda r: say(told(r))], outside)
    team.add("boss", [call("task", agent="leaf", prompt="l"), lambda r: say(told(r))], subagents=["leaf"])
    session = await team.start()
    run = await session.prompt("Go.")
    found = await question(session)
    assert found.kind == "external"
    await session.approvals.answer(found.action, "from outside")
    assert (await within(session.wait(run))).text == "from outside"


async def test_a_question_is_there_and_can_be_answered_after_a_restart(team: Team) -> None:
    three_levels(team, leaf={"permissions": {"work": "ask"}})
    session = await team.start()
    run = await session.prompt("Go.")
    found = await question(session)
    await team.bench.close()
    again = await team.runtime()
    await again.create(team.agents["boss"])
    await again.desk.recover()
    session = await again.open_session(session.id)
    assert await session.approve(found.action) is True
    assert "worked a" in (await within(session.wait(run))).text
    assert len(await data(session, SubagentAsked)) == 1


async def test_several_ask_at_once_and_each_is_told_once(team: Team) -> None:
    team.add("leaf", [call("work", text="a") + call("work", text="b"), "leaf"], work, permissions={"work": "ask"})
    tasks = [{"agent": "leaf", "prompt": "1"}, {"agent": "leaf", "prompt": "2"}]
    team.add("boss", [call("task", tasks=tasks), "Fine."], subagents=["leaf"])
    session = await team.start()
    run = await session.prompt("Go.")
    await question(session, 4)
    pending = await session.approvals.pending()
    assert len(pending) == 4
    for one in pending:
        await session.approve(one.id)
    assert (await within(session.wait(run))).text == "Fine."
    assert len(await data(session, SubagentAsked)) == 4
    assert [len(await data(child, SubagentStarted)) for child in await children(session)] == [0, 0]
    assert [d.status for d in await ends(session)] == ["completed"] * 2
    assert (await results(session))[0].status == "ok"


async def test_a_fork_of_a_child_is_held_to_what_its_parent_may(team: Team) -> None:
    leaf = {"permissions": godwit.Permissions(allow=("work",))}
    team.add("leaf", ["Hello.", call("work", text="a"), lambda r: say(told(r))], work, **leaf)
    team.add(
        "boss",
        [call("task", agent="leaf", prompt="l"), lambda r: say(told(r))],
        subagents=["leaf"],
        permissions=godwit.Permissions(deny=("work",)),
        budget={"turns": 5, "scope": "tree"},
    )
    session = await team.start()
    assert (await within(session.send("Go."))).text == "Hello."
    (child,) = await children(session)
    fork = await child.fork()
    again = await fork.fork(key="k")
    assert (await within(fork.send("Work."))).text == "The tool 'work' is not permitted."
    for one in (fork, again):
        state = await one.state()
        assert (state.parent, state.depth, state.root) == (session.id, 1, session.id)
    # Three turns were spent before, two by the first fork: what it spent is its parent's.
    assert (await session.spent(tree=True)).turns == 5
    assert (await within(again.send("Work."))).outcome == "limited"
    # It is no task: a cancel of all tasks is not about it, and with its origin and its parent gone a person goes on with it.
    assert [t.session for t in await session.tasks.all()] == [child.id]
    await home(session).delete_session(session.id)
    await home(session).delete_session(child.id)
    run = await again.prompt("And now?")
    assert not await home(session).subagents.orphaned(again.id)
    await within(again.wait(run))
