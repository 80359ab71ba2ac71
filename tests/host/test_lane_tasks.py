"""Calls that workers do: handed out once, answered once, tried again only where that is allowed, and dead letters."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from tests.host.lane_place import MODEL, Place, done, finished, until, within

import godwit
from godwit.client.tasks import DatabaseTasks
from godwit.core.agent import ToolDefinition
from godwit.core.errors import ConfigurationError, InvalidArgument, LaneNotFound, WorkLost
from godwit.core.events import ActionOpened, ToolStarted, UserAnswer
from godwit.core.ids import RandomIds
from godwit.core.lanes import ExternalTaskResult, LaneConfig, LaneHandler, LaneSettings
from godwit.core.messages import Text, User, text_of
from godwit.engine.session import Session
from godwit.host.lane_tasks import LaneTasks
from godwit.models.script import call, say
from godwit.stores.sqlite import SqliteStore

GO = [call("build", target="a"), say("done")]


async def test_a_worker_does_the_call_and_the_session_goes_on(place: Place) -> None:
    session = await place.start(GO)
    run = asyncio.ensure_future(session.send("go"))
    leased = await place.lease()
    assert (leased.task.command_type, leased.task.payload, leased.task.attempt) == ("build", {"target": "a"}, 1)
    assert (await session.status(), (await session.queue_stats()).lanes["execute"].external) == ("waiting", 1)
    assert await session.approvals.pending() == [], "nobody is asked: workers see to it"
    assert (await place.runtimes[-1].sessions())[0].actions == 0
    (pending,) = await session.pending_external_tasks()
    assert (pending.id, pending.state, pending.worker, pending.lane) == (leased.task.id, "leased", "w1", "execute")
    assert await done(place, leased, metadata={"exit_code": 0})
    assert (await within(run)).text == "done"
    (result,) = await finished(session)
    assert (result.status, text_of(result.content)) == ("ok", "built outside")
    assert result.metadata == {"exit_code": 0, "worker": "w1"}
    assert place.ran == []
    assert not [e for e in await session.events() if isinstance(e.data, ToolStarted)]
    assert await session.pending_external_tasks() == []
    await place.nothing()


async def test_a_late_or_repeated_completion_is_refused(place: Place) -> None:
    session = await place.start(GO)
    run = asyncio.ensure_future(session.send("go"))
    leased = await place.lease()
    assert await done(place, leased)
    assert await done(place, leased, "twice") is False
    assert await place.tasks.fail(leased.task.id, leased.token, "late", tenant=None) is False
    assert await place.tasks.complete("act_unknown", "t", (), tenant=None) is False
    await within(run)
    assert await session.complete_external_task(leased.task.id, ExternalTaskResult()) is False
    assert [text_of(r.content) for r in await finished(session)] == ["built outside"]
    assert len([e for e in await session.events() if isinstance(e.data, UserAnswer)]) == 1


async def test_what_nobody_has_begun_is_not_lost(place: Place) -> None:
    """A worker that dies before its first heartbeat, or that was gone when it was answered, has done nothing."""
    session = await place.start(GO)
    await session.set_lane_handler("execute", LaneHandler("outside", timeout_s=3600, lease_s=30))
    run = asyncio.ensure_future(session.send("go"))
    gone = await place.lease(begins=False)
    await place.nothing()
    place.clock.passed_s += 6
    again = await place.lease(worker="w2")
    assert (again.task.id, again.task.attempt) == (gone.task.id, 1)
    with pytest.raises(WorkLost):
        await place.tasks.heartbeat(gone.task.id, gone.token, tenant=None)
    assert await done(place, again)
    await within(run)
    assert await session.dead_letters() == []


async def test_a_completion_after_the_lease_has_run_out_is_late_although_nobody_has_looked(place: Place) -> None:
    session = await place.start(GO)
    await session.set_lane_handler("execute", LaneHandler("outside", timeout_s=3600, lease_s=20))
    await session.prompt("go")
    leased = await place.lease()
    place.clock.passed_s += 21
    assert await done(place, leased) is False
    with pytest.raises(WorkLost):
        await place.tasks.heartbeat(leased.task.id, leased.token, tenant=None)
    assert not any(isinstance(e.data, UserAnswer) for e in await session.events())
    await place.nothing()  # whoever looks next says what follows
    assert (await within(session.wait())).text == "done"
    assert ["lost" in text_of(r.content) for r in await finished(session)] == [True]


async def test_the_holder_of_the_session_may_answer_in_the_workers_place(place: Place) -> None:
    """Seed 001: complete_external_task by id; the shape of a result; what a worker says later is refused."""
    session = await place.start([call("build", target="a") + call("build", target="b"), say("done")])
    run = asyncio.ensure_future(session.send("go"))
    leased = await place.lease()
    assert await session.complete_external_task("act_unknown", {"success": True}) is False
    result = {"success": True, "result": {"output": "by hand", "exit_code": 3, "metadata": {"who": "me"}}}
    assert await session.complete_external_task(leased.task.id, result) is True
    assert await done(place, leased) is False
    with pytest.raises(WorkLost):
        await place.tasks.heartbeat(leased.task.id, leased.token, tenant=None)
    second = await place.lease()
    assert await session.complete_external_task(second.task.id, {"success": False}) is True
    await within(run)
    first, failed = await finished(session)
    assert (text_of(first.content), first.metadata) == ("by hand", {"exit_code": 3, "who": "me"})
    assert (failed.status, text_of(failed.content)) == ("error", "External task failed")


async def test_of_many_who_ask_one_gets_it(place: Place) -> None:
    session = await place.start(GO)
    asking = [asyncio.ensure_future(place.tasks.lease(("execute",), tenant=None, worker=str(n), wait_s=1)) for n in range(8)]
    run = asyncio.ensure_future(session.send("go"))
    (leased,) = [one for one in await asyncio.gather(*asking) if one is not None]
    assert await done(place, leased)
    await within(run)


async def test_a_worker_gets_what_its_lanes_labels_and_tools_fit(place: Place) -> None:
    session = await place.start(GO)
    await session.set_lane_handler("execute", LaneHandler("outside", labels={"os": "linux"}))
    run = asyncio.ensure_future(session.send("go"))
    await until(session, "run.parked")
    await place.nothing(labels={"os": "windows"})
    await place.nothing(labels={"os": "linux"}, tools=["fetch"])
    await place.nothing(labels={"os": "linux"}, tenant="another")
    assert await place.tasks.lease(("query",), tenant=None, worker="w") is None
    leased = await place.lease(labels={"os": "linux", "gpu": "none"}, tools=["build"])
    await done(place, leased)
    await within(run)


async def test_a_tenant_finds_nothing_of_anothers(place: Place) -> None:
    session = await place.start([call("build", target="a"), say("done")], tenant="acme")
    await session.prompt("go")
    await until(session, "run.parked")
    tasks = place.tasks
    await place.nothing()
    await place.nothing(tenant="other")
    leased = await place.lease(tenant="acme")
    for tenant in (None, "other"):
        assert await tasks.complete(leased.task.id, leased.token, (), tenant=tenant) is False
        assert await tasks.fail(leased.task.id, leased.token, "no", tenant=tenant) is False
        with pytest.raises(WorkLost):
            await tasks.heartbeat(leased.task.id, leased.token, tenant=tenant)
    assert await tasks.fail(leased.task.id, leased.token, "no", tenant="acme")
    await within(session.wait())
    assert [d.id for d in await tasks.dead_letters(tenant="acme")] == [leased.task.id]
    for tenant in (None, "other"):
        assert await tasks.dead_letters(tenant=tenant) == []
        assert not await tasks.requeue(leased.task.id, tenant=tenant)
        assert not await tasks.drop(leased.task.id, tenant=tenant)


async def test_a_lost_call_is_not_done_again_unless_it_is_repeatable(place: Place) -> None:
    """Upstream a failed or timed-out external task runs up to four times."""
    session = await place.start([call("build", target="a"), call("fetch", url="u"), say("done")])
    await session.set_lane_handler("execute", LaneHandler("outside", timeout_s=3600, lease_s=10))
    run = asyncio.ensure_future(session.send("go"))
    lost = await place.lease()
    place.clock.passed_s += 11
    fetch = await place.lease(worker="w2")
    assert fetch.task.command_type == "fetch", "build was not handed out again"
    assert await done(place, lost) is False
    place.clock.passed_s += 11
    again = await place.lease(worker="w3")
    assert (again.task.id, again.task.attempt) == (fetch.task.id, 2)
    assert await done(place, fetch) is False, "its lease had run out"
    assert await done(place, again, "fetched outside")
    await within(run)
    build, fetched = await finished(session)
    assert build.status == "error"
    assert "w1 was lost" in text_of(build.content)
    assert text_of(fetched.content) == "fetched outside"
    assert [(d.command_type, d.attempts, d.worker) for d in await session.dead_letters()] == [("build", 1, "w1")]


async def test_what_fails_for_the_last_time_is_a_dead_letter(place: Place) -> None:
    session = await place.start([call("fetch", url="u"), say("done")])
    run = asyncio.ensure_future(session.send("go"))
    for attempt in (1, 2):
        leased = await place.lease()
        assert leased.task.attempt == attempt
        assert await place.tasks.fail(leased.task.id, leased.token, "no network", tenant=None)
    await within(run)
    (result,) = await finished(session)
    assert (result.status, text_of(result.content)) == ("error", "[no network]")
    (letter,) = await session.dead_letters()
    assert (letter.error, letter.attempts, letter.lane, letter.payload) == ("no network", 2, "execute", {"url": "u"})
    assert await place.tasks.dead_letter(letter.id, tenant=None) == letter
    assert await session.drop_dead_letter(letter.id) is True
    assert await session.drop_dead_letter(letter.id) is False
    assert await session.dead_letters() == []


async def test_a_dead_letter_that_is_put_back_tells_its_result_as_a_follow_up(place: Place) -> None:
    session = await place.start([call("build", target="a"), say("failed"), say("thank you")])
    run = asyncio.ensure_future(session.send("go"))
    leased = await place.lease()
    await place.tasks.fail(leased.task.id, leased.token, "no disk", tenant=None)
    assert (await within(run)).text == "failed"
    assert await session.requeue_dead_letter("act_unknown") is False
    assert await session.requeue_dead_letter(leased.task.id) is True
    assert await session.dead_letters() == []
    again = await place.lease()
    assert again.task.attempt == 1
    await place.tasks.heartbeat(again.task.id, again.token, tenant=None)
    assert await done(place, again)
    await until(session, "run.started", 2)
    assert (await within(session.wait())).text == "thank you"
    told = [text_of(m.content) for m in await session.history() if isinstance(m, User)]
    assert "done again" in told[-1]
    assert "built outside" in told[-1]


async def test_the_newest_dead_letters_are_kept(place: Place) -> None:
    """Seed 001: a queue of two that has seen three failures keeps the last two."""
    settings = LaneSettings((LaneConfig("execute", mode="outside"),), dead_letters=2)
    session = await place.start([*(call("build", target=t) for t in "abc"), say("done")], lanes=settings)
    run = asyncio.ensure_future(session.send("go"))
    for _ in range(3):
        leased = await place.lease()
        await place.tasks.fail(leased.task.id, leased.token, "no", tenant=None)
    await within(run)
    assert [d.payload["target"] for d in await session.dead_letters()] == ["b", "c"]


async def test_what_nobody_does_in_time_is_an_error_and_a_dead_letter(place: Place) -> None:
    session = await place.start(GO)
    await session.set_lane_handler("execute", LaneHandler("outside", timeout_s=0.2))
    assert (await within(session.send("go"))).text == "done"
    (result,) = await finished(session)
    assert (result.status, "in time" in text_of(result.content)) == ("error", True)
    assert "worker" not in result.metadata, "nobody did it"
    assert await session.pending_external_tasks() == []
    (letter,) = await session.dead_letters()
    assert (letter.attempts, "in time" in letter.error) == (0, True)
    await place.nothing()


async def test_a_heartbeat_keeps_the_lease_and_says_when_nobody_waits(place: Place) -> None:
    session = await place.start(GO)
    await session.set_lane_handler("execute", LaneHandler("outside", timeout_s=3600, lease_s=10))
    await session.prompt("go")
    leased = await place.lease()
    for _ in range(4):
        place.clock.passed_s += 6
        await place.tasks.heartbeat(leased.task.id, leased.token, tenant=None)
    await place.nothing()
    with pytest.raises(WorkLost):
        await place.tasks.heartbeat(leased.task.id, "another", tenant=None)
    await session.interrupt()
    assert (await within(session.wait())).outcome == "interrupted"
    with pytest.raises(WorkLost, match="nobody waits"):
        await place.tasks.heartbeat(leased.task.id, leased.token, tenant=None)
    assert await done(place, leased) is False
    assert await session.dead_letters() == []


async def test_what_was_not_begun_is_given_back_and_counts_for_nothing(place: Place) -> None:
    session = await place.start(GO)
    run = asyncio.ensure_future(session.send("go"))
    leased = await place.lease()
    assert await place.tasks.give_back(leased.task.id, leased.token, tenant=None)
    assert await place.tasks.give_back(leased.task.id, leased.token, tenant=None) is False
    again = await place.lease(worker="w2")
    assert again.task.attempt == 1
    await done(place, again)
    await within(run)


async def test_tasks_survive_the_host(place: Place) -> None:
    session = await place.start(GO)
    await session.prompt("go")
    leased = await place.lease()
    await place.runtimes.pop().close()
    runtime = await place.open(GO)
    assert await done(place, leased), "the lease is in the database"
    opened = await runtime.open_session(session.id, agent=place.agent())
    assert (await within(opened.wait())).text == "done"


async def test_seed_what_waits_survives_with_all_it_is_made_of(place: Place) -> None:
    """Upstream persistence stores an empty payload."""
    session = await place.start(GO)
    await session.set_lane_handler("execute", LaneHandler("outside", timeout_s=3600, labels={"os": "linux"}, lease_s=7))
    await session.prompt("go")
    await until(session, "run.parked")
    (before,) = await session.pending_external_tasks()
    await place.runtimes.pop().close()
    runtime = await place.open(GO)
    opened = await runtime.open_session(session.id, agent=place.agent())
    assert await opened.pending_external_tasks() == [before]
    assert (before.payload, before.labels, before.expires_ms) == (
        {"target": "a"},
        {"os": "linux"},
        before.created_ms + 3_600_000,
    )
    leased = await place.lease(labels={"os": "linux"})
    assert (leased.task.payload, leased.lease_s) == ({"target": "a"}, 7)
    await done(place, leased)
    await within(opened.wait())


async def test_a_host_that_opens_a_session_looks_after_what_was_lost_meanwhile(place: Place) -> None:
    """No worker asks for anything any more: the lease's end is seen all the same."""
    session = await place.start(GO)
    await session.set_lane_handler("execute", LaneHandler("outside", timeout_s=3600, lease_s=0.3))
    await session.prompt("go")
    await place.lease()
    await place.runtimes.pop().close()
    runtime = await place.open(GO)
    opened = await runtime.open_session(session.id, agent=place.agent())
    assert (await within(opened.wait())).text == "done"
    assert ["lost" in text_of(r.content) for r in await finished(opened)] == [True]


