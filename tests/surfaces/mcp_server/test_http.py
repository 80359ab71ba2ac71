"""MCP over HTTP, both generations: agents as tools, approvals as elicitation, what is told meanwhile, and resources."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx2
import mcp
import mcp_types as types
import pytest
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourceUpdated, ToolsListChanged

from godwit import Agent, Question, Text, ToolContext, ToolOutput, tool
from godwit.core.events import UserAnswer
from godwit.models.script import ScriptedModel, call, hold, say
from godwit.surfaces.mcp_server.tools import SESSION_TOOLS
from tests.patience import PATIENCE_S
from tests.surfaces.server.running import RunningServer, running

from .clients import MODEL, MODES, Mode, approving, over_http, put, structured, text_of

CODER = Agent("coder", model=MODEL, tools=["bash"], permissions={"bash": "ask"}, sandbox=None)
TALKER = Agent("talker", model="scripted:talk")
SLOW = Agent("slow", model="scripted:slow")
LATER = Agent("later", model="scripted:later", tools=["bash"], permissions={"bash": "ask"}, sandbox=None)


@pytest.fixture
def release() -> asyncio.Event:
    return asyncio.Event()


class Reached:
    """Told from the server's loop that the model stands still."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._there = asyncio.Event()

    def set(self) -> None:
        self._loop.call_soon_threadsafe(self._there.set)

    async def wait(self) -> None:
        await self._there.wait()


@pytest.fixture
async def reached() -> Reached:
    return Reached()


@pytest.fixture
def server(tmp_path: Path, release: asyncio.Event, reached: Reached) -> Iterator[RunningServer]:
    models = {
        MODEL: ScriptedModel([say("I look.") + call("bash", command="echo hi"), say("It says hi.")]),
        "scripted:talk": ScriptedModel(["Hello.", "Hello again."]),
        "scripted:slow": ScriptedModel([say("so") + hold(release, reached=cast(asyncio.Event, reached)), say("then")]),
        "scripted:later": ScriptedModel(
            [hold(release, reached=cast(asyncio.Event, reached)) + call("bash", command="echo hi"), say("done")]
        ),
    }
    with running(
        tmp_path / "g.db", models=models, prepare=lambda runtime: put(runtime, CODER, TALKER, SLOW, LATER)
    ) as found:
        yield found


def pending_in(server: RunningServer, session: str) -> list[Any]:
    async def look() -> list[Any]:
        handle = await server.runtime.open_session(session, drive=False)
        return await handle.approvals.pending()

    return server.call(look)


async def outcome(server: RunningServer, session: str) -> str:
    async def wait() -> str:
        handle = await server.runtime.open_session(session, drive=False)
        return (await handle.wait()).outcome

    return await asyncio.to_thread(server.call, wait)


async def newest(server: RunningServer) -> str:
    async def look() -> str:
        return str((await server.runtime.sessions(limit=1))[0].id)

    return await asyncio.to_thread(server.call, look)


