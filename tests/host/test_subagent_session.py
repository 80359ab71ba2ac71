"""SubagentSession: one child, asked again and again (seed 004)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.patience import PATIENCE_S

import godwit
from godwit import RunFailed, Runtime, SubagentEvent, SubagentSession
from godwit.contracts import ModelRequest
from godwit.core.errors import ConfigurationError, Conflict, ModelRefused, SessionBusy, SubagentLimit
from godwit.core.events import RunFinished, SubagentFinished, SubagentStarted
from godwit.core.messages import User, text_of
from godwit.models.script import Reply, Script, ScriptedModel, call, fail, hold, say, tries


def asked(request: ModelRequest) -> list[str]:
    return [text_of(e.message.content) for e in request.entries if isinstance(e.message, User)]


def recount(request: ModelRequest) -> Reply:
    return say(f"heard: {', '.join(asked(request))}")


class Stage:
    """A runtime on a file, a scripted child, and what its sink was told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = ScriptedModel([recount] * 20, "scripted:child")
        self.told: list[Any] = []
        self._open: list[Runtime] = []

    async def runtime(self) -> Runtime:
        boss = ScriptedModel(["Hello.", "Hello again."], "scripted:boss")
        made = await Runtime.open(self.path, models={"scripted:child": self.model, "scripted:boss": boss})
        self._open.append(made)
        return made

    def agent(self, script: Script | None = None, **options: Any) -> godwit.Agent:
        if script is not None:
            self.model._turns = list(script)
        return godwit.Agent("poet", model="scripted:child", instructions="You are a poet.", **options)

    @property
    def bracket(self) -> list[tuple[str, int]]:
        return [(item.kind, item.turn) for item in self.told if isinstance(item, SubagentEvent)]

    async def close(self) -> None:
        for runtime in self._open:
            await runtime.close()


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path / "godwit.db")
    yield made
    await made.close()


async def within(work: Any) -> Any:
    return await asyncio.wait_for(work, PATIENCE_S)


async def test_each_send_runs_over_all_that_was_said_and_is_folded_in(stage: Stage) -> None:
    child = SubagentSession(await stage.runtime(), stage.agent())
    assert await child.transcript() == ()
    first = await within(child.send("One?"))
    second = await within(child.send("Two?"))
    assert (first.text, second.text) == ("heard: One?", "heard: One?, Two?")
    said = [text_of(message.content) for message in await child.transcript()]
    assert said == ["One?", "heard: One?", "Two?", "heard: One?, Two?"]
    assert await child.turns() == 2


async def test_the_agent_stays_the_same_object_and_its_prompt_is_there_once(stage: Stage) -> None:
    agent = stage.agent()
    child = SubagentSession.from_subagent(await stage.runtime(), agent)
    for text in ("One?", "Two?"):
        await within(child.send(text))
        assert child.subagent() is agent
    assert [r.instructions.count("You are a poet.") for r in stage.model.requests] == [1, 1]
    assert not any("You are a poet." in text_of(m.content) for m in await child.transcript())
    assert len({r.session for r in stage.model.requests}) == 1


async def test_a_send_is_told_from_started_to_completed_with_the_childs_events_in_between(stage: Stage) -> None:
    child = SubagentSession(await stage.runtime(), stage.agent()).with_events(stage.told.append, deltas=True)
    await within(child.send("One?"))
    await within(child.send("Two?"))
    assert stage.bracket == [("started", 0), ("completed", 0), ("started", 1), ("reused", 1), ("completed", 1)]
    second = stage.told[stage.told.index(next(t for t in stage.told if getattr(t, "turn", 0) == 1)) :]
    kinds = [
        item.kind if isinstance(item, SubagentEvent) else item.type for item in second if not isinstance(item, godwit.Delta)
    ]
    assert kinds[:4] == ["started", "reused", "user.message", "run.started"]
    assert kinds[-2:] == ["run.finished", "completed"]
    assert "".join(i.text for i in second if isinstance(i, godwit.Delta)) == "heard: One?, Two?"
    seqs = [item.seq for item in stage.told if isinstance(item, godwit.Event)]
    assert seqs == sorted(set(seqs))