async def test_a_completion_that_a_crash_kept_from_the_log_is_written_by_who_looks_next(place: Place) -> None:
    session = await place.start(GO)
    run = asyncio.ensure_future(session.send("go"))
    leased = await place.lease()
    conclude, place.tasks._conclude = place.tasks._conclude, crash  # type: ignore[method-assign, assignment]
    with pytest.raises(RuntimeError):
        await done(place, leased)
    place.tasks._conclude = conclude  # type: ignore[method-assign]
    assert not run.done()
    await place.nothing()
    assert (await within(run)).text == "done"
    assert [text_of(r.content) for r in await finished(session)] == ["built outside"]


async def crash(*_: Any) -> bool:
    raise RuntimeError("the process dies here")


async def test_calls_that_write_the_same_are_done_one_after_the_other(place: Place, tmp_path: Path) -> None:
    script = [
        call("write", file_path="a.txt", content="1")
        + call("write", file_path="a.txt", content="2")
        + call("write", file_path="b.txt", content="3"),
        say("done"),
    ]
    runtime = await place.open(script)
    agent = godwit.Agent("writer", model=MODEL, tools=["files"])
    session = await runtime.start_session(agent, workspace=tmp_path)
    run = asyncio.ensure_future(session.send("go"))
    first, other = await place.lease(), await place.lease()
    assert (first.task.payload["content"], other.task.payload["content"]) == ("1", "3")
    await place.nothing()
    await done(place, first)
    second = await place.lease()
    assert second.task.payload["content"] == "2"
    for leased in (other, second):
        await done(place, leased)
    await within(run)