# --- approvals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_an_answer_given_elsewhere_counts_while_a_person_is_asked(server: RunningServer, mode: Mode) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def answers(_: types.ElicitRequestFormParams) -> types.ElicitResult:
        asked.set()
        session = await newest(server)
        (action,) = await asyncio.to_thread(pending_in, server, session)
        answer = UserAnswer(action.id, "deny", reason="not today", sender="elsewhere")
        await asyncio.to_thread(server.call, lambda: server.runtime.send_event(session, answer))
        if mode == "auto":
            return approving()  # too late: the first answer counts
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()
        raise AssertionError

    async with over_http(server.url, mode, answers=answers) as client:
        result = await client.call_tool("coder", {"prompt": "do it"})
        assert asked.is_set()
        assert text_of(result) == "It says hi."
        if mode == "legacy":
            await asyncio.wait_for(gone.wait(), PATIENCE_S)  # nobody is asked any more
        events = structured(await client.call_tool("session_events", {"session": structured(result)["session"]}))["events"]
    answers_given = [event["data"] for event in events if event["type"] == "user.answer"]
    assert [(one["decision"], one["sender"]) for one in answers_given] == [("deny", "elsewhere")]
    assert [event["data"]["status"] for event in events if event["type"] == "tool.finished"] == ["denied"]


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_that_is_killed_while_an_approval_waits_loses_nothing(server: RunningServer, mode: Mode) -> None:
    script = Path(__file__).with_name("dying_client.py")
    client_process = await asyncio.create_subprocess_exec(
        sys.executable, os.fspath(script), server.url, mode, "coder", stdout=asyncio.subprocess.PIPE
    )
    assert client_process.stdout is not None
    assert await asyncio.wait_for(client_process.stdout.readline(), PATIENCE_S) == b"asked\n"
    client_process.kill()
    await client_process.wait()
    session = await newest(server)
    async with over_http(server.url, mode, answers=lambda _: approving()) as client:
        result = await client.call_tool("session_wait", {"session": session})
        assert text_of(result) == "It says hi."
        assert structured(result)["outcome"] == "done"


@pytest.mark.parametrize("mode", MODES)
async def test_a_person_is_asked_and_decides(server: RunningServer, mode: Mode) -> None:
    asked: list[types.ElicitRequestFormParams] = []

    def answers(params: types.ElicitRequestFormParams) -> types.ElicitResult:
        asked.append(params)
        if len(asked) == 1:
            return types.ElicitResult(action="accept", content={"decision": "perhaps"})  # it fits no form: asked again
        return types.ElicitResult(action="accept", content={"decision": "deny", "reason": "leave it"})

    async with over_http(server.url, mode, answers=answers) as client:
        result = await client.call_tool("coder", {"prompt": "do it"})
        view = structured(result)
        events = structured(await client.call_tool("session_events", {"session": view["session"]}))["events"]
    assert len(asked) == 2
    assert "command: echo hi" in asked[0].message
    assert asked[0].requested_schema["properties"]["decision"]["enum"] == ["approve", "deny"]
    assert "bash(echo hi)" in asked[0].requested_schema["properties"]["remember"]["description"]
    (answer,) = [event["data"] for event in events if event["type"] == "user.answer"]
    assert (answer["decision"], answer["reason"]) == ("deny", "leave it")
    assert (view["outcome"], view["turns"], view["actions"]) == ("done", 2, [])
    assert view["usage"]["output_tokens"] > 0


@pytest.mark.parametrize("mode", MODES)
async def test_what_is_remembered_is_not_asked_again(server: RunningServer, mode: Mode) -> None:
    asked: list[str] = []

    def answers(params: types.ElicitRequestFormParams) -> types.ElicitResult:
        asked.append(params.message)
        return approving(remember="always")

    async with over_http(server.url, mode, answers=answers) as client:
        for _ in range(2):
            first = await client.call_tool("session_start", {"agent": "coder", "prompt": "do it"})
            done = await client.call_tool("session_wait", {"session": structured(first)["session"]})
            assert text_of(done) == "It says hi."
    # Each session of a server works in a folder of its own, for which it is remembered.
    assert len(asked) == 2


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dismissed", [True, False], ids=["dismissed", "cannot ask"])
async def test_what_nobody_answers_is_told_with_how_to_answer_it(server: RunningServer, mode: Mode, dismissed: bool) -> None:
    answers = (lambda _: types.ElicitResult(action="cancel")) if dismissed else None
    async with over_http(server.url, mode, answers=answers) as client:
        result = await client.call_tool("coder", {"prompt": "do it"})
        view = structured(result)
        assert (view["outcome"], view["status"], result.is_error) == (None, "waiting", False)
        (action,) = view["actions"]
        assert action["arguments"] == {"command": "echo hi"}
        assert view["session"] in text_of(result)
        assert action["action"] in text_of(result)
        listed = structured(await client.call_tool("session_actions", {}))
        assert [one["action"] for one in listed["actions"]] == [action["action"]]
        chosen = {"session": view["session"], "action": action["action"], "decision": "approve"}
        assert structured(await client.call_tool("session_answer", chosen))["changed"] is True
        assert structured(await client.call_tool("session_answer", chosen))["changed"] is False
        done = await client.call_tool("session_wait", {"session": view["session"]})
        assert text_of(done) == "It says hi."