async def test_a_sink_may_be_a_coroutine_and_its_failure_changes_nothing(stage: Stage) -> None:
    async def sink(item: Any) -> None:
        stage.told.append(item)
        if isinstance(item, SubagentEvent):
            raise ValueError("no")

    child = SubagentSession(await stage.runtime(), stage.agent()).with_events(sink)
    assert (await within(child.send("One?"))).text == "heard: One?"
    assert stage.bracket == [("started", 0), ("completed", 0)]


async def test_a_failed_send_is_taken_back_so_that_a_retry_does_not_ask_twice(stage: Stage) -> None:
    """Defects 1 and 2 of the seed: on an error the question stayed, and nothing told of the end."""
    script: Script = ["Fine.", tries(fail(ModelRefused("no")), recount_again), "More."]
    child = SubagentSession(await stage.runtime(), stage.agent(script)).with_events(stage.told.append)
    await within(child.send("One?"))
    with pytest.raises(RunFailed):
        await within(child.send("Two?"))
    assert [text_of(m.content) for m in await child.transcript()] == ["One?", "Fine."]
    assert await child.turns() == 1
    await within(child.send("Two?"))
    assert asked(stage.model.requests[-1]) == ["One?", "Two?"]
    assert await child.turns() == 2
    assert stage.bracket[2:] == [
        ("started", 1), ("reused", 1), ("failed", 1), ("started", 1), ("reused", 1), ("completed", 1),
    ]  # fmt: skip
    failed = next(t for t in stage.told if isinstance(t, SubagentEvent) and t.kind == "failed")
    assert failed.error is not None
    assert failed.error.code == "model_refused"


recount_again = say("Again.")


async def test_a_send_whose_caller_goes_is_ended_and_taken_back(stage: Stage) -> None:
    reached = asyncio.Event()
    script: Script = [tries(hold(asyncio.Event(), reached=reached) + "never", "At once.")]
    child = SubagentSession(await stage.runtime(), stage.agent(script)).with_events(stage.told.append)
    sending = asyncio.create_task(child.send("One?"))
    await within(reached.wait())
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(sending)
    assert stage.bracket == [("started", 0), ("failed", 0)]
    assert await child.transcript() == ()
    assert not await (await child.session()).is_running()
    assert (await within(child.send("One?"))).text == "At once."
    assert asked(stage.model.requests[-1]) == ["One?"]
    assert stage.bracket[2:] == [("started", 0), ("completed", 0)]


async def test_an_interrupted_run_is_a_result_and_taken_back(stage: Stage) -> None:
    reached = asyncio.Event()
    child = SubagentSession(await stage.runtime(), stage.agent([hold(asyncio.Event(), reached=reached) + "never"]))
    sending = asyncio.create_task(child.send("One?"))
    await within(reached.wait())
    await (await child.session()).interrupt()
    assert (await within(sending)).outcome == "interrupted"
    assert (await child.turns(), await child.transcript()) == (0, ())


async def test_a_run_that_waits_or_is_paused_is_no_turn_yet(stage: Stage) -> None:
    """Defect 4 of the seed."""

    async def pay(amount: int) -> str:
        """Pay."""
        return f"paid {amount}"

    script: Script = [call("pay", amount=3), "Paid."]
    agent = stage.agent(script, tools=[pay], permissions=godwit.Permissions(ask=("pay",)))
    child = SubagentSession(await stage.runtime(), agent)
    sending = asyncio.create_task(child.send("Pay."))
    session = await child.session()
    async for event in session.follow():
        if event.type == "run.parked":
            break
    assert await child.turns() == 0
    with pytest.raises(SessionBusy):
        await child.send("And this?")
    await session.pause()
    assert await child.turns() == 0
    await session.resume()
    await session.approve((await session.approvals.pending())[0].id)
    assert (await within(sending)).text == "Paid."
    assert await child.turns() == 1


async def test_reset_begins_a_new_conversation_with_the_same_agent(stage: Stage) -> None:
    child = SubagentSession(await stage.runtime(), stage.agent()).with_events(stage.told.append)
    await child.reset()
    await within(child.send("One?"))
    await within(child.send("Two?"))
    await child.reset()
    assert (await child.turns(), await child.transcript()) == (0, ())
    assert (await within(child.send("Three?"))).text == "heard: Three?"
    assert stage.model.requests[-1].instructions.count("You are a poet.") == 1
    assert await child.turns() == 1
    assert stage.bracket[-2:] == [("started", 0), ("completed", 0)]