async def test_the_mode_is_the_sessions_and_can_be_switched_while_it_works(place: Place) -> None:
    """Seed 001: a handler takes effect with the next call; it is in the log, so it outlives the process."""
    session = await place.start([call("build", target=t) for t in "ab"] + [say("done")])
    run = asyncio.ensure_future(session.send("go"))
    leased = await place.lease()
    await session.set_lane_handler("execute", "inside")
    assert (await session.queue_stats()).lanes["execute"].mode == "inside"
    await done(place, leased)
    await within(run)
    assert place.ran == ["b"]
    await place.runtimes.pop().close()
    runtime = await place.open([call("build", target="c"), say("done")])
    opened = await runtime.open_session(session.id, agent=place.agent())
    assert (await opened.state()).lanes["execute"].mode == "inside"
    with pytest.raises(LaneNotFound):
        await opened.set_lane_handler("nowhere", "outside")
    for lane in ("generate", "control"):
        with pytest.raises(ConfigurationError, match="only tool calls"):
            await opened.set_lane_handler(lane, "outside")
    with pytest.raises(ConfigurationError):
        await opened.set_lane_handler("execute", {"mode": "nowhere"})


async def test_who_works_for_a_session_has_its_calls_done_where_that_ones_are(place: Place) -> None:
    """They work on the same files, wherever these are."""
    runtime = await place.open(GO, lanes=LaneSettings())
    above = await runtime.start_session(place.agent())
    below = await runtime.start_session(place.agent(), parent=above.id)
    await above.set_lane_handler("execute", LaneHandler("outside", labels={"disk": "1"}))
    assert (await below.queue_stats()).lanes["execute"].mode == "outside"
    run = asyncio.ensure_future(below.send("go"))
    leased = await place.lease(labels={"disk": "1"})
    assert leased.task.session == below.id
    await done(place, leased)
    await within(run)
    await below.set_lane_handler("execute", "inside")
    assert (await below.queue_stats()).lanes["execute"].mode == "inside"


