"""`godwit serve` as a process that is killed, and answers that are lost, with the official client on the other side."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest

from tests.surfaces.server.losing import losing
from tests.surfaces.server.process import serving, setup

from .conftest import NONE, WEATHER

TOOL = """
    from godwit.models.script import ScriptedModel, call, say

    def runtime():
        return {"models": {"scripted:any": ScriptedModel([call("weather", city="Rome"), say("It rains."), say("Still.")])}}
"""
FLAGS = ("--model", "*=scripted:any")


def message(said: str) -> Any:
    return {
        "type": "agent.session.input.message",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": said}]}],
    }


def client_of(url: str, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="any", _strict_response_validation=True, **options)


def test_killed_with_a_pending_function_the_next_call_finds_everything(tmp_path: Path) -> None:
    own = setup(tmp_path, TOOL)
    with serving(tmp_path, "--setup", own, *FLAGS) as process, client_of(process.url) as client:
        sessions = client.beta.agents.sessions
        session = sessions.create(agent={"model": "m", "tools": [WEATHER]}, environment=NONE).id
        with sessions.events.stream(session) as events:
            sessions.events.create(session, events=[message("Rome?")])
            required = next(e for e in events if e.type == "agent.session.requires_action").session.required_actions
        items = sessions.items.list(session).data
        assert process.end(signal.SIGKILL) == -signal.SIGKILL
    with serving(tmp_path, "--setup", own, *FLAGS) as process, client_of(process.url) as client:
        sessions = client.beta.agents.sessions
        found = sessions.retrieve(session)
        assert (found.status, found.required_actions) == ("requires_action", required)
        assert sessions.items.list(session).data == items
        action: Any = required[0]
        with sessions.events.stream(session) as events:
            result: Any = {
                "type": "agent.session.input.tool_result",
                "call_id": action.call_id,
                "turn_id": action.turn_id,
                "success": True,
                "output": "rain",
            }
            sessions.events.create(session, events=[result])
            done = [e for e in _until_idle(events) if e.type == "agent.session.turn.item.done"]
        assert [e.item.content[0].text for e in done if e.item.type == "message"] == ["It rains."]
        assert [item.id for item in sessions.items.list(session, order="asc")][:2] == [item.id for item in items][::-1]


def _until_idle(events: Any) -> list[Any]:
    seen = []
    for event in events:
        seen.append(event)
        if event.type == "agent.session.idle":
            break
    return seen


@pytest.mark.slow
def test_a_message_whose_answer_was_lost_is_said_once(tmp_path: Path) -> None:
    """The official client sends it again by itself, once while the server lives and once when it was killed in between."""
    own = setup(tmp_path, TOOL)
    with ExitStack() as stack:
        first = stack.enter_context(serving(tmp_path, "--setup", own, *FLAGS))
        proxy = stack.enter_context(losing(first.url))
        client = stack.enter_context(client_of(proxy.url))  # for all but streams: the proxy takes answers as a whole
        sessions = client.beta.agents.sessions
        session = sessions.create(agent={"model": "m", "tools": [WEATHER]}, environment=NONE).id
        proxy.lose()
        sessions.events.create(session, events=[message("one")], idempotency_key="k-1")
        action = stack.enter_context(client_of(first.url)).beta.agents.sessions.events.stream(session)
        required = next(e for e in action if e.type == "agent.session.requires_action").session.required_actions[0]
        action.close()
        assert required.type == "function_call"
        urls = []

        def restart() -> None:
            first.end(signal.SIGKILL)
            second = stack.enter_context(serving(tmp_path, "--setup", own, *FLAGS))
            urls.append(second.url)
            proxy.upstream = (proxy.upstream[0], urlsplit(second.url).port or 0)

        proxy.between = restart
        proxy.lose()
        result: Any = {
            "type": "agent.session.input.tool_result",
            "call_id": required.call_id,
            "turn_id": required.turn_id,
            "success": True,
            "output": "rain",
        }
        sessions.events.create(session, events=[message("two"), result], idempotency_key="k-2")
        assert proxy.lost == 2
        with stack.enter_context(client_of(urls[0])).beta.agents.sessions.events.stream(session) as events:
            _until_idle(events)
        found = [item for item in sessions.items.list(session, order="asc") if item.type == "message"]
        said = [getattr(item.content[0], "text", None) for item in found if item.role == "user"]
        assert said == ["one", "two"]
        assert [turn.status for turn in sessions.turns.list(session)] == ["completed"]
