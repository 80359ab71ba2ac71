"""Clients that go and come back, and several at once on one thread: what each of them has in the end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from godwit.models.script import call, say, think

from .conftest import ASKING, Gate, Site, Start, approved
from .front import Agent, Json, Ran, Version
from .test_clients import clean, outcome, versions
from .wire import Reading, asking, said, text_of, types

STOP: Json = {"godwit": {"onDisconnect": "stop"}}


def contents(ran: Ran) -> list[Any]:
    return [message.get("content") for message in ran.messages]


async def left(site: Site, gate: Gate, *, version: Version = "1.0", **parameters: Any) -> Agent:
    """A client that has left its run, in which the model stands still."""
    agent = await site.client(version=version)
    await agent.add("Oslo?", "u1")
    running = agent.start(**parameters)
    await gate.reached()
    await running.until("TEXT_MESSAGE_CONTENT")
    await agent.abort()
    await running.end()
    return agent


# --- going away --------------------------------------------------------------------------------------------------------


@versions
async def test_a_run_goes_on_when_its_client_has_gone(start: Start, version: Version) -> None:
    gate = Gate()
    site = start(say("It rains ") + gate.hold() + say("in Oslo."), "And now.")
    await left(site, gate, version=version)
    gate.open(site)
    assert await site.settled() == "done"
    shown = clean(await (await site.client(version=version)).connect().end())
    assert contents(shown) == ["Oslo?", "It rains in Oslo."]


@versions
async def test_a_run_is_stopped_with_its_client_if_that_is_asked_for(start: Start, version: Version) -> None:
    gate = Gate()
    site = start(say("It rains ") + gate.hold() + say("in Oslo."))
    await left(site, gate, version=version, forwardedProps=STOP)
    assert await site.settled() == "interrupted"


async def test_a_run_is_not_stopped_while_another_client_follows_it(start: Start) -> None:
    """Only who asked for it, and left, stops it; whoever looks on has asked for nothing."""
    gate = Gate()
    site = start(say("It rains ") + gate.hold() + say("in Oslo."))
    agent = await site.client()
    await agent.add("Oslo?", "u1")
    running = agent.start()
    await gate.reached()
    looking = await site.client()
    following = looking.connect(forwardedProps=STOP)
    await following.until("TEXT_MESSAGE_CONTENT")
    gate.open(site)
    assert clean(await running.end()).text == "It rains in Oslo."
    assert contents(clean(await following.end()))[-1] == "It rains in Oslo."


# --- coming back -------------------------------------------------------------------------------------------------------


@versions
@pytest.mark.parametrize("keeping", [True, False], ids=["with what it had", "anew"])
async def test_a_client_comes_back_by_the_id_of_its_run(start: Start, version: Version, keeping: bool) -> None:
    gate = Gate()
    site = start(think("Grey.") + say("It rains ") + gate.hold() + say("in Oslo."))
    agent = await left(site, gate, version=version, runId="r1")
    if not keeping:
        agent = await site.client(version=version, messages=[said("Oslo?")])
    running = agent.start(runId="r1")
    await running.until("TEXT_MESSAGE_CONTENT")
    gate.open(site)
    ran = clean(await running.end())
    assert contents(ran) == ["Oslo?", "Grey.", "It rains in Oslo."]
    assert (ran.end["runId"], outcome(ran)) == ("r1", "success")
    assert (site.count("user.message"), site.count("run.started")) == (1, 1)


@versions
async def test_a_client_connects_to_what_goes_on(start: Start, version: Version) -> None:
    gate = Gate()
    site = start(call("bash", command="echo hi"), say("It rains ") + gate.hold() + say("in Oslo."))
    await left(site, gate, version=version)
    other = await site.client(version=version)
    following = other.connect()
    await following.until(lambda event: event["type"] == "TEXT_MESSAGE_CONTENT" and "rains" in event["delta"])
    gate.open(site)
    ran = clean(await following.end())
    assert [message["role"] for message in ran.messages] == ["user", "assistant", "tool", "assistant"]
    assert contents(ran)[-1] == "It rains in Oslo."


@versions
async def test_who_connects_to_an_interrupted_thread_can_answer(start: Start, version: Version) -> None:
    site = start(call("bash", command="echo hi"), "Done.", permissions=ASKING)
    asked = clean(await (await site.client(version=version)).run("Go.")).pending_interrupts
    other = await site.client(version=version)
    shown = clean(await other.connect().end())
    assert (outcome(shown), shown.pending_interrupts) == ("interrupt", asked)
    ran = clean(await other.run(resume=[approved(asked[0])]))
    assert (ran.text, outcome(ran)) == ("Done.", "success")


@versions
async def test_two_clients_have_the_same_in_the_end(start: Start, version: Version) -> None:
    """One has seen it all happen, the other comes when it is over."""
    script = [think("Hm.") + say("I look.") + call("bash", command="echo hi"), think("So.") + say("It says hi."), "Bye."]
    site = start(*script)
    agent = await site.client(version=version)
    clean(await agent.run("Go."))
    there = clean(await agent.run("And?"))
    shown = clean(await (await site.client(version=version)).connect().end())
    assert shown.messages == there.messages


async def test_who_connects_to_a_thread_that_is_not_there_makes_none(start: Start) -> None:
    site = start("One.")
    shown = await (await site.client("nowhere")).connect().end()
    assert shown.error is not None
    assert "HTTP 404" in shown.error
    assert site.server.call(lambda: site.server.runtime.sessions(limit=1)) == []


# --- cursors -----------------------------------------------------------------------------------------------------------


async def some(reading: Reading, count: int) -> list[Json]:
    for _ in range(count):
        assert await reading.next() is not None
    return reading.events


async def test_a_stream_goes_on_from_its_cursor(start: Start) -> None:
    gate = Gate()
    site = start(say("one two three ") + gate.hold() + say("four five."))
    async with site.wire() as wire:
        async with wire.opened(asking("t1", said("Count."))) as reading:
            await gate.reached()
            await reading.until("TEXT_MESSAGE_CONTENT")
            cursor = next(frame.id for frame in reversed(reading.frames) if frame.id is not None)
            seen = reading.events
        gate.open(site)
        assert await site.settled() == "done"
        given: Json = {"forwardedProps": {"godwit": {"cursor": cursor}}}
        rest = await wire.run(asking("t1", said("Count."), **given))
    assert types(rest)[0] == "RUN_STARTED"
    assert types(rest)[-1] == "RUN_FINISHED"
    whole = text_of(seen) + text_of(rest)
    assert whole.endswith("four five.")
    assert whole.count("four") == 1


@pytest.mark.parametrize("cursor", ["nonsense", "999999999", "-1", "", 7, {"a": 1}])
async def test_a_cursor_that_is_none_is_refused(start: Start, cursor: Any) -> None:
    site = start("One.", "Two.")
    async with site.wire() as wire:
        await wire.run(asking("t1", said("Go.")))
        given: Json = {"forwardedProps": {"godwit": {"cursor": cursor}}}
        await wire.refused(asking("t1", said("Go."), run="run_2", **given))


# --- at once -----------------------------------------------------------------------------------------------------------


def told(ran: Ran) -> list[tuple[str, str]]:
    """The messages and calls of a run in the order in which it told of them."""
    names = {"TEXT_MESSAGE_START": "messageId", "TOOL_CALL_START": "toolCallId", "TOOL_CALL_RESULT": "messageId"}
    return [(event["type"], event[names[event["type"]]]) for event in ran.events if event["type"] in names]


async def test_three_clients_see_the_same_in_the_same_order(start: Start) -> None:
    gate = Gate()
    calls = call("bash", command="echo one") + call("bash", command="echo two")
    site = start(say("First ") + gate.hold() + say("this.") + calls, think("Hm.") + say("Then that."))
    agent = await site.client()
    await agent.add("Go.", "u1")
    running = [agent.start()]
    await gate.reached()
    for version in ("1.0", "0.x"):
        running.append((await site.client(version=version)).connect())
    for one in running:
        await one.until("TEXT_MESSAGE_CONTENT")
    gate.open(site)
    ran = [clean(await one.end()) for one in running]
    assert ran[0].messages == ran[1].messages == ran[2].messages
    assert len(told(ran[0])) == 6
    assert told(ran[0]) == told(ran[1]) == told(ran[2])


@versions
async def test_a_message_to_a_run_that_goes_on_steers_it(start: Start, version: Version) -> None:
    gate = Gate()
    site = start(gate.hold() + say("I look.") + call("bash", command="echo hi"), "In Bergen, then.", "Bye.")
    one, two = await site.client(version=version), await site.client(version=version)
    await one.add("Oslo?", "u1")
    running = one.start()
    await gate.reached()
    await two.set_messages([said("Oslo?"), said("No, Bergen.", "u2")])
    steering = two.start()
    await steering.until("RUN_STARTED")
    gate.open(site)
    first, second = clean(await running.end()), clean(await steering.end())
    assert first.text.endswith("In Bergen, then.")
    assert second.text.endswith("In Bergen, then.")
    assert (site.count("run.started"), site.count("user.message")) == (1, 2)
    shown = clean(await (await site.client(version=version)).connect().end())
    assert [message["role"] for message in shown.messages] == ["user", "assistant", "tool", "user", "assistant"]
    # Who has sent it has it where it was heard, too.
    assert first.messages == second.messages == shown.messages


@versions
async def test_a_client_says_more_while_its_own_run_goes_on(start: Start, version: Version) -> None:
    """As a page does: it lets go of the stream, and begins another one with the message."""
    gate = Gate()
    site = start(say("I ") + gate.hold() + say("look.") + call("bash", command="echo hi"), "In Bergen, then.")
    agent = await site.client(version=version)
    await agent.add("Oslo?", "u1")
    running = agent.start()
    await gate.reached()
    await running.until("TEXT_MESSAGE_CONTENT")
    await agent.detach()
    await running.end()
    await agent.add("No, Bergen.", "u2")
    again = agent.start()
    await again.until("TEXT_MESSAGE_CONTENT")
    gate.open(site)
    ran = clean(await again.end())
    assert [message["role"] for message in ran.messages] == ["user", "assistant", "tool", "user", "assistant"]
    assert [contents(ran)[place] for place in (1, 4)] == ["I look.", "In Bergen, then."]
    assert site.count("run.started") == 1


async def test_a_message_may_wait_for_the_run_s_end(start: Start) -> None:
    gate = Gate()
    site = start(gate.hold() + say("In Oslo."), "In Bergen.")
    one, two = await site.client(), await site.client()
    await one.add("Oslo?", "u1")
    running = one.start()
    await gate.reached()
    await two.set_messages([said("Oslo?"), said("And Bergen?", "u2")])
    waiting = two.start(forwardedProps={"godwit": {"delivery": "follow_up"}})
    await waiting.until("RUN_STARTED")
    gate.open(site)
    first, second = clean(await running.end()), clean(await waiting.end())
    assert contents(first) == ["Oslo?", "In Oslo.", "And Bergen?", "In Bergen."]
    assert second.messages == first.messages


async def test_a_message_may_be_refused_while_a_run_goes_on(start: Start) -> None:
    gate = Gate()
    site = start(gate.hold() + say("In Oslo."))
    one = await site.client()
    await one.add("Oslo?", "u1")
    running = one.start()
    await gate.reached()
    async with site.wire() as wire:
        refusing: Json = {"forwardedProps": {"godwit": {"delivery": "refuse"}}}
        answer = await wire.refused(asking("t1", said("Oslo?"), said("No, Bergen.", "u2"), run="run_2", **refusing))
        assert answer.status_code == 409
    gate.open(site)
    assert clean(await running.end()).text == "In Oslo."
    assert site.count("user.message") == 1


async def test_the_same_request_twice_is_one_run(start: Start) -> None:
    gate = Gate()
    site = start(gate.hold() + say("In Oslo."))
    async with site.wire() as wire:
        asked = asking("t1", said("Oslo?"))
        both = [asyncio.ensure_future(wire.run(asked)) for _ in range(2)]
        await gate.reached()
        gate.open(site)
        one, two = [await each for each in both]
    assert text_of(one) == text_of(two) == "In Oslo."
    assert (site.count("run.started"), site.count("user.message")) == (1, 1)