async def test_the_lane_says_how_long_a_call_may_take_where_no_handler_does(place: Place) -> None:
    session = await place.start(GO, lanes=LaneSettings((LaneConfig("execute", mode="outside", timeout_s=7),)))
    await session.prompt("go")
    await until(session, "run.parked")
    (task,) = await session.pending_external_tasks()
    assert task.expires_ms == task.created_ms + 7000


async def test_both_means_inside_while_there_is_room_and_outside_when_a_worker_is_there(place: Place) -> None:
    go, reached = asyncio.Event(), asyncio.Event()

    @godwit.tool
    async def slow() -> str:
        """Be slow."""
        reached.set()
        await go.wait()
        return "inside"

    place.tools = [slow]
    lanes = LaneSettings((LaneConfig("execute", mode="both", concurrency=1),))
    runtime = await place.open([call("slow"), say("done")], lanes=lanes)
    sessions = [await runtime.start_session(place.agent()) for _ in range(3)]
    first = asyncio.ensure_future(sessions[0].send("go"))
    await within(reached.wait())
    second = asyncio.ensure_future(sessions[1].send("go"))
    while not runtime.lanes.stats().pending:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.01)
    assert await sessions[1].pending_external_tasks() == [], "no worker has asked: it waits for room here"
    await place.nothing()
    third = asyncio.ensure_future(sessions[2].send("go"))
    leased = await place.lease()
    assert leased.task.session == sessions[2].id
    await done(place, leased, "outside")
    await within(third)
    go.set()
    await within(asyncio.gather(first, second))
    assert [text_of((await finished(s))[0].content) for s in sessions] == ["inside", "inside", "outside"]


