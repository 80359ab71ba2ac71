"""The official tool runner does the calls of our sessions: a client's own tools, and those of self-hosted environments."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
from anthropic import beta_async_tool

from godwit.models.script import call, say
from tests.surfaces.server.running import RunningServer

from .conftest import Start
from .talk import TOOLSET, Talk, custom, said

SELF_HOSTED: Any = {"type": "self_hosted"}


@beta_async_tool(name="look")
async def look(where: str = "up") -> str:
    """Look somewhere."""
    return f"a bird, {where}"


@beta_async_tool(name="bash")
async def bash(command: str) -> str:
    """Run a command."""
    return f"ran {command}"


async def run(server: RunningServer, session: str, *tools: Any, sends: Any = (), **options: Any) -> list[Any]:
    """What the runner did until the session was idle."""
    key: Any = {"api_key": "any", "_strict_response_validation": True}
    async with anthropic.AsyncAnthropic(base_url=server.url, **key) as client:
        events = client.beta.sessions.events
        if sends:
            await events.send(session, events=list(sends))
        runner = events.tool_runner(session, tools=list(tools), max_idle=0.05, **options)
        return [done async for done in runner]


async def test_a_clients_own_tools_are_run_wherever_the_runner_comes_in(start: Start) -> None:
    server = start(call("look", where="up") + call("look", where="down"), say("Done."), call("look"), "Done.")
    with Talk(server, custom("look")) as talk:
        done = await run(server, talk.id, look, sends=[said("Go.")])
        assert [(c.name, c.is_error, c.posted) for c in done] == [("look", False, True)] * 2
        again = await run(server, talk.id, look, sends=[said("Again.")])
        assert len(again) == 1, "what is answered is not done again"
        listed = await asyncio.to_thread(talk.list)
        assert [e.content[0].text for e in listed if e.type == "user.custom_tool_result"][:2] == [
            "a bird, up",
            "a bird, down",
        ]
        assert await asyncio.to_thread(talk.status) == "idle"


async def test_built_in_tools_of_a_self_hosted_environment(start: Start) -> None:
    server = start(call("bash", command="ls") + call("look"), "Done.")
    with Talk(server, TOOLSET, custom("look"), config=SELF_HOSTED) as talk:
        done = await run(server, talk.id, look, bash, sends=[said("Go.")])
        assert [(c.event.type, c.posted) for c in done] == [("agent.tool_use", True), ("agent.custom_tool_use", True)]
        listed = await asyncio.to_thread(talk.list)
        (result,) = (e for e in listed if e.type == "user.tool_result")
        assert result.content[0].text == "ran ls"
        assert not [e for e in listed if e.type == "agent.tool_result"]


async def test_the_runner_holds_what_waits_for_a_person(start: Start) -> None:
    asking: Any = {**TOOLSET, "configs": [{"name": "bash", "permission_policy": {"type": "always_ask"}}]}
    server = start(call("bash", command="one") + call("bash", command="two"), "Done.")
    with Talk(server, asking, config=SELF_HOSTED) as talk:
        running = asyncio.ensure_future(run(server, talk.id, bash, sends=[said("Go.")]))

        def answer() -> None:
            with talk.listen() as heard:
                idle = heard.idle() if not [e for e in talk.list() if e.type == "session.status_idle"] else None
                del idle
            uses = [e for e in talk.list() if e.type == "agent.tool_use"]
            assert [u.evaluated_permission for u in uses] == ["ask", "ask"]
            talk.send(
                {"type": "user.tool_confirmation", "tool_use_id": uses[0].id, "result": "deny", "deny_message": "no"},
                {"type": "user.tool_confirmation", "tool_use_id": uses[1].id, "result": "allow"},
            )

        await asyncio.to_thread(answer)
        done = await running
        assert sorted((c.event.input["command"], c.confirmation, c.posted) for c in done) == [
            ("one", "deny", False),
            ("two", "allow", True),
        ]
        listed = await asyncio.to_thread(talk.list)
        assert [e.content[0].text for e in listed if e.type == "user.tool_result"] == ["ran two"]
        assert ["no" in e.content[0].text for e in listed if e.type == "agent.tool_result"] == [True]


async def test_what_cannot_run_is_not_begun_by_a_client(start: Start) -> None:
    """Arguments that do not fit, and what an interrupt has ended."""
    from godwit.models.script import malformed

    server = start(malformed("look", "no json"), call("look"), "Done.")
    with Talk(server, custom("look")) as talk:

        def converse() -> list[Any]:
            with talk.listen() as heard:
                talk.say()
                heard.idle()
                talk.send({"type": "user.interrupt"})
                heard.idle(2)
            return heard.heard

        heard = await asyncio.to_thread(converse)
        refused, cut = (e for e in heard if e.type in ("agent.tool_use", "agent.custom_tool_use"))
        assert (refused.type, refused.evaluated_permission) == ("agent.tool_use", "deny")
        assert cut.type == "agent.custom_tool_use"
        done = await run(server, talk.id, look)
        assert [(c.name, c.posted) for c in done] in ([("look", False)], [])