async def test_a_state_that_was_not_made_here_is_refused(server: RunningServer) -> None:
    async with over_http(server.url, answers=lambda _: approving()) as client:
        await client.list_tools()
        asked = await client.session.call_tool("coder", {"prompt": "do it"}, allow_input_required=True)
        assert isinstance(asked, types.InputRequiredResult)
        assert asked.request_state is not None
        assert asked.input_requests is not None
        (action,) = asked.input_requests
        middle = len(asked.request_state) // 2
        swapped = "A" if asked.request_state[middle] != "A" else "B"
        forged = asked.request_state[:middle] + swapped + asked.request_state[middle + 1 :]
        for state, prompt in ((forged, "do it"), (asked.request_state, "do something else")):
            with pytest.raises(MCPError) as refused:
                await client.session.call_tool(
                    "coder", {"prompt": prompt}, request_state=state, input_responses={action: approving()}
                )
            assert refused.value.error.code == types.INVALID_PARAMS
        result = await client.session.call_tool(
            "coder", {"prompt": "do it"}, request_state=asked.request_state, input_responses={action: approving()}
        )
        assert text_of(result) == "It says hi."


# --- calls -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_an_agent_is_a_tool(server: RunningServer, mode: Mode) -> None:
    told: list[tuple[float, str | None]] = []

    async def progress(progress: float, total: float | None, message: str | None) -> None:  # noqa: ARG001 - by name
        told.append((progress, message))

    async with over_http(server.url, mode, answers=lambda _: approving()) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert list(tools) == ["coder", "talker", "slow", "later", *SESSION_TOOLS]
        coder = tools["coder"]
        assert coder.description is not None
        assert coder.description.startswith("Codes.")
        assert coder.output_schema is not None
        assert coder.annotations is not None
        assert coder.annotations.destructive_hint is True
        result = await client.call_tool("coder", {"prompt": "do it"}, progress_callback=progress)
        assert text_of(result) == "It says hi."
        again = await client.call_tool("talker", {"prompt": "hello"})
        session = structured(again)["session"]
        more = await client.call_tool("talker", {"prompt": "and?", "session": session})
        assert (text_of(again), text_of(more)) == ("Hello.", "Hello again.")
        assert structured(more)["session"] == session
    messages = [message for _, message in told]
    assert "bash echo hi" in messages
    assert messages[-1] == "the work has ended: done"
    numbers = [number for number, _ in told]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("mode", MODES)
async def test_the_same_call_again_begins_nothing(server: RunningServer, mode: Mode) -> None:
    async with over_http(server.url, mode) as client:
        given = {"prompt": "hello", "key": "one"}
        first = structured(await client.call_tool("talker", given))
        second = structured(await client.call_tool("talker", given))
        assert (first["session"], first["run"]) == (second["session"], second["run"])
        other = await client.call_tool("talker", {"prompt": "something else", "key": "one"})
        assert other.is_error
        sessions = structured(await client.call_tool("session_list", {}))["sessions"]
        assert [one["session"] for one in sessions] == [first["session"]]


@pytest.mark.parametrize("mode", MODES)
async def test_a_request_with_the_same_key_in_its_header_begins_nothing(server: RunningServer, mode: Mode) -> None:
    sessions = []
    for key in ("one", "one", "two"):
        async with httpx2.AsyncClient(headers={"idempotency-key": key}, timeout=PATIENCE_S) as http:
            transport = streamable_http_client(f"{server.url}/mcp", http_client=http)
            async with mcp.Client(transport, mode=mode) as client:
                found = structured(await client.call_tool("talker", {"prompt": "hello"}))
                sessions.append((found["session"], found["run"]))
    assert sessions[0] == sessions[1]
    assert sessions[2] != sessions[0]