async def test_a_call_goes_out_only_once_a_person_has_approved_it(place: Place) -> None:
    runtime = await place.open(GO)
    agent = place.agent(permissions=godwit.Permissions(ask=("build",)))
    session = await runtime.start_session(agent)
    run = asyncio.ensure_future(session.send("go"))
    await until(session, "run.parked")
    asked = await session.pending_confirmations()
    await place.nothing()
    await session.approve(asked[0].id, arguments={"target": "edited"})
    leased = await place.lease()
    assert leased.task.payload == {"target": "edited"}
    await done(place, leased)
    await within(run)


async def test_hooks_see_what_a_worker_returns_and_large_outputs_become_artifacts(place: Place) -> None:
    seen: list[Any] = []

    @godwit.hook("after_tool")
    def look(told: godwit.HookCall) -> None:
        seen.append((told.payload["tool"], told.payload["exit_code"]))

    runtime = await place.open(GO, hooks=[look])
    session = await runtime.start_session(place.agent())
    run = asyncio.ensure_future(session.send("go"))
    await done(place, await place.lease(), "x" * 300_000, metadata={"exit_code": 1}, is_error=True)
    await within(run)
    (result,) = await finished(session)
    assert (result.status, seen) == ("error", [("build", 1)])
    assert len(text_of(result.content)) < 100_000
    assert len(await session.artifacts.get(result.metadata["artifact"])) == 300_000


