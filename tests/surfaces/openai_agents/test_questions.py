"""Questions of calls through the official client: forms are functions of the application's, all else are approvals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from godwit.models.script import ScriptedModel
from godwit.surfaces.server import ServerSettings
from tests.surfaces.server.asking import ACCEPTED, FORM, MODEL, SCRIPT, URL, clerk
from tests.surfaces.server.running import RunningServer, running

from .conftest import client_of


class Asking:
    """A session of a clerk whose call asks, and what is sent to it."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self.sessions = client_of(server).beta.agents.sessions
        self.id = str(server.call(self._start))

    async def _start(self) -> str:
        return (await self.server.runtime.start_session(clerk())).id

    def send(self, event: Any, **options: Any) -> None:
        self.sessions.events.create(self.id, events=[event], **options)

    def say(self) -> None:
        said = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Go."}]}]
        self.send({"type": "agent.session.input.message", "input": said})

    def calls(self) -> list[Any]:
        items = self.sessions.items.list(self.id, order="asc")
        return [one for one in items if one.type in ("mcp_call", "function_call", "function_call_output")]


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Asking]:
    settings = ServerSettings(port=0, models={"*": MODEL})
    with running(tmp_path / "g.db", models={MODEL: ScriptedModel([*SCRIPT])}, settings=settings) as server:
        yield Asking(server)


def action_in(events: Any) -> Any:
    """The one action that the session waits for when it does so next."""
    for event in events:
        if event.type == "agent.session.requires_action":
            (action,) = event.session.required_actions
            return action
    raise AssertionError


def rest(events: Any) -> list[Any]:
    seen = []
    for event in events:
        seen.append(event)
        if event.type == "agent.session.idle":
            return seen
    raise AssertionError


def filled(action: Any, fields: Any = None, **more: Any) -> Any:
    given = {"success": True, "output": json.dumps(fields)} if fields is not None else {"success": False, **more}
    return {
        "type": "agent.session.input.tool_result",
        "call_id": action.call_id,
        "turn_id": action.turn_id,
        **given,
    }


def decided(action: Any, decision: str) -> Any:
    return {
        "type": "agent.session.input.mcp_approval_request_result",
        "request_id": action.request_id,
        "response": {"type": "mcp_tool_call", "decision": decision},
    }


def test_a_form_an_address_and_an_approval_are_answered_by_the_official_client(asking: Asking) -> None:
    with asking.sessions.events.stream(asking.id) as stream:
        events = iter(stream)
        asking.say()
        form = action_in(events)
        assert (form.type, form.name) == ("function_call", "godwit_question")
        assert form.arguments == {"tool": "order", "message": "Who is tea for?", "schema": FORM}
        assert asking.sessions.retrieve(asking.id).required_actions == [form]
        for wrong, why in (({}, "the form wants 'name'"), ({"name": "A"}, "1 characters"), ({"name": "Ada", "x": 1}, "'x'")):
            with pytest.raises(openai.BadRequestError, match=why) as refused:
                asking.send(filled(form, wrong))
            assert refused.value.param == "events.0.output"
        key = {"Idempotency-Key": "once"}
        asking.send(filled(form, {"name": "Ada"}), extra_headers=key)
        asking.send(filled(form, {"name": "Ada"}), extra_headers=key)
        with pytest.raises(openai.BadRequestError, match="Unknown pending tool call"):
            asking.send(filled(form, {"name": "Eve"}))
        address = action_in(events)
        assert (address.type, address.request.name) == ("mcp_approval_request", "godwit_question")
        assert address.request.message == f"order asks: Please log in. ({URL})"
        assert address.request.arguments["url"] == URL
        asking.send(decided(address, "approve"))
        leave = action_in(events)
        assert leave.request.arguments["arguments"] == {"prompt": "hm"}
        asking.send(decided(leave, "approve"))
        rest(events)
    call, question, output = asking.calls()
    assert (call.type, call.name, call.output) == ("mcp_call", "order", ACCEPTED)
    assert (question.type, question.name, question.status) == ("function_call", "godwit_question", "completed")
    assert (output.call_id, json.loads(output.output)) == (question.call_id, {"name": "Ada", "size": 3})


def test_declined_dismissed_and_shown_once(asking: Asking) -> None:
    with asking.sessions.events.stream(asking.id) as stream:
        events = iter(stream)
        asking.say()
        asking.send(filled(action_in(events), error="nobody's business"))
        asking.send(decided(action_in(events), "cancel"))
        asking.send(decided(action_in(events), "deny"))
        seen = rest(events)
    call, question, output = asking.calls()
    assert call.output == (
        "who decline None nobody's business; login cancel None the request was dismissed; leave decline None None"
    )
    assert (question.status, output.error) == ("failed", "nobody's business")
    done = [e.item.id for e in seen if e.type == "agent.session.turn.item.done"]
    assert done.count(call.id) == 1


def test_what_is_cancelled_has_its_result(asking: Asking) -> None:
    with asking.sessions.events.stream(asking.id) as stream:
        events = iter(stream)
        asking.say()
        action_in(events)
        asking.send({"type": "agent.session.input.cancel"})
        rest(events)
    by_kind = {one.type: one for one in asking.calls()}
    assert by_kind["function_call"].status == "incomplete"
    assert by_kind["function_call_output"].error == "[not answered: interrupted]"
