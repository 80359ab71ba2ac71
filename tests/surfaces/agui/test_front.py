"""The tools of the tests beside this one: that they tell what clients do, and refuse what is not of the protocol.

What is asked here is a provider of recorded bytes, so nothing of godwit's own is shown by it.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.loopback import Loopback, Reply

from .front import Front, Json, Version
from .wire import Wire, asking, nulls, said, text_of, types

STARTED: Json = {"type": "RUN_STARTED", "threadId": "t", "runId": "r"}
FINISHED: Json = {"type": "RUN_FINISHED", "threadId": "t", "runId": "r"}
TEXT: list[Json] = [
    {"type": "TEXT_MESSAGE_START", "messageId": "m", "role": "assistant"},
    {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "It "},
    {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "rains."},
    {"type": "TEXT_MESSAGE_END", "messageId": "m"},
]
STATE: list[Json] = [
    {"type": "STATE_SNAPSHOT", "snapshot": {"a": None}},
    {"type": "STATE_DELTA", "delta": [{"op": "replace", "path": "/a", "value": 2}]},
]
CALL: list[Json] = [
    {"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "look"},
    {"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": "{}"},
    {"type": "TOOL_CALL_END", "toolCallId": "c"},
]
ASKED: Json = {"id": "i", "reason": "tool_call", "toolCallId": "c"}
INTERRUPTED: Json = {**FINISHED, "outcome": {"type": "interrupt", "interrupts": [ASKED]}}
versions = pytest.mark.parametrize("version", ["1.0", "0.x"])


@versions
async def test_a_run_is_told_as_the_client_sees_it(front: Front, version: Version) -> None:
    async with Loopback([Reply.sse([STARTED, *TEXT, *STATE, {**FINISHED, "result": 3}])]) as site:
        agent = await front.agent(f"{site.url}/agui/any", "t", version=version, state={"before": 1}, headers={"x-a": "b"})
        ran = await agent.run("Oslo?", runId="r", context=[{"description": "d", "value": "v"}])
    assert (ran.error, ran.warned, ran.result, ran.text) == (None, [], 3, "It rains.")
    assert ran.types() == [event["type"] for event in (STARTED, *TEXT, *STATE, FINISHED)]
    assert [message["role"] for message in ran.messages] == ["user", "assistant"]
    assert ran.new_messages == [{"id": "m", "role": "assistant", "content": "It rains."}]
    assert ran.state == {"a": 2}
    [seen] = site.requests
    assert (seen.path, seen.headers["x-a"]) == ("/agui/any", "b")
    assert (seen.body["threadId"], seen.body["runId"], seen.body["state"]) == ("t", "r", {"before": 1})
    assert seen.body.get("protocolVersion") == ("1.0" if version == "1.0" else None)
    assert [message["content"] for message in seen.body["messages"]] == ["Oslo?"]


@versions
async def test_interrupts_are_kept_until_all_are_answered(front: Front, version: Version) -> None:
    async with Loopback([Reply.sse([STARTED, *CALL, INTERRUPTED]), Reply.sse([STARTED, FINISHED])]) as site:
        agent = await front.agent(site.url, "t", version=version)
        assert (await agent.run("Go.")).pending_interrupts == [ASKED]
        refused = await agent.run()
        assert refused.error is not None
        assert "pending interrupt" in refused.error
        resume = [{"interruptId": "i", "status": "resolved", "payload": {"approved": True}}]
        assert (await agent.run(resume=resume)).pending_interrupts == []
        assert [one.body.get("resume") for one in site.requests] == [None, resume]


async def test_an_abort_ends_the_request(front: Front) -> None:
    async with Loopback([Reply.sse([STARTED, *TEXT], stall_after=3)]) as site:
        agent = await front.agent(site.url, "t")
        running = agent.start()
        await running.until("TEXT_MESSAGE_CONTENT")
        await agent.abort()
        ran = await running.end()
        await site.wait_disconnects()
    assert ran.error is None
    assert ran.types() == ["RUN_STARTED", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "RUN_ERROR"]
    assert ran.end["code"] == "abort"  # the client's own word: nobody has sent it


@versions
async def test_connecting_asks_another_address(front: Front, version: Version) -> None:
    async with Loopback([Reply.sse([STARTED, *TEXT, FINISHED])]) as site:
        agent = await front.agent(f"{site.url}/agui/any", "t", version=version)
        ran = await agent.connect().end()
        assert [one.path for one in site.requests] == ["/agui/any/connect"]
    assert (ran.error, ran.text) == (None, "It rains.")


async def test_what_a_client_warns_of_is_told(front: Front) -> None:
    async with Loopback([Reply.sse([STARTED, {**TEXT[0], "more": 1}, *TEXT[1:], FINISHED])]) as site:
        ran = await (await front.agent(site.url, "t")).run()
    assert ran.error is None
    [warned] = ran.warned
    assert "/more" in warned


@pytest.mark.parametrize("events", [[STARTED, *TEXT[:3], FINISHED], [*TEXT], [STARTED, STARTED], [STARTED, *CALL[1:]]])
@versions
async def test_an_illegal_order_is_an_error_of_the_client(front: Front, events: list[Json], version: Version) -> None:
    async with Loopback([Reply.sse(events)]) as site:
        ran = await (await front.agent(site.url, "t", version=version)).run()
    assert ran.error is not None


@pytest.mark.parametrize(
    "outcome", [{"type": "cancelled"}, {"type": "success", "pendingToolCallIds": ["c"]}], ids=["cancelled", "pending"]
)
async def test_the_old_client_refuses_outcomes_of_1_0(front: Front, outcome: Json) -> None:
    """It is what the profile for such clients is for; the new one takes them."""
    errors = []
    async with Loopback(otherwise=lambda _: Reply.sse([STARTED, *CALL, {**FINISHED, "outcome": outcome}])) as site:
        for version in ("1.0", "0.x"):
            errors.append((await (await front.agent(site.url, "t", version=version)).run()).error)
    assert errors[0] is None
    assert errors[1] is not None


async def test_schemas_let_nothing_unknown_pass(front: Front) -> None:
    assert await front.invalid([STARTED, *TEXT, *STATE, *CALL, INTERRUPTED]) == []
    wrong: list[Json] = [
        {**STARTED, "threadID": "t"},
        {"type": "RUN_FINISHED", "threadId": "t"},
        {"type": "THINKING_START"},
        {**TEXT[0], "name": None},
        {**FINISHED, "outcome": {"type": "interrupt", "interrupts": [{**ASKED, "schema": {}}]}},
    ]
    for event in wrong:
        assert len(await front.invalid([event])) == 1, event


async def test_a_test_that_asks_for_nonsense_fails(front: Front) -> None:
    with pytest.raises(AssertionError):
        await front.ask("fly")
    async with Loopback([Reply.sse([STARTED, FINISHED])]) as site:
        running = (await front.agent(site.url, "t")).start()
        with pytest.raises(AssertionError, match="did not come"):
            await running.until("STEP_STARTED")


async def test_the_wire_reads_a_stream() -> None:
    body = Reply.sse([STARTED, *TEXT, FINISHED]).body.replace(b"data:", b": alive\nid: 7\ndata:", 1) + b": bye\n\n"
    async with Loopback([Reply(body, split="crumbs")]) as site, Wire(site.url) as wire:
        async with wire.opened(asking("t", said("Oslo?"))) as reading:
            events = await reading.all()
        assert text_of(events) == "It rains."
        assert types(events)[0] == "RUN_STARTED"
        assert ([frame.id for frame in reading.frames][:2], reading.comments) == (["7", None], 1)
        assert site.requests[0].body["protocolVersion"] == "1.0"


@pytest.mark.parametrize(
    "body",
    [
        b'data: {"type": "RUN_STARTED"}\r\n\r\n',
        b'data: {"type": "RUN_STARTED"}\n\n',
        b'data: {"type": "RUN_ERROR"}\ndata: {}\n\n',
        b'event: message\ndata: {"type": "RUN_ERROR"}\n\n',
        b'data:{"type": "RUN_ERROR"}\n\n',
        b"data: []\n\n",
        b'data: {"type": "RUN_ERROR", "code": null}\n\n',
        b'data: {"type": "RUN_ERROR"}\n\ndata: {"type": "RUN_ERR',
        b": nothing\n\n",
        b'id: 3\n\ndata: {"type": "RUN_ERROR"}\n\n',
    ],
)
async def test_the_wire_refuses_what_is_not_of_the_transport(body: bytes) -> None:
    async with Loopback([Reply(body)]) as site, Wire(site.url) as wire:
        with pytest.raises(AssertionError):
            await wire.run(asking("t"))


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"a": {"b": [{"c": None}]}}, [".a.b[0].c"]),
        ({"snapshot": {"a": None}, "delta": [{"value": None}], "result": None}, []),
    ],
)
def test_nulls_are_found_but_for_those_of_others(value: Any, found: list[str]) -> None:
    assert nulls(value) == found
