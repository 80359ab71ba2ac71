"""A program that speaks AG-UI by the library alone, followed by the official clients of both versions over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from godwit.surfaces.agui import AgentSession, Interrupt, SseSender, profile_of, sse_channel, verify

from .front import Front, Version
from .listening import served

Program = Callable[[AgentSession[SseSender, Any], dict[str, Any]], Awaitable[None]]
BOTH = pytest.mark.parametrize("version", ["1.0", "0.x"])


@asynccontextmanager
async def speaking(program: Program) -> AsyncIterator[str]:
    """The address of an agent that is this program."""
    tasks: list[asyncio.Task[None]] = []

    async def run(sender: SseSender, given: dict[str, Any]) -> None:
        session = AgentSession(sender, given["threadId"])
        await session.start_run(given["runId"], input=given)
        try:
            await program(session, given)
        except Exception as error:
            await session.run_error(str(error))
        finally:
            sender.close()

    async def endpoint(request: Request) -> StreamingResponse:
        given = await request.json()
        sender, stream = sse_channel(8, profile=profile_of(given.get("protocolVersion")))
        tasks.append(asyncio.create_task(run(sender, given)))
        return StreamingResponse(stream, media_type="text/event-stream")

    async with served(Starlette(routes=[Route("/", endpoint, methods=["POST"])])) as address:
        yield f"http://{address}/"
    await asyncio.gather(*tasks)


async def say_all(session: AgentSession[SseSender, Any], _: dict[str, Any]) -> None:
    """Something of each kind."""
    async with session.step("think"), await session.start_thinking("Planning") as step, step.message() as thoughts:
        await thoughts.content("First the weather.")
    await session.state.update({"place": "Oslo", "done": False})
    async with session.tool_call("weather", "call_1") as call:
        await call.args('{"place": "Oslo"}')
        await call.result([{"type": "text", "text": "Rain."}], "result_1")
    activity = session.activity("plan", "activity_1")
    await activity.show({"steps": ["read"]})
    await activity.show({"steps": ["read", "write"]})
    async with session.subagent("writer", "sub_1") as writer:
        await writer.say("Written.", "message_1")
    await session.state.update_with(lambda state: {**state, "done": True})
    await session.custom("mine", {"a": None})
    await session.raw({"native": 1}, "x")
    await session.say("It rains.", "message_2")
    await session.finish_run({"rain": True})


@BOTH
async def test_all_that_is_said_arrives(front: Front, version: Version) -> None:
    async with speaking(say_all) as url:
        client = await front.agent(url, "thread_1", version=version, state={"place": "Bergen"})
        ran = await client.run("How is the weather?")
    assert ran.error is None
    verify(ran.events)
    assert ran.state == {"place": "Oslo", "done": True}
    assert ran.result == {"rain": True}
    said = {message["id"]: message.get("content") for message in ran.messages}
    assert (said["message_1"], said["message_2"]) == ("Written.", "It rains.")
    assert said["activity_1"] == {"steps": ["read", "write"]}
    assert said["result_1"] == ("Rain." if version == "0.x" else [{"type": "text", "text": "Rain."}])
    assert "First the weather." in said.values()


@BOTH
async def test_a_front_end_is_asked_and_answers(front: Front, version: Version) -> None:
    async def ask(session: AgentSession[SseSender, Any], given: dict[str, Any]) -> None:
        if answers := given.get("resume"):
            await session.say(f"{answers[0]['interruptId']}: {answers[0]['payload']}", "message_1")
            await session.finish_run()
            return
        asked = Interrupt(id="approval-001", reason="confirmation", message="Send it?", response_schema={"type": "boolean"})
        await session.interrupt_all([asked])

    async with speaking(ask) as url:
        client = await front.agent(url, "thread_1", version=version)
        ran = await client.run("Send it.")
        assert [one["id"] for one in ran.pending_interrupts] == ["approval-001"]
        ran = await client.run(resume=[{"interruptId": "approval-001", "status": "resolved", "payload": True}])
    assert ran.error is None
    assert ran.pending_interrupts == []
    assert ran.text == "approval-001: True"


@BOTH
async def test_a_stopped_run_is_no_success(front: Front, version: Version) -> None:
    async def stop(session: AgentSession[SseSender, Any], _: dict[str, Any]) -> None:
        await session.message("message_1").start()
        await session.cancel_run()

    async with speaking(stop) as url:
        client = await front.agent(url, "thread_1", version=version)
        ran = await client.run("Work.")
    ended = {"1.0": ("RUN_FINISHED", {"type": "cancelled"}, None), "0.x": ("RUN_ERROR", None, "cancelled")}
    assert (ran.end["type"], ran.end.get("outcome"), ran.end.get("code")) == ended[version]


@BOTH
async def test_a_program_that_breaks_off_in_the_middle_is_a_failed_run(front: Front, version: Version) -> None:
    async def fail(session: AgentSession[SseSender, Any], _: dict[str, Any]) -> None:
        async with session.message("message_1") as message:
            await message.content("Half")
            raise RuntimeError("out of paper")

    async with speaking(fail) as url:
        client = await front.agent(url, "thread_1", version=version)
        ran = await client.run("Work.")
    assert (ran.end["type"], ran.end["message"]) == ("RUN_ERROR", "out of paper")
    verify(ran.events)
    assert ran.text == "Half"