async def test_depth_is_one_below_whoever_asks_and_checked_before_any_model(stage: Stage) -> None:
    runtime, agent = await stage.runtime(), stage.agent(limits=godwit.Limits(max_depth=3))
    assert await SubagentSession(runtime, agent).depth() == 1
    child = SubagentSession(runtime, agent).with_parent_depth(2)
    await within(child.send("One?"))
    assert await child.depth() == 3
    with pytest.raises(Conflict):
        child.with_parent_depth(0)
    deep = SubagentSession(runtime, agent).with_parent_depth(3).with_events(stage.told.append)
    with pytest.raises(SubagentLimit):
        await deep.send("One?")
    assert len(stage.model.requests) == 1
    assert (stage.told, await deep.transcript()) == ([], ())
    with pytest.raises(ConfigurationError):
        SubagentSession(runtime, agent).with_parent_depth(-1)


async def test_each_send_has_a_context_of_its_own(stage: Stage) -> None:
    seen: list[Any] = []

    async def look(ctx: godwit.ToolContext) -> str:
        """Look."""
        seen.append(ctx.context)
        return "seen"

    child = SubagentSession(await stage.runtime(), stage.agent([call("look"), "A.", call("look"), "B."], tools=[look]))
    await within(child.send("One?", context="first"))
    await within(child.send("Two?", context="second"))
    assert seen == ["first", "second"]


async def test_it_goes_on_after_a_restart_by_its_sessions_id(stage: Stage) -> None:
    """Defect 5 of the seed: nothing was kept."""
    first = SubagentSession(await stage.runtime(), stage.agent())
    await within(first.send("One?"))
    await stage.close()
    stage._open.clear()
    runtime = await stage.runtime()
    for child in (SubagentSession(runtime, stage.agent(), session=first.id), await SubagentSession.open(runtime, first.id)):
        assert await child.turns() >= 1
    assert (await within(child.send("Two?"))).text == "heard: One?, Two?"
    assert await child.turns() == 2


async def test_what_a_death_left_undone_is_taken_back_when_it_is_used_again(stage: Stage) -> None:
    script: Script = ["Fine.", tries(fail(ModelRefused("no")), "Now."), "More."]
    runtime = await stage.runtime()
    first = SubagentSession(runtime, stage.agent(script))
    await within(first.send("One?"))
    session = await first.session()
    with pytest.raises(RunFailed):  # as if the process had died before the send was taken back
        await within(session.send("Two?"))
    child = await SubagentSession.open(runtime, first.id)
    assert [text_of(m.content) for m in await child.transcript()] == ["One?", "Fine."]
    await within(child.send("Two?"))
    assert asked(stage.model.requests[-1]) == ["One?", "Two?"]


async def test_a_send_under_a_key_is_done_once_and_begun_anew_where_it_came_to_nothing(stage: Stage) -> None:
    script: Script = [tries(fail(ModelRefused("no")), "Once."), "Twice."]
    child = SubagentSession(await stage.runtime(), stage.agent(script)).with_events(stage.told.append)
    with pytest.raises(RunFailed):
        await within(child.send("One?", key="a"))
    done = await within(child.send("One?", key="a"))
    told = len(stage.told)
    again = await within(child.send("One?", key="a"))
    assert (again.run, again.text) == (done.run, "Once.")
    assert len(stage.told) == told
    assert (await child.turns(), len(stage.model.requests)) == (1, 2)


async def test_it_can_be_compacted_as_any_session(stage: Stage) -> None:
    summary = "They asked for numbers."
    stage.model._select = lambda _: 0
    stage.model._turns = [lambda request: say(summary) if "summar" in asked(request)[-1].lower() else recount(request)]
    child = SubagentSession(await stage.runtime(), stage.agent())
    for text in ("One?", "Two?", "Three?"):
        await within(child.send(text))
    await within((await child.session()).compact(keep_tokens=0))
    await within(child.send("Four?"))
    heard = asked(stage.model.requests[-1])
    assert heard[-1] == "Four?"
    assert summary in heard[0]
    assert "One?" not in heard
    assert await child.turns() == 4


# --- with a parent ----------------------------------------------------------------------------------------------------


async def boss_of(runtime: Runtime, **options: Any) -> godwit.Session:
    return await runtime.start_session(godwit.Agent("boss", model="scripted:boss", **options))


