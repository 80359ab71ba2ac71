"""A session's runs: what is sent for each call, what is refused, and that nothing is lost where a send fails."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from godwit.core.errors import IllegalStream
from godwit.surfaces.agui import AgentSession, Interrupt, TokenUsage, events as e, verify
from godwit.surfaces.agui.seed_events import SeedInterrupt, SeedRunFinished

from .recorded import Gone, Recorded

Act = Callable[[AgentSession[Recorded, Any]], Awaitable[Any]]


def wired(producer: Recorded) -> list[dict[str, Any]]:
    return [msgspec.json.decode(e.encode(event)) for event in producer.events]


# --- the life of a run -----------------------------------------------------------------------------------------------


async def test_a_run_starts_and_finishes() -> None:
    producer = Recorded()
    session = AgentSession(producer)
    assert (session.is_running, session.run_id) == (False, None)
    run_id = await session.start_run()
    assert (session.is_running, session.run_id) == (True, run_id)
    await session.finish_run({"answer": 42})
    assert (session.is_running, session.run_id) == (False, None)
    ids = {"threadId": session.thread_id, "runId": run_id}
    assert wired(producer) == [
        {"type": "RUN_STARTED", **ids, "protocolVersion": "1.0"},
        {"type": "RUN_FINISHED", **ids, "result": {"answer": 42}},
    ]
    verify(producer.events)


async def test_threads_and_runs_without_ids_get_random_ones() -> None:
    sessions = [AgentSession(Recorded()) for _ in range(2)]
    ids = [session.thread_id for session in sessions] + [await session.start_run() for session in sessions]
    assert len({uuid.UUID(one) for one in ids}) == 4


async def test_given_ids_are_kept() -> None:
    producer = Recorded()
    session = AgentSession.with_thread_id(producer, "thread of mine")
    given = {"threadId": "thread of mine", "runId": "run of mine", "messages": []}
    assert await session.start_run("run of mine", parent_run_id="earlier", input=given) == "run of mine"
    (started,) = producer.events
    assert started == e.RunStarted(
        thread_id="thread of mine", run_id="run of mine", protocol_version="1.0", parent_run_id="earlier", input=given
    )


async def test_a_second_start_is_refused_and_the_run_goes_on() -> None:
    producer = Recorded()
    session = AgentSession(producer)
    run_id = await session.start_run()
    with pytest.raises(IllegalStream) as refused:
        await session.start_run()
    assert refused.value.details["rule"] == "running"
    assert (session.run_id, producer.types) == (run_id, ["RUN_STARTED"])


async def test_a_session_has_one_run_after_the_other() -> None:
    producer = Recorded()
    session = AgentSession(producer)
    first = await session.start_run()
    await session.run_error("broken")
    second = await session.start_run()
    await session.finish_run()
    assert first != second
    verify(producer.events)


async def test_a_run_fails_with_and_without_a_code() -> None:
    producer = Recorded()
    session = AgentSession(producer)
    await session.start_run()
    await session.run_error("broken")
    assert not session.is_running
    await session.start_run()
    usage = [TokenUsage(input_tokens=3)]
    await session.run_error_with_code("too much", "rate_limited", usage=usage)
    assert not session.is_running
    failed = [event for event in producer.events if isinstance(event, e.RunError)]
    assert failed == [e.RunError(message="broken"), e.RunError(message="too much", code="rate_limited", usage=usage)]


@pytest.mark.parametrize(
    "act",
    [
        lambda s: s.finish_run("x"),
        lambda s: s.cancel_run(),
        lambda s: s.run_error("x"),
        lambda s: s.run_error_with_code("x", "y"),
        lambda s: s.interrupt("x", {}),
        lambda s: s.interrupt_with_id("i", "x"),
        lambda s: s.interrupt_all([Interrupt(id="i", reason="x")]),
    ],
)
async def test_nothing_is_ended_where_nothing_runs(act: Act) -> None:
    producer = Recorded()
    session = AgentSession(producer)
    assert await act(session) is None
    assert producer.events == []
    await session.start_run()
    await session.finish_run()
    assert await act(session) is None  # nor twice
    assert producer.types == ["RUN_STARTED", "RUN_FINISHED"]


async def test_a_stopped_run_is_told_from_one_that_is_done() -> None:
    producer = Recorded()
    session = AgentSession(producer)
    await session.start_run()
    await session.message("m").start()
    await session.step("s").start()
    await session.cancel_run(usage=[TokenUsage(input_tokens=3)])
    *_, text, step, finished = wired(producer)
    assert (text["type"], step["type"]) == ("TEXT_MESSAGE_END", "STEP_FINISHED")
    assert (finished["outcome"], finished["usage"]) == ({"type": "cancelled"}, [{"inputTokens": 3}])
    verify(producer.events)


async def test_calls_for_the_front_end_are_named() -> None:
    producer = Recorded()
    session = AgentSession(producer)
    await session.start_run()
    async with session.tool_call("show_map", "call_1"):
        pass
    await session.finish_run(pending_tool_call_ids=["call_1"])
    assert wired(producer)[-1]["outcome"] == {"type": "success", "pendingToolCallIds": ["call_1"]}


# --- what is open at the end -----------------------------------------------------------------------------------------


async def open_all(session: AgentSession[Recorded, Any]) -> None:
    await session.message("m").start()
    await session.tool_call("f", "c").start()
    await (await session.start_thinking("Planning")).message().start()
    await session.step("plan").start()
    worker = await session.subagent("worker", "s1").start()
    await worker.step("plan").start()
    await worker.subagent("helper", "s2").start()


@pytest.mark.parametrize(
    "act",
    [
        lambda s: s.finish_run(),
        lambda s: s.cancel_run(close=False),
        lambda s: s.interrupt(),
        lambda s: s.interrupt_with_id("i"),
        lambda s: s.interrupt_all([Interrupt(id="i", reason="x")]),
    ],
)
async def test_no_end_but_a_failure_leaves_something_open(act: Act) -> None:
    session = AgentSession(Recorded())
    await session.start_run()
    await session.message().start()
    with pytest.raises(IllegalStream) as refused:
        await act(session)
    assert refused.value.details["rule"] == "left_open"
    await session.run_error("x")
    assert not session.is_running


async def test_a_finish_names_what_is_open_and_sends_nothing() -> None:
    producer = Recorded()
    session = AgentSession(producer)
    await session.start_run()
    await open_all(session)
    before = list(producer.events)
    with pytest.raises(IllegalStream, match=r"text message 'm', tool call 'c'.*step 'plan' of subagent 's1'"):
        await session.finish_run()
    assert session.is_running
    assert producer.events == before
    assert [str(one) for one in session.open][:2] == ["text message 'm'", "tool call 'c'"]


@pytest.mark.parametrize(
    ("act", "outcome"),
    [
        (lambda s: s.finish_run(close=True), None),
        (lambda s: s.cancel_run(), None),
        (lambda s: s.interrupt(close=True), {"type": "suspended"}),
    ],
)
async def test_a_finish_ends_what_is_open_where_it_is_told_to(act: Act, outcome: object) -> None:
    producer = Recorded()
    session = AgentSession(producer)
    await session.start_run()
    await open_all(session)
    await act(session)
    assert (session.is_running, session.open) == (False, ())
    verify(producer.events)
    ends = [one for one in wired(producer) if one["type"] == "SUBAGENT_FINISHED"]
    assert [(one["subagentRunId"], one.get("outcome")) for one in ends] == [("s2", outcome), ("s1", outcome)]


async def test_a_suspended_subagent_names_the_interrupts_that_are_its_own() -> None:
    producer = Recorded()
    session = AgentSession(producer)
    await session.start_run()
    await open_all(session)
    interrupts = [Interrupt(id="i1", reason="confirmation", subagent_run_id="s1"), Interrupt(id="i2", reason="x:y")]
    await session.interrupt_all(interrupts, close=True)
    ends = {one["subagentRunId"]: one["outcome"] for one in wired(producer) if one["type"] == "SUBAGENT_FINISHED"}
    assert ends == {"s1": {"type": "suspended", "interruptIds": ["i1"]}, "s2": {"type": "suspended"}}


async def test_nothing_is_ended_for_an_end_that_is_wrong_itself() -> None:
    producer = Recorded()
    session = AgentSession(producer)
    await session.start_run()
    await open_all(session)
    before = list(producer.events)
    twice = [Interrupt(id="i", reason="x"), Interrupt(id="i", reason="x")]
    for wrong in (twice, []):
        with pytest.raises(IllegalStream) as refused:
            await session.interrupt_all(wrong, close=True)
        assert refused.value.details["rule"] == "interrupts"
    assert producer.events == before


# --- interrupts ------------------------------------------------------------------------------------------------------


async def test_a_run_is_interrupted_for_a_reason_and_with_what_is_needed_to_ask() -> None:
    producer = Recorded()
    session = AgentSession(producer)
    await session.start_run()
    interrupt_id = await session.interrupt("human_approval", {"action": "send_email"})
    assert not session.is_running
    outcome = wired(producer)[-1]["outcome"]
    assert outcome["type"] == "interrupt"
    assert outcome["interrupts"] == [
        {"id": interrupt_id, "reason": "human_approval", "metadata": {"payload": {"action": "send_email"}}}
    ]
    verify(producer.events)


async def test_an_interrupt_keeps_its_id_by_which_it_is_answered() -> None:
    producer = Recorded()
    session = AgentSession(producer)
    run_id = await session.start_run()
    assert await session.interrupt_with_id("approval-001", "database_modification", {"query": "DELETE"}) == "approval-001"
    outcome = wired(producer)[-1]["outcome"]
    assert [one["id"] for one in outcome["interrupts"]] == ["approval-001"]
    # the front end asks its user, and comes with the answer under that id
    answer = {"interruptId": outcome["interrupts"][0]["id"], "status": "resolved", "payload": True}
    given = {"threadId": session.thread_id, "runId": "next", "parentRunId": run_id, "messages": [], "resume": [answer]}
    await session.start_run("next", parent_run_id=run_id, input=given)
    await session.finish_run("deleted")
    verify(producer.events)


async def test_an_interrupt_of_which_nothing_is_said() -> None:
    producer = Recorded()
    session = AgentSession(producer)
    await session.start_run()
    interrupt_id = await session.interrupt()
    assert wired(producer)[-1]["outcome"]["interrupts"] == [{"id": interrupt_id, "reason": "input_required"}]


async def test_the_seeds_shape_of_an_interrupt_says_no_more_than_was_given() -> None:
    producer = Recorded()
    session = AgentSession(producer, profile="seed")
    cases: list[tuple[Act, SeedInterrupt]] = [
        (lambda s: s.interrupt(), SeedInterrupt()),
        (lambda s: s.interrupt("why", {"a": 1}), SeedInterrupt(reason="why", payload={"a": 1})),
        (lambda s: s.interrupt_with_id("i"), SeedInterrupt(id="i")),
    ]
    for act, wanted in cases:
        run_id = await session.start_run()
        await act(session)
        assert not session.is_running
        assert producer.events[-1] == SeedRunFinished(
            thread_id=session.thread_id, run_id=run_id, outcome="INTERRUPT", interrupt=wanted
        )


# --- sends that fail -------------------------------------------------------------------------------------------------


async def test_a_run_that_could_not_be_told_has_not_started() -> None:
    producer = Recorded()
    session = AgentSession(producer)
    producer.fails = 1
    with pytest.raises(Gone):
        await session.start_run()
    assert not session.is_running
    await session.start_run()
    assert producer.types == ["RUN_STARTED"]


@pytest.mark.parametrize(
    "act",
    [
        lambda s: s.finish_run(close=True),
        lambda s: s.cancel_run(),
        lambda s: s.run_error("x"),
        lambda s: s.interrupt(close=True),
    ],
)
async def test_a_run_whose_end_could_not_be_told_goes_on(act: Act) -> None:
    producer = Recorded()
    session = AgentSession(producer)
    run_id = await session.start_run()
    await open_all(session)
    for fails in (1, 1):
        producer.fails = fails
        with pytest.raises(Gone):
            await act(session)
        assert session.run_id == run_id
    await act(session)
    assert not session.is_running
    verify(producer.events)


async def test_an_item_whose_event_could_not_be_sent_stays_as_it_was() -> None:
    producer = Recorded()
    session = AgentSession(producer)
    await session.start_run()
    message = session.message("m")
    producer.fails = 1
    with pytest.raises(Gone):
        await message.start()
    assert (session.open, message.is_open) == ((), False)
    await message.start()
    producer.fails = 1
    with pytest.raises(Gone):
        await message.end()
    assert (len(session.open), message.is_open) == (1, True)
    await message.end()
    await session.finish_run()
    verify(producer.events)


async def test_connection_is_the_producers() -> None:
    producer = Recorded()
    session = AgentSession(producer)
    assert session.is_connected
    producer.is_connected = False
    assert not session.is_connected


# --- any event -------------------------------------------------------------------------------------------------------


async def test_one_event_or_two_are_sent_in_order() -> None:
    producer = Recorded()
    session = AgentSession(producer)
    await session.start_run()
    await session.emit(e.Custom(name="a", value=1))
    await session.emit_many([e.Custom(name="b", value=2), e.Custom(name="c", value=3)])
    assert [event.name for event in producer.events if isinstance(event, e.Custom)] == ["a", "b", "c"]


async def test_many_events_stop_at_the_first_that_fails() -> None:
    producer = Recorded()
    session = AgentSession(producer)
    await session.start_run()
    with pytest.raises(IllegalStream):
        await session.emit_many([e.Custom(name="a", value=1), e.TextMessageEnd(message_id="m"), e.Custom(name="b", value=2)])
    assert producer.types == ["RUN_STARTED", "CUSTOM"]


async def test_events_of_many_tasks_come_one_after_the_other() -> None:
    """Each task's events are in its order, and the stream as a whole is legal."""
    producer = Recorded()
    session = AgentSession(producer)
    await session.start_run()

    async def talk(name: str) -> None:
        async with session.subagent(name, name) as worker:
            for _ in range(20):
                await worker.say("words")

    await asyncio.gather(*(talk(name) for name in "abc"))
    await session.finish_run()
    verify(producer.events)


async def test_what_is_no_event_is_refused() -> None:
    session = AgentSession(Recorded())
    with pytest.raises(IllegalStream, match="no event of AG-UI"):
        await session.emit(SeedRunFinished(thread_id="t", run_id="r"))
