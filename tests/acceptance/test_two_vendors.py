"""One session, two vendors' official clients at once: what one says the other hears, what one is asked the other answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from godwit.core.events import Event
from godwit.core.rules import Permissions
from godwit.models.script import ScriptedModel, call, say
from godwit.surfaces.server import ServerSettings
from tests.patience import PATIENCE_S
from tests.surfaces.server.running import RunningServer, running

CITY: Any = {"type": "object", "properties": {"city": {"type": "string"}}}
FUNCTION: Any = {"type": "function", "name": "weather", "description": "The weather in a city.", "parameters": CITY}
CUSTOM: Any = {"type": "custom", "name": "weather", "description": "The weather in a city.", "input_schema": CITY}


class Listener:
    """Hears a stream in a thread of its own. `heard`: its events so far."""

    def __init__(self, stream: Any) -> None:
        self.heard: list[Any] = []
        self._stream = stream
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        for event in self._stream:
            with self._news:
                self.heard.append(event)
                self._news.notify_all()

    def wait(self, wanted: Callable[[Any], bool]) -> Any:
        """The first event that is wanted, once it was heard."""

        def found() -> Any:
            return next((event for event in self.heard if wanted(event)), None)

        with self._news:
            assert self._news.wait_for(lambda: found() is not None, PATIENCE_S), [event.type for event in self.heard]
            return found()

    def close(self) -> None:
        """When the session has ended, and its stream with it."""
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


class Both:
    """A server, a client of each vendor's, and a stream of one session in each."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self.anthropic = anthropic.Anthropic(
            base_url=server.url, api_key="any", max_retries=0, _strict_response_validation=True
        )
        self.openai = openai.OpenAI(
            base_url=f"{server.url}/v1", api_key="any", max_retries=0, _strict_response_validation=True
        )

    def listen(self, session: str) -> tuple[Listener, Listener]:
        """What Anthropic's client hears of it, and what OpenAI's does."""
        return (
            Listener(self.anthropic.beta.sessions.events.stream(session)),
            Listener(self.openai.beta.agents.sessions.events.stream(session)),
        )

    def log(self, session: str) -> list[Event]:
        async def read() -> list[Event]:
            return await self.server.runtime.store.read(session)  # type: ignore[arg-type]

        return self.server.call(read)


@pytest.fixture
def both(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Both]:
    model = ScriptedModel(list(request.param))
    settings = ServerSettings(port=0, models={"*": "scripted:any"})
    with running(tmp_path / "g.db", models={"scripted:any": model}, settings=settings) as server:
        made = Both(server)
        with made.anthropic, made.openai:
            yield made


def text(said: str) -> Any:
    return {"type": "user.message", "content": [{"type": "text", "text": said}]}


def message(said: str) -> Any:
    return {
        "type": "agent.session.input.message",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": said}]}],
    }


@pytest.mark.parametrize("both", [[call("weather", city="Rome"), say("It rains.")]], indirect=True)
def test_a_session_of_openai_s_is_steered_by_anthropic_s(both: Both) -> None:
    theirs, ours = both.anthropic.beta.sessions, both.openai.beta.agents.sessions
    session = ours.create(agent={"model": "gpt-6-astra", "tools": [FUNCTION]}, environment={"type": "none"})
    seen = theirs.retrieve(session.id)
    assert (seen.id, seen.status) == (session.id, "idle")
    claude, gpt = both.listen(session.id)

    theirs.events.send(session.id, events=[text("Rome?")])
    asked = claude.wait(lambda e: e.type == "agent.custom_tool_use")
    assert (asked.name, asked.input) == ("weather", {"city": "Rome"})
    required = gpt.wait(lambda e: e.type == "agent.session.requires_action").session.required_actions[0]
    assert (required.name, required.arguments) == ("weather", {"city": "Rome"})
    assert theirs.retrieve(session.id).status == "idle"
    assert ours.retrieve(session.id).status == "requires_action"

    result: Any = {
        "type": "agent.session.input.tool_result",
        "call_id": required.call_id,
        "turn_id": required.turn_id,
        "success": True,
        "output": "rain",
    }
    ours.events.create(session.id, events=[result])
    answered = claude.wait(lambda e: e.type == "user.custom_tool_result")
    assert answered.custom_tool_use_id == asked.id
    assert answered.content[0].text == "rain"
    assert claude.wait(lambda e: e.type == "agent.message").content[0].text == "It rains."
    done = gpt.wait(lambda e: e.type == "agent.session.turn.item.done" and e.item.type == "message")
    assert done.item.content[0].text == "It rains."
    gpt.wait(lambda e: e.type == "agent.session.turn.completed")
    listed = [item.type for item in ours.items.list(session.id, order="asc")]
    assert listed == ["message", "function_call", "function_call_output", "message"]

    with pytest.raises(anthropic.BadRequestError):
        theirs.events.send(
            session.id,
            events=[{"type": "user.custom_tool_result", "custom_tool_use_id": asked.id, "content": []}],
        )
    ours.delete(session.id)
    claude.close()
    gpt.close()
    with pytest.raises(anthropic.NotFoundError):
        theirs.retrieve(session.id)