async def test_under_a_parent_its_sends_are_tasks_in_the_parents_log(stage: Stage) -> None:
    """Defect 3 of the seed: nothing linked the two."""
    runtime = await stage.runtime()
    boss = await runtime.start_session(
        godwit.Agent("boss", model="scripted:boss"), labels=godwit.Labels(tenant="acme"), workspace=stage.path.parent
    )
    child = SubagentSession(runtime, stage.agent(), parent=boss)
    assert await child.depth() == 1
    await within(child.send("One?"))
    await within(child.send("Two?"))
    events = await boss.events()
    started = [e.data for e in events if isinstance(e.data, SubagentStarted)]
    finished = [e.data for e in events if isinstance(e.data, SubagentFinished)]
    assert [(s.child, s.agent, s.prompt, s.depth, s.reused) for s in started] == [
        (child.id, "poet", "One?", 1, 0),
        (child.id, "poet", "Two?", 1, 1),
    ]
    assert [(f.task, f.status, f.output) for f in finished] == [
        (started[0].task, "completed", "heard: One?"),
        (started[1].task, "completed", "heard: One?, Two?"),
    ]
    session = await child.session()
    ends = [e.seq for e in await session.events() if isinstance(e.data, RunFinished)]
    assert [f.up_to for f in finished] == ends
    assert (session.tenant_id, session.workspace) == ("acme", str(stage.path.parent))
    assert [t.status for t in await boss.tasks.all()] == ["completed", "completed"]
    assert not [e for e in events if e.type == "user.message"]  # the boss's model is told nothing


async def test_a_cancel_from_its_parent_ends_the_send(stage: Stage) -> None:
    reached = asyncio.Event()
    runtime = await stage.runtime()
    boss = await boss_of(runtime)
    child = SubagentSession(runtime, stage.agent([hold(asyncio.Event(), reached=reached) + "never"]), parent=boss)
    child.with_events(stage.told.append)
    sending = asyncio.create_task(child.send("One?"))
    await within(reached.wait())
    assert await boss.tasks.cancel_all() == 1
    assert (await within(sending)).outcome == "interrupted"
    assert [t.status for t in await boss.tasks.all()] == ["cancelled"]
    assert (await child.transcript(), stage.bracket) == ((), [("started", 0), ("failed", 0)])


async def test_limits_of_its_parent_hold_for_it(stage: Stage) -> None:
    """Defect 6 of the seed: depth was all that was limited."""
    runtime = await stage.runtime()
    boss = await boss_of(runtime, limits=godwit.Limits(max_descendants=1, max_depth=1))
    await boss.pause()
    await boss.prompt("Ask a poet.")  # one piece of work, which stays open
    child = SubagentSession(runtime, stage.agent(), parent=boss)
    await within(child.send("One?"))
    assert (await child.session()).config.spec.limits.max_depth == 1
    with pytest.raises(SubagentLimit):
        await SubagentSession(runtime, stage.agent(), parent=boss).send("One?")
    with pytest.raises(SubagentLimit):
        await SubagentSession(runtime, stage.agent(), parent=child.id).send("One?")
    with pytest.raises(ConfigurationError):
        SubagentSession(runtime, stage.agent(), parent=boss).with_parent_depth(1)
    assert len(stage.model.requests) == 1


async def test_what_it_asks_is_told_and_answered_above(stage: Stage) -> None:
    async def pay(amount: int) -> str:
        """Pay."""
        return f"paid {amount}"

    runtime = await stage.runtime()
    boss = await boss_of(runtime)
    agent = stage.agent([call("pay", amount=3), "Paid."], tools=[pay], permissions=godwit.Permissions(ask=("pay",)))
    child = SubagentSession(runtime, agent, parent=boss)
    sending = asyncio.create_task(child.send("Pay."))

    async def told() -> None:
        async for event in boss.follow():
            if event.type == "subagent.asked":
                return

    await within(told())
    [pending] = await boss.approvals.pending()
    assert pending.path == ("poet",)
    await boss.approve(pending.id)
    assert (await within(sending)).text == "Paid."


async def test_a_send_that_failed_is_a_failed_task_above_and_the_next_one_goes_on(stage: Stage) -> None:
    runtime = await stage.runtime()
    boss = await boss_of(runtime)
    child = SubagentSession(runtime, stage.agent([tries(fail(ModelRefused("no")), "Now.")]), parent=boss)
    with pytest.raises(RunFailed):
        await within(child.send("One?", key="a"))
    await within(child.send("One?", key="a"))
    assert [(t.status, t.reused) for t in await boss.tasks.all()] == [("failed", 0), ("completed", 0)]


