"""Questions of calls through the official client: forms are functions of the client's, all else is confirmed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest

from godwit.models.script import ScriptedModel
from godwit.surfaces.server import ServerSettings
from tests.surfaces.server.asking import ACCEPTED, FORM, MODEL, SCRIPT, URL, clerk
from tests.surfaces.server.running import RunningServer, running

from .conftest import client_of
from .talk import Listener, kinds
from .test_tool_runner import look, run


class Asking:
    """A session of a clerk whose call asks, and what is sent to it."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self.client = client_of(server)
        self.id = str(server.call(self._start))

    async def _start(self) -> str:
        return (await self.server.runtime.start_session(clerk())).id

    def send(self, event: Any) -> Any:
        return self.client.beta.sessions.events.send(self.id, events=[event])

    def say(self) -> None:
        self.send({"type": "user.message", "content": [{"type": "text", "text": "Go."}]})

    def list(self) -> list[Any]:
        return [*self.client.beta.sessions.events.list(self.id)]


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Asking]:
    settings = ServerSettings(port=0, models={"*": MODEL})
    with running(tmp_path / "g.db", models={MODEL: ScriptedModel([*SCRIPT])}, settings=settings) as server:
        made = Asking(server)
        with made.client:
            yield made


def waits_for(idle: Any) -> str:
    assert idle.stop_reason.type == "requires_action"
    (id_,) = idle.stop_reason.event_ids
    return str(id_)


def filled(id_: str, fields: Any, **more: Any) -> Any:
    text = fields if isinstance(fields, str) else json.dumps(fields)
    content = [{"type": "text", "text": text}]
    return {"type": "user.custom_tool_result", "custom_tool_use_id": id_, "content": content, **more}


def confirmed(id_: str, result: str = "allow", **more: Any) -> Any:
    return {"type": "user.tool_confirmation", "tool_use_id": id_, "result": result, **more}


def test_a_form_an_address_and_an_approval_are_answered_by_the_official_client(asking: Asking) -> None:
    with Listener(asking.server, asking.id) as heard:
        asking.say()
        form = waits_for(heard.idle())
        use = heard.some("agent.custom_tool_use")
        assert (use.id, use.name) == (form, "godwit_question")
        assert use.input == {"tool": "order", "message": "Who is tea for?", "schema": FORM}
        for wrong, why in (
            (filled(form, {}), "the form wants 'name'"),
            (filled(form, {"name": "A"}), "'name': it has 1 characters"),
            (filled(form, {"name": "Ada", "age": 3}), "no field 'age'"),
            (confirmed(form), r"send user.custom_tool_result with a JSON object of its fields \(name at least\)"),
            ({"type": "user.tool_result", "tool_use_id": form}, "send user.custom_tool_result"),
        ):
            with pytest.raises(anthropic.BadRequestError, match=why):
                asking.send(wrong)
        asking.send(filled(form, {"name": "Ada"}))
        with pytest.raises(anthropic.BadRequestError, match="no answer any more"):
            asking.send(filled(form, {"name": "Eve"}))
        address = waits_for(heard.idle(2))
        use = heard.until(lambda all_: [e for e in all_ if e.id == address])[0]
        assert (use.type, use.evaluated_permission) == ("agent.tool_use", "ask")
        assert use.input == {"tool": "order", "message": "Please log in.", "url": URL}
        with pytest.raises(anthropic.BadRequestError, match=r"send user\.tool_confirmation"):
            asking.send(filled(address, "done"))
        asking.send(confirmed(address))
        leave = waits_for(heard.idle(3))
        use = heard.until(lambda all_: [e for e in all_ if e.id == leave])[0]
        assert use.input["arguments"] == {"prompt": "hm"}
        asking.send(confirmed(leave))
        assert heard.idle(4).stop_reason.type == "end_turn"
        heard_all = [e for e in heard.heard if e.id]
    listed = asking.list()
    assert [(e.id, e.type) for e in listed] == [(e.id, e.type) for e in heard_all]
    calls = [e for e in listed if e.type == "agent.tool_use" and e.name == "order"]
    assert len(calls) == 1, "a call that goes on is shown once"
    results = {e.tool_use_id: e for e in listed if e.type == "agent.tool_result"}
    assert results[calls[0].id].content[0].text == ACCEPTED
    assert not results[address].is_error
    (own,) = (e for e in listed if e.type == "user.custom_tool_result")
    assert (own.custom_tool_use_id, own.is_error, json.loads(own.content[0].text)) == (form, False, {"name": "Ada"})


def test_declined_and_interrupted(asking: Asking) -> None:
    with Listener(asking.server, asking.id) as heard:
        asking.say()
        asking.send(filled(waits_for(heard.idle()), "no", is_error=True))
        asking.send(confirmed(waits_for(heard.idle(2)), "deny", deny_message="not there"))
        asking.send(confirmed(waits_for(heard.idle(3)), "deny"))
        heard.idle(4)
    listed = asking.list()
    (use,) = (e for e in listed if e.type == "agent.tool_use" and e.name == "order")
    (result,) = (e for e in listed if e.type == "agent.tool_result" and e.tool_use_id == use.id)
    assert result.content[0].text == "who decline None no; login decline None not there; leave decline None None"


def test_what_is_interrupted_has_its_result(asking: Asking) -> None:
    with Listener(asking.server, asking.id) as heard:
        asking.say()
        form = waits_for(heard.idle())
        asking.send({"type": "user.interrupt"})
        assert heard.idle(2).stop_reason.type == "end_turn"
    (own,) = (e for e in asking.list() if e.type == "user.custom_tool_result")
    assert (own.custom_tool_use_id, own.is_error) == (form, True)
    assert "agent.tool_result" in kinds(asking.list())


async def test_the_official_runner_leaves_a_question_to_who_can_answer_it(asking: Asking) -> None:
    running_ = asyncio.ensure_future(run(asking.server, asking.id, look, sends=[]))

    def answer() -> None:
        with Listener(asking.server, asking.id) as heard:
            asking.say()
            asking.send(filled(waits_for(heard.idle()), {"name": "Ada"}))
            asking.send(confirmed(waits_for(heard.idle(2))))
            asking.send(confirmed(waits_for(heard.idle(3))))
            heard.idle(4)

    await asyncio.to_thread(answer)
    done = await running_
    assert not [one for one in done if one.posted]
