"""Events in and out: turns that stream, functions, approvals, steering, cancelling, sending again."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from openai.lib.beta.agents import AgentTurnResultError

from godwit.core.errors import ModelRefused
from godwit.core.events import Event
from godwit.core.rules import Permissions
from godwit.models.script import call, fail, hold, say, think
from tests.surfaces.server.running import RunningServer

from .conftest import HOSTED, NONE, WEATHER, Start, client_of, release

MODEL: Any = {"model": "m"}
WITH_WEATHER: Any = {"model": "m", "tools": [WEATHER]}


def message(*texts: str) -> Any:
    content = [[{"type": "input_text", "text": text}] for text in texts]
    return {"type": "agent.session.input.message", "input": [{"role": "user", "content": one} for one in content]}


def _with(event: Any, **fields: Any) -> Any:
    return {**event, **fields}


CANCEL: Any = {"type": "agent.session.input.cancel"}


def log_of(server: RunningServer, session: str) -> list[Event]:
    async def read() -> list[Event]:
        return await server.runtime.store.read(session)  # type: ignore[arg-type]

    return server.call(read)


def until(events: Any, kind: str) -> list[Any]:
    """What comes up to the first event of this type."""
    seen = []
    for event in events:
        seen.append(event)
        if event.type == kind:
            return seen
    raise AssertionError(f"the stream ended without {kind}: {[event.type for event in seen]}")


def test_a_turn_streams_from_its_beginning_to_its_end(start: Start) -> None:
    client = client_of(start(think("Well now.") + say("Hello there, friend.")))
    with client.beta.agents.sessions.create(agent=MODEL, environment=NONE, input="Hi", stream=True) as events:
        seen = list(events)
    names = [event.type.removeprefix("agent.session.") for event in seen]
    assert [name for name in names if not name.endswith(".delta")] == [
        "created",
        "turn.created",
        "in_progress",
        "turn.in_progress",
        "turn.item.added",
        "turn.item.added",
        "turn.reasoning_summary_part.added",
        "turn.item.added",
        "turn.content_part.added",
        "turn.reasoning_summary_text.done",
        "turn.reasoning_summary_part.done",
        "turn.item.done",
        "turn.output_text.done",
        "turn.content_part.done",
        "turn.item.done",
        "turn.completed",
        "idle",
    ]
    text = "".join(event.delta for event in seen if event.type == "agent.session.turn.output_text.delta")
    thought = "".join(event.delta for event in seen if event.type == "agent.session.turn.reasoning_summary_text.delta")
    assert (text, thought) == ("Hello there, friend.", "Well now.")
    ids = [event.event_id for event in seen]
    assert len(set(ids)) == len(ids)
    done = [event for event in seen if event.type == "agent.session.turn.item.done"]
    assert [event.output_index for event in done] == [0, 1]
    completed = seen[-2]
    assert completed.type == "agent.session.turn.completed"
    assert completed.usage is not None
    assert (completed.turn.status, completed.turn.usage) == ("completed", completed.usage)


def test_functions_are_run_by_the_sdk_s_own_dispatcher(start: Start) -> None:
    client = client_of(start(call("weather", city="Rome") + call("weather", city="Oslo"), say("Wet, and cold.")))
    ran: list[str] = []

    def weather(arguments: dict[str, Any]) -> str:
        ran.append(arguments["city"])
        return f"{arguments['city']}: 4 degrees"

    session = client.beta.agents.sessions.create(agent=WITH_WEATHER, environment=NONE)
    handlers = {"weather": weather}
    with client.beta.agents.sessions.stream(session.id, input="Where?", tool_handlers=handlers) as events:
        result = events.get_final_result()
    assert (ran, result.output_text, result.turn.status) == (["Rome", "Oslo"], "Wet, and cold.", "completed")
    outputs = [item for item in client.beta.agents.sessions.items.list(session.id) if item.type == "function_call_output"]
    assert sorted(str(item.output) for item in outputs) == ["Oslo: 4 degrees", "Rome: 4 degrees"]


async def test_the_asynchronous_client_streams_and_runs_functions_as_well(start: Start) -> None:
    server = await asyncio.to_thread(start, call("weather", city="Rome"), say("Wet."))
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any", _strict_response_validation=True) as client:

        async def weather(arguments: dict[str, Any]) -> list[Any]:
            return [{"type": "input_text", "text": f"{arguments['city']}: rain"}]

        events = await client.beta.agents.sessions.create(
            agent=WITH_WEATHER, environment=NONE, input="Rome?", stream=True, tool_handlers={"weather": weather}
        )
        async with events:
            result = await events.get_final_result()
    assert result.output_text == "Wet."


def test_a_function_waits_in_the_session_until_somebody_answers(start: Start) -> None:
    client = client_of(start(call("weather", city="Rome") + call("weather", city="Oslo"), say("Wet.")))
    sessions = client.beta.agents.sessions
    session = sessions.create(agent=WITH_WEATHER, environment=NONE)
    with sessions.events.stream(session.id) as events:
        sessions.events.create(session.id, events=[message("Where?")])
        required = until(events, "agent.session.requires_action")[-1].session
        assert required.status == "requires_action"
        first, second = required.required_actions
        assert [(a.type, a.name, a.arguments) for a in (first, second)] == [
            ("function_call", "weather", {"city": "Rome"}),
            ("function_call", "weather", {"city": "Oslo"}),
        ]
        read = sessions.retrieve(session.id)
        assert (read.status, read.required_actions) == ("requires_action", required.required_actions)
        (turn,) = sessions.turns.list(session.id).data
        assert (turn.status, turn.id) == ("waiting", first.turn_id)

        def result(action: Any, **fields: Any) -> Any:
            return {
                "type": "agent.session.input.tool_result",
                "call_id": action.call_id,
                "turn_id": action.turn_id,
                **fields,
            }

        sessions.events.create(session.id, events=[result(first, success=True, output="rain")])
        rest = until(events, "agent.session.requires_action")[-1].session.required_actions
        assert rest == [second]
        for wrong in (first.call_id, "call_none"):
            with pytest.raises(openai.BadRequestError) as caught:
                sessions.events.create(session.id, events=[_with(result(second, success=True), call_id=wrong)])
            assert (caught.value.code, caught.value.param) == ("invalid_request_error", "call_id")
            assert caught.value.body["message"] == f"Unknown pending tool call: {wrong}"  # type: ignore[index]
        sessions.events.create(session.id, events=[result(second, success=False, error="no such city")])
        names = [event.type for event in until(events, "agent.session.idle")]
    assert names[-2:] == ["agent.session.turn.completed", "agent.session.idle"]
    items = {item.id: item for item in sessions.items.list(session.id)}
    outputs = [item for item in items.values() if item.type == "function_call_output"]
    assert sorted((str(o.output), str(o.error), o.status) for o in outputs) == [
        ("None", "no such city", "failed"),
        ("rain", "None", "completed"),
    ]


def test_an_approval_is_asked_for_in_the_words_of_mcp(start: Start) -> None:
    server = start(call("bash", command="echo yes") + call("bash", command="echo no"), say("Done."))
    client = client_of(server)
    sessions = client.beta.agents.sessions
    session = sessions.create(agent=MODEL, environment=HOSTED)

    async def ask() -> None:
        handle = await server.runtime.open_session(session.id, drive=False)
        await handle.configure(permissions=Permissions(ask=("bash",)))

    server.call(ask)
    with sessions.events.stream(session.id) as events:
        sessions.events.create(session.id, events=[message("Go")])
        seen = until(events, "agent.session.requires_action")
        yes, no = seen[-1].session.required_actions
        assert (yes.type, yes.request.name, yes.request.server_label) == ("mcp_approval_request", "bash", "godwit")
        assert yes.request.arguments == {"command": "echo yes"}
        answers: Any = [
            {
                "type": "agent.session.input.mcp_approval_request_result",
                "request_id": one.request_id,
                "response": {"type": "mcp_tool_call", "decision": decision},
            }
            for one, decision in ((yes, "approve"), (no, "cancel"))
        ]
        sessions.events.create(session.id, events=answers)
        done = [e for e in until(events, "agent.session.idle") if e.type == "agent.session.turn.item.done"]
    ran = [(e.item.command, e.item.status, e.item.exit_code) for e in done if e.item.type == "command_execution"]
    assert sorted(ran) == [("echo no", "failed", None), ("echo yes", "completed", 0)]
    with pytest.raises(openai.BadRequestError, match="Unknown pending approval request"):
        sessions.events.create(session.id, events=answers[:1])


def test_a_message_to_an_open_turn_steers_it(start: Start) -> None:
    go, reached = asyncio.Event(), asyncio.Event()
    server = start(hold(go, reached=reached) + call("weather", city="Rome"), say("Heard you."))
    client = client_of(server)
    sessions = client.beta.agents.sessions
    session = sessions.create(agent=WITH_WEATHER, environment=NONE, input="Go")
    server.call(reached.wait)
    sessions.events.create(session.id, events=[message("one", "two")])
    release(server, go)
    with sessions.events.stream(session.id) as events:
        action = None
        for event in events:
            if event.type == "agent.session.requires_action":
                action = event.session.required_actions[0]
                break
        assert action is not None
        assert action.type == "function_call"
        result: Any = {"type": "agent.session.input.tool_result", "call_id": action.call_id, "turn_id": action.turn_id}
        sessions.events.create(session.id, events=[_with(result, success=True, output="rain")])
        until(events, "agent.session.idle")
    assert len(sessions.turns.list(session.id).data) == 1
    said = [
        item.content[0].text
        for item in sessions.items.list(session.id, order="asc")
        if item.type == "message" and item.content[0].type in ("input_text", "output_text")
    ]
    assert said == ["Go", "one", "two", "Heard you."]


def test_a_turn_is_cancelled_and_the_next_message_begins_another(start: Start) -> None:
    never, reached = asyncio.Event(), asyncio.Event()
    server = start(say("I begin ") + hold(never, reached=reached) + say("and never end."), say("Something else."))
    client = client_of(server)
    sessions = client.beta.agents.sessions
    session = sessions.create(agent=MODEL, environment=NONE, input="Go")
    server.call(reached.wait)
    with sessions.events.stream(session.id) as events:
        sessions.events.create(session.id, events=[CANCEL, message("Do something else.")])
        seen = until(events, "agent.session.turn.completed")
    names = [event.type for event in seen]
    assert names.index("agent.session.turn.cancelled") < names.index("agent.session.turn.completed")
    partial = next(e for e in seen if e.type == "agent.session.turn.item.done" and e.item.type == "message")
    assert (partial.item.status, partial.item.content[0].text) == ("incomplete", "I begin ")
    assert [turn.status for turn in sessions.turns.list(session.id, order="asc")] == ["cancelled", "completed"]
    before = len(log_of(server, session.id))
    sessions.events.create(session.id, events=[CANCEL])
    assert len(log_of(server, session.id)) == before, "there was nothing to cancel"


def test_a_turn_that_fails_says_why_and_the_session_goes_on(start: Start) -> None:
    client = client_of(start(fail(ModelRefused("no such thing")), say("Now it works.")))
    sessions = client.beta.agents.sessions
    session = sessions.create(agent=MODEL, environment=NONE)
    with sessions.stream(session.id, input="Go") as events:
        with pytest.raises(AgentTurnResultError) as caught:
            events.get_final_result()
    assert caught.value.reason == "failed"
    (turn,) = sessions.turns.list(session.id).data
    assert turn.error is not None
    assert (turn.status, turn.error.code, turn.error.message) == ("failed", "invalid_request", "no such thing")
    with sessions.events.stream(session.id) as more:
        assert next(iter(more)).type == "agent.session.idle"


def test_a_failure_is_an_error_event_that_strict_clients_read(start: Start) -> None:
    client = client_of(start(fail(ModelRefused("no such thing"))))
    with client.beta.agents.sessions.create(agent=MODEL, environment=NONE, input="Go", stream=True) as events:
        (failure,) = [event for event in events if event.type == "error"]
    assert (failure.error.code, failure.error.message, failure.error.type) == (
        "invalid_request",
        "no such thing",
        "invalid_request_error",
    )


def test_the_same_request_again_changes_nothing(start: Start) -> None:
    server = start("Hello.", "Again.")
    client = client_of(server)
    sessions = client.beta.agents.sessions
    session = sessions.create(agent=MODEL, environment=NONE)
    with sessions.events.stream(session.id) as events:
        for _ in range(3):
            sessions.events.create(session.id, events=[message("one", "two")], idempotency_key="k-1")
        until(events, "agent.session.turn.completed")
    sessions.events.create(session.id, events=[message("one", "two")], idempotency_key="k-1")
    assert len(sessions.turns.list(session.id).data) == 1
    with pytest.raises(openai.ConflictError):
        sessions.events.create(session.id, events=[message("other")], idempotency_key="k-1")
    assert sum(event.type == "user.message" for event in log_of(server, session.id)) == 2


def test_a_session_that_is_made_again_under_its_key_is_the_same(start: Start) -> None:
    """Also where the answer was a stream, which is kept nowhere: it is told from the log."""
    client = client_of(start("Hello."))
    keyed: Any = {"extra_headers": {"Idempotency-Key": "k-1"}}
    told = []
    for _ in range(2):
        with client.beta.agents.sessions.create(agent=MODEL, environment=HOSTED, input="Hi", stream=True, **keyed) as events:
            told.append([event.event_id for event in events if not event.type.endswith(".delta")])
    assert sorted(told[0]) == sorted(told[1])
    (session,) = client.beta.agents.sessions.list().data
    assert len(client.beta.agents.sessions.turns.list(session.id).data) == 1
    keyed = {"extra_headers": {"Idempotency-Key": "k-2"}}
    made = [client.beta.agents.sessions.create(agent=MODEL, environment=NONE, **keyed).id for _ in range(2)]
    assert made[0] == made[1] != session.id


def test_the_engine_itself_takes_a_key_once(start: Start) -> None:
    """As when the process died before the front had kept its answer, and the turn has gone on since."""
    from godwit.core.messages import Text
    from godwit.surfaces.openai_agents.inputs import say as send

    server = start("Hello.", "Again.")
    session = client_of(server).beta.agents.sessions.create(agent=MODEL, environment=NONE)

    async def twice() -> None:
        handle = await server.runtime.desk.session(session.id)
        for _ in range(2):
            await send(handle, [(Text("one"),), (Text("two"),)], [], key="k", sender="me")
        await handle.wait()
        await send(handle, [(Text("one"),), (Text("two"),)], [], key="k", sender="me")

    server.call(twice)
    assert sum(event.type == "user.message" for event in log_of(server, session.id)) == 2


def test_events_are_accepted_together_or_not_at_all(start: Start) -> None:
    server = start(call("weather", city="Rome"), say("Wet."))
    client = client_of(server)
    sessions = client.beta.agents.sessions
    session = sessions.create(agent=WITH_WEATHER, environment=NONE)
    head = len(log_of(server, session.id))
    unknown: Any = {"type": "agent.session.input.tool_result", "call_id": "call_x", "turn_id": "run_x", "success": True}
    computer: Any = {
        "type": "agent.session.input.computer_use_approval_request_result",
        "request_id": "r",
        "response": {"type": "browser_authentication", "action": "cancel"},
    }
    bad_image: Any = {
        "type": "agent.session.input.message",
        "input": [{"role": "user", "content": [{"type": "input_image", "image_url": "file:///etc/passwd"}]}],
    }
    refused: list[tuple[Any, int]] = [
        ([message("hi"), unknown], 400),
        ([message("hi"), computer], 501),
        ([message("hi"), bad_image], 400),
        ([message("hi", "  ")], 400),
        ([message("hi"), CANCEL, unknown], 400),
        ([], 400),
        ([{"type": "agent.session.input.unheard"}], 400),
    ]
    for events, status in refused:
        with pytest.raises(openai.APIStatusError) as caught:
            sessions.events.create(session.id, events=events)
        assert caught.value.status_code == status
    assert [event.type for event in log_of(server, session.id)[head:]] in ([], ["session.opened"])


def test_images_are_said_and_shown_again(start: Start) -> None:
    client = client_of(start("A picture."))
    sessions = client.beta.agents.sessions
    pixel = "data:image/png;base64,iVBORw0KGgo="
    with sessions.create(
        agent=MODEL,
        environment=NONE,
        input=[
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "What is it?"},
                    {"type": "input_image", "image_url": pixel},
                    {"type": "input_image", "image_url": "https://example.org/a.webp?x=1"},
                ],
            }
        ],
        stream=True,
    ) as events:
        added = next(event for event in events if event.type == "agent.session.turn.item.added")
    assert added.item.type == "message"
    assert [getattr(part, "image_url", None) for part in added.item.content] == [
        None,
        pixel,
        "https://example.org/a.webp?x=1",
    ]
