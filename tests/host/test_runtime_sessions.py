"""The life of sessions through `Runtime` alone, by their ids, and many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.engine.conftest import MODEL, Bench, within
from tests.host.by_id import begin, data, outcome, says, up_to

import godwit
from godwit.core.errors import SessionNotFound
from godwit.core.events import AgentMessage, Event, Labels, UserAnswer, UserInterrupt, UserMessage
from godwit.core.ids import ActionId, RunId
from godwit.core.messages import text_of


async def test_subscribed_first_a_message_is_seen_from_its_acceptance_to_the_rest(bench: Bench) -> None:
    """S003-15, 17, 21, 23. The stream begins when it was asked for, and not when it is first read."""
    runtime, session = await begin(bench, ["Hello."])
    assert await runtime.status(session) == "queued"
    stream = await runtime.stream_events(session)
    await runtime.send_event(session, says("Hi."))
    await outcome(runtime, session)
    kinds = []
    async for event in stream:
        assert isinstance(event, Event)
        kinds.append(event.type)
        if event.type == "run.finished":
            break
    assert kinds[0] == "user.message"
    wanted = ["run.started", "run.claimed", "input.delivered", "agent.message", "run.finished"]
    assert [k for k in kinds if k in wanted] == wanted
    assert await runtime.status(session) == "idle"


async def test_two_definitions_have_two_handles_and_two_sessions_two_ids(bench: Bench) -> None:
    runtime, one = await begin(bench, ["a"], name="one")
    _, two = await begin(bench, ["a"], runtime=runtime, name="two")
    assert one != two
    assert await runtime.create(godwit.Agent("one", model=MODEL)) != await runtime.create(godwit.Agent("two", model=MODEL))


async def test_every_method_says_that_an_unknown_session_is_not_found(bench: Bench) -> None:
    runtime = await bench.runtime()
    unknown: list[Callable[[], Awaitable[Any]]] = [
        lambda: runtime.send_event("ses_none", says("x")),
        lambda: runtime.send_event("ses_none", UserInterrupt(RunId("run_none"))),
        lambda: runtime.send_event("ses_none", UserAnswer(ActionId("act_none"), "approve")),
        lambda: runtime.stream_events("ses_none"),
        lambda: runtime.stream_events("ses_none", 0, deltas=True),
        lambda: runtime.interrupt("ses_none"),
        lambda: runtime.pause("ses_none"),
        lambda: runtime.resume("ses_none"),
        lambda: runtime.status("ses_none"),
        lambda: runtime.archive("ses_none"),
        lambda: runtime.delete_session("ses_none"),
        lambda: runtime.open_session("ses_none"),
        lambda: runtime.head("ses_none"),
    ]
    for method in unknown:
        with pytest.raises(SessionNotFound):
            await within(method())
    assert len(runtime.desk) == 0


async def test_archived_then_deleted_and_deleted_twice(bench: Bench) -> None:
    runtime, session = await begin(bench, ["Hello."])
    await runtime.send_event(session, says("Hi."))
    await outcome(runtime, session)
    await runtime.archive(session)
    assert await runtime.status(session) == "archived"
    await runtime.delete_session(session)
    for method in (runtime.status, runtime.delete_session, runtime.archive):
        with pytest.raises(SessionNotFound):
            await method(session)
    assert await runtime.sessions() == []


async def test_two_tenants_have_lists_of_their_own(bench: Bench) -> None:
    """Defect 10: all sessions of the original have one user. Here labels say whose a session is, in lists and in events."""
    runtime, ours = await begin(bench, ["a"], labels=Labels("acme", "ada"))
    _, theirs = await begin(bench, ["a"], runtime=runtime, labels=Labels("other", "bob"))
    assert [row.id for row in await runtime.sessions(tenant="acme")] == [ours]
    assert [row.id for row in await runtime.sessions(tenant="other")] == [theirs]
    assert [row.id for row in await runtime.store.session_page(tenant="acme")] == [ours]
    for session, who in ((ours, "ada"), (theirs, "bob")):
        stream = await runtime.stream_events(session, 0)
        event = await within(anext(stream))
        assert isinstance(event, Event)
        assert event.labels is not None
        assert event.labels.principal == who
        await stream.aclose()


async def test_many_tasks_work_through_one_runtime(bench: Bench) -> None:
    """S003-07."""
    runtime = await bench.runtime(["Hello."])
    agent = await runtime.create(godwit.Agent("tester", model=MODEL))

    async def life(number: int) -> str:
        session = (await runtime.start_session(agent, drive=False)).id
        stream = await runtime.stream_events(session)
        await runtime.send_event(session, says(f"I am {number}."))
        kinds = [e.type async for e in up_to(stream, "run.finished")]
        await runtime.archive(session)
        await runtime.delete_session(session)
        return " ".join(kinds)

    assert len(set(await within(asyncio.gather(*(life(n) for n in range(60)))))) == 1
    assert await runtime.sessions() == []
    assert len(runtime.desk) == 0


async def test_the_key_of_an_event_makes_sending_it_again_harmless(bench: Bench) -> None:
    runtime, session = await begin(bench, ["Hello."])
    for _ in range(3):
        await runtime.send_event(session, says("Hi."), key="once")
        await outcome(runtime, session)
    assert len(await data(runtime, session, UserMessage)) == 1
    assert [text_of(d.message.content) for d in await data(runtime, session, AgentMessage)] == ["Hello."]