@pytest.mark.parametrize("mode", MODES)
async def test_what_is_approved_may_be_changed_before(server: RunningServer, mode: Mode) -> None:
    async with over_http(server.url, mode) as client:
        begun = structured(await client.call_tool("session_start", {"agent": "coder", "prompt": "do it"}))
        session = begun["session"]
        async with asyncio.timeout(PATIENCE_S):
            while not (waiting := structured(await client.call_tool("session_actions", {}))["actions"]):
                pass
        (action,) = waiting
        changed = {"action": action["action"], "session": session, "decision": "approve"}
        answered = await client.call_tool("session_answer", {**changed, "arguments": {"command": "echo changed"}})
        assert not answered.is_error, text_of(answered)
        assert structured(await client.call_tool("session_wait", {"session": session}))["outcome"] == "done"
        transcript = text_of(await client.call_tool("session_transcript", {"session": session}))
        assert "echo changed" in transcript


@pytest.mark.parametrize("mode", MODES)
async def test_who_waits_is_told_as_soon_as_something_waits_for_an_answer(
    server: RunningServer, release: asyncio.Event, reached: Reached, mode: Mode
) -> None:
    async with over_http(server.url, mode) as client:
        session = structured(await client.call_tool("session_start", {"agent": "later", "prompt": "go"}))["session"]
        await asyncio.wait_for(reached.wait(), PATIENCE_S)
        waiting = asyncio.create_task(client.call_tool("session_wait", {"session": session}))
        await client.call_tool("session_status", {"session": session})
        await asyncio.to_thread(server.call, _setting(release))
        found = structured(await asyncio.wait_for(waiting, PATIENCE_S))
        assert (found["status"], [one["name"] for one in found["actions"]]) == ("waiting", ["bash"])


@pytest.mark.parametrize("mode", MODES)
async def test_a_large_output_is_a_resource(server: RunningServer, mode: Mode) -> None:
    async with over_http(server.url, mode) as client:
        session = structured(await client.call_tool("talker", {"prompt": "hello"}))["session"]

        async def count() -> str:
            handle = await server.runtime.open_session(session)
            await handle.bash("seq 1 90000")
            (held,) = await handle.artifacts.list()
            return held.ref

        ref = await asyncio.to_thread(server.call, count)
        (listed,) = (await client.read_resource(f"godwit://sessions/{session}/artifacts")).contents
        assert isinstance(listed, types.TextResourceContents)
        assert ref in listed.text
        (whole,) = (await client.read_resource(f"godwit://sessions/{session}/artifacts/{ref}")).contents
        assert isinstance(whole, types.TextResourceContents)
        assert whole.text.split() == [str(number) for number in range(1, 90001)]
        reference = types.ResourceTemplateReference(uri="godwit://sessions/{session}/artifacts/{artifact}")
        found = await client.complete(reference, {"name": "artifact", "value": ref[:10]}, {"session": session})
        assert found.completion.values == [ref.removeprefix("sha256:")]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("told", [None, "interrupt", "continue"])
async def test_a_cancelled_call(
    server: RunningServer, release: asyncio.Event, reached: Reached, mode: Mode, told: str | None
) -> None:
    more = {} if told is None else {"when_cancelled": told}
    async with over_http(server.url, mode) as client:
        calling = asyncio.create_task(client.call_tool("slow", {"prompt": "go", **more}))
        await asyncio.wait_for(reached.wait(), PATIENCE_S)
        session = await newest(server)
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
        # Over HTTP the newer protocol has no word for it: a stream that closes may as well be a network that broke.
        ends = told == "interrupt" or (told is None and mode == "legacy")
        if ends:
            assert await outcome(server, session) == "interrupted"
        else:
            await client.call_tool("session_status", {"session": session})
            await asyncio.to_thread(server.call, _setting(release))
            assert await outcome(server, session) == "done"