@pytest.mark.parametrize("both", [[call("weather", city="Oslo"), say("It snows.")]], indirect=True)
def test_a_session_of_anthropic_s_is_steered_by_openai_s(both: Both) -> None:
    theirs, ours = both.anthropic.beta.sessions, both.openai.beta.agents.sessions
    agent = both.anthropic.beta.agents.create(name="Bird", model="claude-sonnet-5", system="Be brief.", tools=[CUSTOM])
    environment = both.anthropic.beta.environments.create(name="any")
    session = theirs.create(agent=agent.id, environment_id=environment.id, metadata={"k": "v"})
    seen = ours.retrieve(session.id)
    assert (seen.status, seen.metadata, seen.agent.id, seen.agent.name) == ("idle", {"k": "v"}, agent.id, "Bird")
    assert (seen.agent.instructions, [getattr(t, "name", None) for t in seen.agent.tools]) == ("Be brief.", ["weather"])
    assert both.openai.beta.agents.retrieve(agent.id).name == "Bird"
    assert [one.id for one in ours.list(agent_id=agent.id)] == [session.id]
    claude, gpt = both.listen(session.id)

    ours.events.create(session.id, events=[message("Oslo?")])
    asked = claude.wait(lambda e: e.type == "agent.custom_tool_use")
    assert claude.wait(lambda e: e.type == "user.message").content[0].text == "Oslo?"
    gpt.wait(lambda e: e.type == "agent.session.requires_action")
    theirs.events.send(
        session.id,
        events=[
            {
                "type": "user.custom_tool_result",
                "custom_tool_use_id": asked.id,
                "content": [{"type": "text", "text": "snow"}],
            }
        ],
    )
    output = gpt.wait(lambda e: e.type == "agent.session.turn.item.added" and e.item.type == "function_call_output")
    assert (output.item.output, output.item.status) == ("snow", "completed")
    gpt.wait(lambda e: e.type == "agent.session.turn.completed")
    assert claude.wait(lambda e: e.type == "agent.message").content[0].text == "It snows."
    assert claude.wait(lambda e: e.type == "session.status_idle" and e.stop_reason.type == "end_turn")
    theirs.archive(session.id)
    claude.close()
    gpt.close()
    assert ours.retrieve(session.id).status == "failed"
    assert sum(event.type == "run.started" for event in both.log(session.id)) == 1


@pytest.mark.parametrize(
    "both", [[call("bash", command="echo one"), call("bash", command="echo two"), say("Done.")]], indirect=True
)
def test_what_has_to_be_approved_is_approved_by_either(both: Both) -> None:
    theirs, ours = both.anthropic.beta.sessions, both.openai.beta.agents.sessions
    session = ours.create(agent={"model": "m"}, environment={"type": "openai_hosted"})

    async def ask() -> None:
        handle = await both.server.runtime.open_session(session.id, drive=False)
        await handle.configure(permissions=Permissions(ask=("bash",)))

    both.server.call(ask)
    claude, gpt = both.listen(session.id)
    ours.events.create(session.id, events=[message("Go")])
    asked = claude.wait(lambda e: e.type == "agent.tool_use")
    assert (asked.name, asked.evaluated_permission) == ("bash", "ask")
    claude.wait(lambda e: e.type == "session.status_idle")
    theirs.events.send(session.id, events=[{"type": "user.tool_confirmation", "tool_use_id": asked.id, "result": "allow"}])

    def second(event: Any) -> bool:
        if event.type != "agent.session.requires_action":
            return False
        return bool(event.session.required_actions[0].request.arguments == {"command": "echo two"})

    request = gpt.wait(second).session.required_actions[0]
    answer: Any = {
        "type": "agent.session.input.mcp_approval_request_result",
        "request_id": request.request_id,
        "response": {"type": "mcp_tool_call", "decision": "deny"},
    }
    ours.events.create(session.id, events=[answer])
    gpt.wait(lambda e: e.type == "agent.session.turn.completed")
    ran = [item for item in ours.items.list(session.id, order="asc") if item.type == "command_execution"]
    assert [(item.command, item.status) for item in ran] == [("echo one", "completed"), ("echo two", "failed")]
    results = [e for e in theirs.events.list(session.id) if e.type == "agent.tool_result"]
    assert [bool(result.is_error) for result in results] == [False, True]
    ours.delete(session.id)
    claude.close()
    gpt.close()