async def test_tools_without_a_body_are_pending_as_well(place: Place) -> None:
    ask = ToolDefinition("ask", "Ask.", {"type": "object", "properties": {}})
    place.tools = [ask]
    session = await place.start([call("ask"), say("done")])
    run = asyncio.ensure_future(session.send("go"))
    await until(session, "run.parked")
    pending = await session.pending_external_tasks()
    assert [(t.command_type, t.state) for t in pending] == [("ask", "queued")]
    await place.nothing()
    assert await session.complete_external_task(pending[0].id, {"success": True, "result": "42"})
    await within(run)


async def test_a_paused_session_hands_out_nothing(place: Place) -> None:
    session = await place.start(GO)
    await session.prompt("go")
    await until(session, "run.parked")
    await session.pause()
    await place.nothing()
    await session.resume()
    await done(place, await place.lease())
    assert (await within(session.wait())).text == "done"


async def test_metrics_are_there_only_where_they_are_wanted(place: Place) -> None:
    """Seed 001: a queue is always there; its metrics are None unless enabled."""
    session = await place.start([say("hello")])
    assert session.has_queue() is True
    assert await session.queue_metrics() is None
    assert await session.dead_letters() == []
    await session.send("go")
    stats = await session.queue_stats()
    assert (stats.pending, stats.active, stats.external) == (0, 0, 0)
    assert set(stats.lanes) == {"control", "query", "execute", "generate"}
    runtime = await place.open([say("hello")], lanes=LaneSettings(metrics=True))
    counted = await runtime.start_session(place.agent())
    await counted.send("go")
    metrics = await counted.queue_metrics()
    assert metrics is not None
    assert metrics.lanes["generate"].completed == 1