def _setting(event: asyncio.Event) -> Any:
    async def set_it() -> None:
        event.set()

    return set_it


@pytest.mark.parametrize("mode", MODES)
async def test_a_session_is_worked_with_by_tools(server: RunningServer, mode: Mode) -> None:
    async with over_http(server.url, mode) as client:
        begun = structured(await client.call_tool("slow", {"prompt": "go", "wait_s": 0}))
        session = begun["session"]
        assert begun["outcome"] is None
        steered = structured(await client.call_tool("session_send", {"session": session, "text": "faster"}))
        assert (steered["how"], steered["run"]) == ("steer", begun["run"])
        assert structured(await client.call_tool("session_status", {"session": session}))["session"]["agent"] == "slow"
        ended = structured(await client.call_tool("session_interrupt", {"session": session, "reason": "enough"}))
        assert ended["changed"] is True
        result = await client.call_tool("session_wait", {"session": session})
        assert structured(result)["outcome"] == "interrupted"
        transcript = text_of(await client.call_tool("session_transcript", {"session": session}))
        assert "go" in transcript
        for name, arguments in (
            ("session_status", {"session": "ses_none"}),
            ("session_start", {"agent": "nobody", "prompt": "go"}),
            ("talker", {"prompt": ""}),
            ("talker", {"prompt": "hello", "more": 1}),
        ):
            assert (await client.call_tool(name, arguments)).is_error, name
        with pytest.raises(MCPError):
            await client.call_tool("nothing", {})


# --- resources, prompts, and what changes --------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_sessions_are_resources(server: RunningServer, mode: Mode) -> None:
    async with over_http(server.url, mode) as client:
        session = structured(await client.call_tool("talker", {"prompt": "hello"}))["session"]
        listed = (await client.list_resources()).resources
        assert [str(one.uri) for one in listed] == ["godwit://sessions", f"godwit://sessions/{session}"]
        templates = (await client.list_resource_templates()).resource_templates
        assert [one.name for one in templates] == ["session", "events", "artifacts", "artifact"]
        for uri, expected in (
            ("godwit://sessions", session),
            (f"godwit://sessions/{session}", "Hello."),
            (f"godwit://sessions/{session}/events", "run.finished"),
            (f"godwit://sessions/{session}/artifacts", "[]"),
        ):
            (content,) = (await client.read_resource(uri)).contents
            assert isinstance(content, types.TextResourceContents)
            assert expected in content.text
        for uri in ("godwit://sessions/ses_none", f"godwit://sessions/{session}/artifacts/sha256:00", "file:///etc/passwd"):
            with pytest.raises(MCPError):
                await client.read_resource(uri)
        reference = types.ResourceTemplateReference(uri="godwit://sessions/{session}")
        found = await client.complete(reference, {"name": "session", "value": session[:8]})
        assert found.completion.values == [session]
        prompt = types.PromptReference(name="delegate")
        assert (await client.complete(prompt, {"name": "agent", "value": "co"})).completion.values == ["coder"]
        said = await client.get_prompt("delegate", {"agent": "coder", "task": "tidy up"})
        assert "tidy up" in str(said.messages[0].content)


async def test_changes_are_told_to_who_listens(server: RunningServer) -> None:
    async with over_http(server.url) as client:
        session = structured(await client.call_tool("talker", {"prompt": "hello"}))["session"]
        uri = f"godwit://sessions/{session}"
        async with client.listen(tools_list_changed=True, resource_subscriptions=[uri]) as changes:
            await client.call_tool("talker", {"prompt": "and?", "session": session})
            await asyncio.to_thread(server.call, lambda: put(server.runtime, Agent("newcomer", model=MODEL)))
            seen = set()
            async for change in changes:
                seen.add(type(change))
                if seen == {ResourceUpdated, ToolsListChanged}:
                    break
        assert "newcomer" in [tool.name for tool in (await client.list_tools()).tools]


@pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")
async def test_changes_are_told_to_a_connection_of_the_older_protocol(server: RunningServer) -> None:
    heard: list[str] = []
    both = asyncio.Event()

    async def hear(message: Any) -> None:
        if isinstance(message, types.ResourceUpdatedNotification | types.ToolListChangedNotification):
            heard.append(message.method)
            if len(set(heard)) == 2:
                both.set()

    async with over_http(server.url, "legacy", message_handler=hear) as client:
        session = structured(await client.call_tool("talker", {"prompt": "hello"}))["session"]
        uri = f"godwit://sessions/{session}"
        await client.subscribe_resource(uri)
        await client.call_tool("talker", {"prompt": "and?", "session": session})
        await asyncio.to_thread(server.call, lambda: put(server.runtime, Agent("newcomer", model=MODEL)))
        await asyncio.wait_for(both.wait(), PATIENCE_S)
        await client.unsubscribe_resource(uri)
        with pytest.raises(MCPError):
            await client.subscribe_resource("godwit://sessions/ses_none")


@pytest.mark.parametrize("mode", MODES)
async def test_log_messages_are_sent_to_who_asks_for_them(server: RunningServer, mode: Mode) -> None:
    logged: list[Any] = []

    async def hear(params: types.LoggingMessageNotificationParams) -> None:
        logged.append((params.level, params.data["event"]))

    options: dict[str, Any] = {"log_level": "info"} if mode == "auto" else {}
    async with over_http(server.url, mode, logging_callback=hear, **options) as client:
        await client.call_tool("talker", {"prompt": "hello"})
        if mode == "legacy":
            assert logged == []
            with pytest.warns(mcp.MCPDeprecationWarning):
                await client.set_logging_level("info")
            await client.call_tool("talker", {"prompt": "hello"})
    assert logged == [("info", "run.finished")]


# --- calls that ask -----------------------------------------------------------------------------------------------


@tool
async def book(ctx: ToolContext, city: str) -> ToolOutput:
    """Book a room."""
    if ctx.resumed is None:
        form = {
            "type": "object",
            "properties": {"nights": {"type": "integer", "minimum": 1}, "breakfast": {"type": "boolean", "default": True}},
            "required": ["nights"],
        }
        return ToolOutput((), questions=(Question("stay", "form", f"How long in {city}?", form),))
    answer = ctx.resumed.answer("stay")
    return ToolOutput((Text(f"{answer.action} {answer.content}"),))


@pytest.mark.parametrize("mode", MODES)
async def test_the_form_of_a_call_travels_to_the_person(tmp_path: Path, mode: Mode) -> None:
    asked: list[types.ElicitRequestFormParams] = []

    def answers(params: types.ElicitRequestFormParams) -> types.ElicitResult:
        asked.append(params)
        nights = 0 if len(asked) == 1 else 2
        if len(asked) > 2:
            return types.ElicitResult(action="decline")
        return types.ElicitResult(action="accept", content={"nights": nights})

    model = ScriptedModel([call("book", city="Oslo"), "Booked."])
    clerk = Agent("clerk", model=MODEL, tools=["book"])
    with running(
        tmp_path / "g.db", models={MODEL: model}, tools=[book], prepare=lambda runtime: put(runtime, clerk)
    ) as server:
        async with over_http(server.url, mode, answers=answers) as client:
            first = await client.call_tool("clerk", {"prompt": "book it"})
            second = await client.call_tool("clerk", {"prompt": "book it"})
            said = []
            for result in (first, second):
                session = structured(result)["session"]
                events = structured(await client.call_tool("session_events", {"session": session}))["events"]
                said += [one["data"]["content"][0]["text"] for one in events if one["type"] == "tool.finished"]
    assert said == ["accept {'nights': 2, 'breakfast': True}", "decline None"]
    assert [one.message for one in asked] == ["How long in Oslo?"] * 3
    assert asked[0].requested_schema["required"] == ["nights"]
