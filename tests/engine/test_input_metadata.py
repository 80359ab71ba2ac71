"""What clients keep with their messages and answers: for people and followers, part of the request, never for the model."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import godwit
from godwit.core.errors import InvalidArgument, KeyReused
from godwit.core.events import ToolFinished, UserAnswer, UserMessage
from godwit.core.ids import InputId
from godwit.core.json_values import DEPTH, INPUT_METADATA_BYTES
from godwit.core.messages import Text
from godwit.models.script import call, hold, say

from .conftest import Bench, data, until_type, within

LOOKUP = godwit.ToolDefinition("lookup", "Look it up.", {"type": "object", "properties": {}})


def nested(depth: int) -> Any:
    value: Any = "bottom"
    for _ in range(depth):
        value = [value]
    return value


async def test_every_way_of_saying_something_keeps_what_came_with_it(bench: Bench) -> None:
    reached, release = asyncio.Event(), asyncio.Event()
    session = await bench.start([hold(release, reached=reached) + say("1"), "2", "3", "4", "5", "6"])
    await session.prompt("prompt", metadata={"id": "client-1", "more": [1, None, {"a": 2.5}]})
    await within(reached.wait())
    await session.steer("steer", metadata={"id": "m2"})
    await session.follow_up("follow-up", metadata={"id": "m3"})
    await session.send_event(UserMessage(InputId(""), (Text("event"),), "follow_up", metadata={"id": "m4"}))
    assert [entry.metadata for entry in await session.queue.list()] == [{"id": "m2"}, {"id": "m3"}, {"id": "m4"}]
    release.set()
    await within(session.wait())
    await within(session.send("send", metadata={"id": "m5"}))
    async for _ in session.stream("stream", metadata={"id": "m6"}):
        pass
    said = {message.content[0].text: message.metadata for message in await data(session, UserMessage)}
    assert said == {
        "prompt": {"id": "client-1", "more": [1, None, {"a": 2.5}]},
        "steer": {"id": "m2"},
        "follow-up": {"id": "m3"},
        "event": {"id": "m4"},
        "send": {"id": "m5"},
        "stream": {"id": "m6"},
    }
    assert [entry.metadata["id"] for entry in await session.queue.list(all=True)] == [
        "client-1",
        "m2",
        "m3",
        "m4",
        "m5",
        "m6",
    ]
    assert bench.model is not None
    assert "client-1" not in repr(bench.model.requests), "no model is told"


async def test_a_command_that_turns_into_a_prompt_hands_it_on(bench: Bench) -> None:
    (bench.workspace / ".godwit" / "commands").mkdir(parents=True)
    (bench.workspace / ".godwit" / "commands" / "greet.md").write_text("Greet them.")
    session = await bench.start(["Hello.", "Hello."])
    await within(session.send("/greet", metadata={"id": "m1"}))
    async for _ in session.stream("/greet", metadata={"id": "m2"}):
        pass
    assert [message.metadata for message in await data(session, UserMessage)] == [{"id": "m1"}, {"id": "m2"}]
    assert (await session.send("/help", metadata={"id": "m3"})).outcome == "done"


async def test_it_is_part_of_what_a_key_stands_for(bench: Bench) -> None:
    session = await bench.start(["once", "again"])
    first = await session.prompt("Go.", key="k", metadata={"id": "m1"})
    await within(session.wait(first))
    assert await session.prompt("Go.", key="k", metadata={"id": "m1"}) == first
    for other in ({"id": "m2"}, {}, None):
        with pytest.raises(KeyReused):
            await session.prompt("Go.", key="k", metadata=other)
    # Without any, an empty one is the same.
    plain = await session.prompt("Go.", key="plain")
    assert await session.prompt("Go.", key="plain", metadata={}) == plain
    await within(session.wait(plain))


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({"text": "x" * INPUT_METADATA_BYTES}, "and may have 16,384"),
        ({"deep": nested(DEPTH)}, "nested more than 64 deep"),
        ({"deep": nested(100_000)}, "cannot be stored as JSON|nested"),
        ({"half": "\ud800"}, "cannot be stored as JSON"),
        ({"what": object()}, "cannot be stored as JSON"),
        (["id"], "an object with names"),
    ],
    ids=["large", "deep", "abyss", "surrogate", "object", "list"],
)
async def test_what_cannot_be_kept_is_refused_and_leaves_nothing(bench: Bench, metadata: Any, says: str) -> None:
    session = await bench.start(["Yes."])
    head = len(await session.events())
    for way in (session.prompt, session.send, session.follow_up):
        with pytest.raises(InvalidArgument, match=says):
            await way("Go.", metadata=metadata)
    with pytest.raises(InvalidArgument, match=says):
        await session.command("/name other", metadata=metadata)
    assert len(await session.events()) == head
    # The largest that fits, and the deepest.
    fits = {
        "text": "x" * (INPUT_METADATA_BYTES - len('{"text":"","deep":}') - 2 * (DEPTH - 1) - 8),
        "deep": nested(DEPTH - 1),
    }
    await within(session.send("Go.", metadata=fits))
    assert (await data(session, UserMessage))[0].metadata == fits


async def test_the_metadata_of_an_answer_is_that_of_the_result(bench: Bench) -> None:
    session = await bench.start([call("lookup") + call("lookup"), "done"], LOOKUP)
    await session.prompt("Go.")
    await until_type(session, "run.parked")
    first, second = await session.approvals.pending()
    with pytest.raises(InvalidArgument, match="may have 16,384"):
        await session.answer(first.id, "found", metadata={"text": "x" * INPUT_METADATA_BYTES})
    assert await session.answer(first.id, "found", metadata={"id": "client-1"})
    assert not await session.answer(first.id, "found", metadata={"id": "m2"}), "answered already"
    given = UserAnswer(second.id, "result", content=(Text("none"),), is_error=True, metadata={"id": "m3"})
    await session.send_event(given)
    assert (await within(session.wait())).text == "done"
    assert [answer.metadata for answer in await data(session, UserAnswer)] == [{"id": "client-1"}, {"id": "m3"}]
    assert [result.metadata for result in await data(session, ToolFinished)] == [{"id": "client-1"}, {"id": "m3"}]
    assert bench.model is not None
    assert "client-1" not in repr(bench.model.requests), "no model is told"


async def test_several_inputs_at_once_are_held_to_the_same(bench: Bench) -> None:
    session = await bench.start(["Yes."])
    message = UserMessage(InputId(""), (Text("Go."),), metadata={"id": "m1"})
    large = UserMessage(InputId(""), (Text("Go."),), "follow_up", metadata={"text": "x" * INPUT_METADATA_BYTES})
    with pytest.raises(InvalidArgument, match="may have 16,384"):
        await session.send_events([message, large])
    assert not await data(session, UserMessage)
    await session.send_events([message])
    await within(session.wait())
    assert [message.metadata for message in await data(session, UserMessage)] == [{"id": "m1"}]


async def test_forks_exports_and_other_processes_have_it(bench: Bench) -> None:
    session = await bench.start(["Yes.", "Yes."])
    await within(session.send("Go.", metadata={"id": "m1"}))
    fork = await session.fork()
    assert [message.metadata for message in await data(fork, UserMessage)] == [{"id": "m1"}]
    path = bench.path.parent / "exported.jsonl"
    path.write_bytes(await session.export("jsonl"))
    await bench.close()
    runtime = await bench.runtime(["Yes."])
    opened = await runtime.open_session(session.id)
    assert [message.metadata for message in await data(opened, UserMessage)] == [{"id": "m1"}]
    bench.path = bench.path.parent / "another.db"
    elsewhere = await bench.runtime(["Yes."])
    report = await elsewhere.import_session(path)
    imported = await elsewhere.open_session(report.session)
    assert [message.metadata for message in await data(imported, UserMessage)] == [{"id": "m1"}]