async def test_deleting_a_session_takes_its_tasks_along(place: Place) -> None:
    session = await place.start(GO)
    await session.prompt("go")
    leased = await place.lease()
    await place.runtimes[-1].delete_session(session.id)
    assert await done(place, leased) is False
    await place.nothing()


async def test_the_log_says_that_workers_do_the_call(place: Place) -> None:
    session = await place.start(GO)
    run = asyncio.ensure_future(session.send("go"))
    await done(place, await place.lease())
    await within(run)
    (opened,) = [e.data for e in await session.events() if isinstance(e.data, ActionOpened)]
    assert (opened.kind, opened.lane) == ("external", "execute")


# --- what must not be lost --------------------------------------------------------------------------------------------


async def test_a_failure_is_heard_although_a_heartbeat_comes_in_between(place: Place) -> None:
    session = await place.start([call("fetch", url="u"), say("done")])
    run = asyncio.ensure_future(session.send("go"))
    leased = await place.lease()

    async def beat() -> None:
        with contextlib.suppress(WorkLost):
            while True:
                await place.tasks.heartbeat(leased.task.id, leased.token, tenant=None)

    beating = asyncio.ensure_future(beat())
    assert await place.tasks.fail(leased.task.id, leased.token, "no", tenant=None)
    await within(beating)
    again = await place.lease()
    assert again.task.attempt == 2
    await done(place, again)
    await within(run)


async def test_who_completes_is_told_so_although_another_wrote_it_into_the_log(place: Place) -> None:
    """All that ask for tasks see to those that are about to end, so many are about the same one."""
    turn = call("fetch", url="0")
    for n in range(1, 12):
        turn = turn + call("fetch", url=str(n))
    session = await place.start([turn, say("done")])
    run = asyncio.ensure_future(session.send("go"))
    workers = [DatabaseTasks(place.path) for _ in range(6)]
    told: list[bool] = []

    async def work(source: DatabaseTasks, name: str) -> None:
        while not run.done():
            leased = await source.lease(["execute"], worker=name, labels={}, tools=["fetch"], wait_s=0.3)
            if leased is not None:
                await source.heartbeat(leased.task.id, leased.token)
                content = (Text(f"by {name}"),)
                told.append(await source.complete(leased.task.id, leased.token, content, is_error=False, metadata={}))

    await within(asyncio.gather(*(work(source, f"w{n}") for n, source in enumerate(workers))))
    for source in workers:
        await source.close()
    assert [f.status for f in await finished(session)] == ["ok"] * 12
    assert told == [True] * 12


async def test_what_comes_after_its_time_is_refused_although_no_host_is_there(place: Place) -> None:
    session = await place.start(GO)
    await session.set_lane_handler("execute", LaneHandler("outside", timeout_s=5))
    await session.prompt("go")
    leased = await place.lease()
    await place.runtimes.pop().close()
    place.clock.passed_s += 6
    store = SqliteStore.open(place.path, clock=place.clock)
    tasks = LaneTasks(store, RandomIds(), place.clock)
    assert await tasks.complete(leased.task.id, leased.token, (Text("late"),), tenant=None) is False
    with pytest.raises(WorkLost):
        await tasks.heartbeat(leased.task.id, leased.token, tenant=None)
    await tasks.close()
    await store.close()
    again = await (await place.open(GO)).open_session(session.id, agent=place.agent())
    await within(again.wait())
    assert text_of((await finished(again))[0].content) == "[nobody answered in time]"
    assert [letter.id for letter in await again.dead_letters()] == [leased.task.id]


async def dead(place: Place) -> tuple[Session, str]:
    """A session whose call is a dead letter, and that one's id."""
    session = await place.start([*GO, say("seen")])
    run = asyncio.ensure_future(session.send("go"))
    leased = await place.lease()
    await place.tasks.fail(leased.task.id, leased.token, "no", tenant=None)
    await within(run)
    return session, leased.task.id