async def test_a_task_that_a_death_kept_from_being_asked_stands_in_no_ones_way(stage: Stage) -> None:
    runtime = await stage.runtime()
    boss = await boss_of(runtime)
    child = SubagentSession(runtime, stage.agent(), parent=boss)
    await child.session()
    await child._begin_task((await child._chosen("lost"))[0], "Lost?", 0, 1)
    again = SubagentSession(runtime, stage.agent(), session=child.id, parent=boss)
    await within(again.send("One?"))
    assert [t.status for t in await boss.tasks.all()] == ["cancelled", "completed"]


async def test_a_fork_has_the_same_turns_and_then_goes_its_own_way(stage: Stage) -> None:
    runtime = await stage.runtime()
    child = SubagentSession(runtime, stage.agent()).with_parent_depth(2)
    await child.send("one")
    await child.send("two", key="k")
    fork = await child.fork(name="the other way")
    assert fork.id != child.id
    assert await fork.transcript() == await child.transcript()
    assert (await fork.turns(), await fork.depth()) == (2, 3)
    fork.with_events(stage.told.append)
    assert (await within(fork.send("three"))).text == "heard: one, two, three"
    assert (await within(child.send("other"))).text == "heard: one, two, other"
    assert stage.bracket == [("started", 2), ("reused", 2), ("completed", 2)]
    # A key is known where it was used.
    assert (await within(fork.send("four", key="k"))).text == "heard: one, two, three, four"
    await fork.reset()
    assert (await fork.turns(), await child.turns()) == (0, 3)
    assert (await within(child.send("last"))).text == "heard: one, two, other, last"
    again = SubagentSession(await stage.runtime(), stage.agent(), session=fork.id)
    assert (await within(again.send("anew"))).text == "heard: anew"


async def test_a_send_under_way_is_not_in_a_fork(stage: Stage) -> None:
    runtime = await stage.runtime()
    reached, release = asyncio.Event(), asyncio.Event()
    answers = tries(fail(ModelRefused("no")), hold(release, reached=reached) + "Two.")
    child = SubagentSession(
        runtime, stage.agent(["One.", lambda request: answers if asked(request)[-1] == "Two?" else recount(request)])
    )
    await child.send("One?")
    with pytest.raises(RunFailed):
        await child.send("Two?")
    sending = asyncio.create_task(child.send("Two?"))
    await within(reached.wait())
    fork = await child.fork()
    plain = await SubagentSession.open(runtime, (await (await child.session()).fork()).id)
    for other in (fork, plain):
        assert [text_of(m.content) for m in await other.transcript()] == ["One?", "One."]
        assert await other.turns() == 1
    release.set()
    assert (await within(sending)).text == "Two."
    assert (await child.turns(), await fork.turns()) == (2, 1)
    assert (await within(fork.send("Else?"))).text == "heard: One?, Else?"
    assert (await within(plain.send("More?"))).text == "heard: One?, More?"


async def test_a_fork_stands_where_its_origin_does(stage: Stage) -> None:
    """Nobody gets out of the limits above by going another way."""
    runtime = await stage.runtime()
    boss = await boss_of(runtime, limits=godwit.Limits(max_descendants=2), budget={"turns": 3, "scope": "tree"})
    await boss.pause()
    await boss.prompt("Ask a poet.")  # one piece of work, which stays open
    child = SubagentSession(runtime, stage.agent(), parent=boss)
    await within(child.send("One?"))
    fork = await child.fork()
    assert (await fork.depth(), await child.depth()) == (1, 1)
    await within(fork.send("Two?"))
    [first, second] = await boss.tasks.all()
    assert (first.session, first.reused, second.session, second.reused) == (child.id, 0, fork.id, 1)
    assert {row.id for row in await runtime.sessions(parent=boss.id)} == {child.id, fork.id}
    with pytest.raises(SubagentLimit):
        await fork.fork()
    await within(child.send("Three?"))
    met = await within(fork.send("Four?"))
    assert (met.outcome, met.error and met.error.code) == ("limited", "budget_exhausted")
    await runtime.delete_session(child.id)
    assert len(await fork.transcript()) == 4
