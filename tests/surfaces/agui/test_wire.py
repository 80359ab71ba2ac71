"""What goes over the wire, read by hand: refusals before a stream, what clients would hide, and what 1.0 asks of streams."""

from __future__ import annotations

from typing import Any

import pytest

from godwit.models.script import call, say, think

from .conftest import ASKING, Start, approved
from .front import Front, Json
from .wire import Wire, asking, said, text_of, types


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"hi"',
        b"\xff\xfe",
        b'{"threadId": "t", "runId": "r"}',
        b'{"threadId": "t", "messages": []}',
        b'{"runId": "r", "messages": []}',
        b'{"threadId": 1, "runId": "r", "messages": []}',
        b'{"threadId": "t", "runId": "r", "messages": {}}',
        b'{"threadId": "t", "runId": "r", "messages": [{"role": "user"}]}',
        b'{"threadId": "t", "runId": "r", "messages": [{"id": "m", "role": "king", "content": "x"}]}',
        b'{"threadId": "t", "runId": "r", "messages": [{"id": "m", "role": "user", "content": 5}]}',
        b'{"threadId": "t", "runId": "r", "messages": [], "tools": "all"}',
        b'{"threadId": "t", "runId": "r", "messages": [], "context": [{"value": 1}]}',
        b'{"threadId": "t", "runId": "r", "messages": [], "resume": [{"interruptId": "i"}]}',
        b'{"threadId": "t", "runId": "r", "messages": [], "resume": [{"interruptId": "i", "status": "maybe"}]}',
        b'{"threadId": "t", "runId": "r", "messages": [], "forwardedProps": {"godwit": {"delivery": "fly"}}}',
        b'{"threadId": "t", "runId": "r", "messages": [], "forwardedProps": {"godwit": {"onDisconnect": 1}}}',
    ],
)
@pytest.mark.parametrize("path", ["", "/connect"])
async def test_what_is_no_input_is_refused_before_a_stream(start: Start, body: bytes, path: str) -> None:
    site = start("Never.")
    async with site.wire() as wire:
        answer = await wire.refused(body, path)
        assert answer.json()
    assert site.server.call(lambda: site.server.runtime.sessions(limit=1)) == []


async def test_an_agent_that_is_not_there(start: Start) -> None:
    site = start("Never.")
    async with Wire(f"{site.server.url}/agui/nobody") as wire:
        assert (await wire.refused(asking("t1", said("Go.")))).status_code == 404
        assert (await wire.get("/capabilities")).status_code == 404


async def test_members_that_nobody_knows_are_passed_over(start: Start) -> None:
    site = start("Fine.")
    asked = asking("t1", {**said("Go."), "mood": "good"}, mood=1, tools=[{"name": "a", "description": "", "mood": 2}])
    async with site.wire() as wire:
        assert text_of(await wire.run(asked)) == "Fine."


@pytest.mark.parametrize(
    "more", [{}, {"tools": [], "context": []}, {"state": {}}, {"state": None}, {"forwardedProps": None}]
)
async def test_what_is_absent_is_as_if_it_were_empty(start: Start, more: Json) -> None:
    async with start("Fine.").wire() as wire:
        assert text_of(await wire.run(asking("t1", said("Go."), **more))) == "Fine."


async def test_whole_streams_are_of_the_schemas(start: Start, front: Front) -> None:
    """Each event as it is on the wire, before a client has mended anything; and no null in place of nothing, see `wire`."""
    script = [think("Hm.") + say("I look.") + call("bash", command="echo hi"), "Done."]
    site = start(*script, permissions=ASKING)
    async with site.wire() as wire:
        asked = await wire.run(asking("t1", said("Go."), state={"a": None}))
        [interrupt] = asked[-1]["outcome"]["interrupts"]
        done = await wire.run(asking("t1", said("Go."), run="run_2", resume=[approved(interrupt)]))
        replayed = await wire.run(asking("t1", run="run_3"), "/connect")
    for events in (asked, done, replayed):
        assert await front.invalid(events) == []
        assert {event["threadId"] for event in events if "threadId" in event} == {"t1"}
    assert [event["runId"] for event in asked if "runId" in event] == ["run_1", "run_1"]
    assert text_of(done) == "Done."


@pytest.mark.parametrize("version", ["1.0", None])
async def test_the_version_is_answered_where_it_was_asked_in(start: Start, version: str | None) -> None:
    async with start("Fine.").wire() as wire:
        events = await wire.run(asking("t1", said("Go."), version=version))
    assert events[0].get("protocolVersion", "1.0") == "1.0"
    if version is not None:
        assert events[0]["protocolVersion"] == version


async def test_capabilities_are_told(start: Start) -> None:
    async with start("Fine.", permissions=ASKING).wire() as wire:
        told: Any = (await wire.get("/capabilities")).json()
    assert told["identity"]["name"] == "bird"
    assert told["transport"]["streaming"] is True
    assert told["humanInTheLoop"]["interrupts"] is True
    assert told["humanInTheLoop"]["approveWithEdits"] is True


async def test_what_an_old_client_cannot_read_is_not_sent_to_it(start: Start) -> None:
    look: Json = {"name": "look", "description": "", "parameters": {"type": "object", "properties": {}}}
    async with start(call("look"), "Done.").wire() as wire:
        events = await wire.run(asking("t1", said("Go."), version=None, tools=[look]))
    assert events[-1]["type"] == "RUN_FINISHED"
    assert "pendingToolCallIds" not in events[-1].get("outcome", {})


async def test_threads_of_one_name_are_one_session(start: Start) -> None:
    site = start("One.", "Two.")
    async with site.wire() as wire:
        await wire.run(asking("t1", said("A.")))
        await wire.run(asking("t1", said("A."), said("B.", "u2"), run="run_2"))
        await wire.run(asking("t2", said("A.")))
    assert len(site.server.call(lambda: site.server.runtime.sessions(limit=9))) == 2


async def test_the_last_event_is_the_end_of_the_body(start: Start) -> None:
    async with start("Fine.").wire() as wire:
        kinds = types(await wire.run(asking("t1", said("Go."))))
    assert [kinds.count(kind) for kind in ("RUN_STARTED", "RUN_FINISHED", "RUN_ERROR")] == [1, 1, 0]