async def test_what_was_put_back_can_be_seen_and_answered(place: Place) -> None:
    session, letter = await dead(place)
    assert await session.requeue_dead_letter(letter)
    (task,) = await session.pending_external_tasks()
    assert (task.id, task.requeued, task.expires_ms) == (letter, True, None)
    assert (await session.queue_stats()).external == 1
    assert await session.complete_external_task(letter, {"result": "by hand"})
    assert not await session.complete_external_task(letter, {"result": "twice"})
    await until(session, "run.finished", 2)
    assert (await session.queue_stats()).external == 0
    assert "by hand" in text_of([m for m in await session.history() if isinstance(m, User)][-1].content)
    await place.nothing()


async def test_what_was_put_back_can_be_dropped(place: Place) -> None:
    session, letter = await dead(place)
    await session.requeue_dead_letter(letter)
    assert await session.drop_dead_letter(letter)
    assert not await session.drop_dead_letter(letter)
    assert await session.pending_external_tasks() == []
    await place.nothing()


async def test_what_an_archived_session_takes_no_more_is_a_dead_letter_again(place: Place) -> None:
    session, letter = await dead(place)
    await session.requeue_dead_letter(letter)
    leased = await place.lease()
    await place.runtimes[-1].archive(session.id)
    assert not await done(place, leased)
    (again,) = await session.dead_letters()
    assert (again.id, "takes no messages" in again.error) == (letter, True)


async def test_what_is_no_result_is_refused(place: Place) -> None:
    session = await place.start(GO)
    run = asyncio.ensure_future(session.send("go"))
    leased = await place.lease()
    wrong: list[Any] = [{"success": "yes"}, "a text", None]
    for result in wrong:
        with pytest.raises(InvalidArgument, match="no result"):
            await session.complete_external_task(leased.task.id, result)
    await done(place, leased)
    await within(run)


async def test_what_is_done_outside_is_counted(place: Place) -> None:
    script = [
        call("build", target="ok"),
        call("build", target="error"),
        call("fetch", url="u"),
        call("build", target="late"),
    ]
    session = await place.start([*script, call("build", target="interrupted"), say("done")])
    await session.prompt("go")
    await done(place, await place.lease())
    await done(place, await place.lease(), is_error=True)
    for _ in range(2):
        leased = await place.lease()
        await place.tasks.fail(leased.task.id, leased.token, "no", tenant=None)
    late = await place.lease()
    place.clock.passed_s += 61
    await place.nothing()
    assert late.task.payload == {"target": "late"}
    leased = await place.lease()
    counted = place.runtimes[-1].lanes.metrics().lanes["execute"]
    assert (counted.submitted, counted.completed, counted.failed, counted.timed_out) == (5, 1, 2, 1)
    assert (counted.retried, counted.dead, counted.cancelled) == (1, 2, 0)
    await session.interrupt()
    await within(session.wait())
    counted = place.runtimes[-1].lanes.metrics().lanes["execute"]
    assert (counted.submitted, counted.cancelled, counted.run.count) == (5, 1, 5)
    results = await finished(session)
    assert [r.metadata.get("dead_letter") is not None for r in results[:3]] == [False, False, True]
    assert results[2].metadata["attempts"] == 2
    assert (results[4].status, "may or may not have taken effect" in text_of(results[4].content)) == ("error", True)


async def test_what_a_new_message_skips_may_have_been_begun_by_a_worker(place: Place) -> None:
    session = await place.start([call("build", target="a"), say("done")])
    run = asyncio.ensure_future(session.send("go"))
    leased = await place.lease()
    await session.steer("Something else.", mode="skip")
    await within(run)
    (result,) = await finished(session)
    assert (result.status, "may or may not have taken effect" in text_of(result.content)) == ("error", True)
    assert not await done(place, leased)
