"""Who asks, and what they may: keys with scopes, and a tenant that sees its own alone."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from godwit.host.api_keys import ApiKeys
from godwit.models.script import call, say
from godwit.surfaces.server import ServerSettings
from tests.surfaces.server.running import RunningServer

from .conftest import ANY, NONE, WEATHER, Start, client_of

KEYED = ServerSettings(port=0, keys=True, models=ANY.models)


def key_of(server: RunningServer, *scopes: str, tenant: str | None = None, principal: str = "some") -> str:
    async def make() -> str:
        runtime = server.runtime
        keys = ApiKeys(runtime.store, runtime.clock, runtime.ids)
        return (await keys.create(principal, tenant=tenant, scopes=scopes))[0]

    return server.call(make)


def message(said: str) -> Any:
    return {
        "type": "agent.session.input.message",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": said}]}],
    }


def test_without_a_key_nobody_is_let_in(start: Start) -> None:
    server = start(settings=KEYED)
    with pytest.raises(openai.AuthenticationError) as refused:
        client_of(server).beta.agents.list()
    assert refused.value.type == "authentication_error"


def test_a_key_for_answers_answers_and_no_more(start: Start) -> None:
    server = start(call("weather", city="Rome"), say("Wet."), settings=KEYED)
    operator = client_of(server, api_key=key_of(server, "operate")).beta.agents
    helper = client_of(server, api_key=key_of(server, "answer")).beta.agents
    reader = client_of(server, api_key=key_of(server, "read")).beta.agents
    session = operator.sessions.create(agent={"model": "m", "tools": [WEATHER]}, environment=NONE, input="Rome?").id
    with helper.sessions.events.stream(session) as events:
        required = next(e for e in events if e.type == "agent.session.requires_action").session.required_actions[0]
        assert required.type == "function_call"
        result: Any = {
            "type": "agent.session.input.tool_result",
            "call_id": required.call_id,
            "turn_id": required.turn_id,
            "success": True,
            "output": "rain",
        }
        cancel: Any = {"type": "agent.session.input.cancel"}
        refused: list[Any] = [
            lambda: helper.sessions.events.create(session, events=[message("hi")]),
            lambda: helper.sessions.events.create(session, events=[result, message("hi")]),
            lambda: helper.sessions.events.create(session, events=[cancel]),
            lambda: reader.sessions.events.create(session, events=[result]),
            lambda: helper.sessions.delete(session),
            lambda: helper.create(model="m"),
            lambda: reader.sessions.update(session, metadata={}),
        ]
        for one in refused:
            with pytest.raises(openai.PermissionDeniedError):
                one()
        helper.sessions.events.create(session, events=[result])
        for event in events:
            if event.type == "agent.session.turn.completed":
                break
    assert reader.sessions.retrieve(session).status in ("idle", "in_progress")


def test_a_tenant_sees_its_own_alone(start: Start) -> None:
    server = start("Hello.", settings=KEYED)
    one = client_of(server, api_key=key_of(server, "operate", tenant="one")).beta.agents
    two = client_of(server, api_key=key_of(server, "operate", tenant="two")).beta.agents
    agent = one.create(model="m", name="secret").id
    session = one.sessions.create(agent_id=agent, environment=NONE, input="hi", metadata={"k": "v"}).id
    turn = one.sessions.turns.list(session).data[0].id
    assert (two.list().data, two.sessions.list().data, two.sessions.list(metadata={"k": "v"}).data) == ([], [], [])
    assert two.sessions.list(agent_id=agent).data == []
    absent: list[Any] = [
        lambda: two.retrieve(agent),
        lambda: two.update(agent, name="stolen"),
        lambda: two.delete(agent),
        lambda: two.list(after=agent),
        lambda: two.sessions.create(agent_id=agent, environment=NONE),
        lambda: two.sessions.retrieve(session),
        lambda: two.sessions.update(session, metadata={}),
        lambda: two.sessions.delete(session),
        lambda: two.sessions.list(after=session),
        lambda: two.sessions.events.create(session, events=[message("hi")]),
        lambda: two.sessions.events.stream(session),
        lambda: two.sessions.items.list(session),
        lambda: two.sessions.turns.list(session),
        lambda: two.sessions.turns.retrieve(turn, session_id=session),
        lambda: two.sessions.turns.items.list(turn, session_id=session),
        lambda: two.sessions.artifacts.list(session),
        lambda: two.sessions.subagents.list(session),
    ]
    for one_call in absent:
        with pytest.raises(openai.NotFoundError):
            one_call()
    assert one.retrieve(agent).name == "secret"


def test_a_caller_who_is_called_as_one_of_the_engines_own_messages_is_heard_as_any(start: Start) -> None:
    server = start(say("Hello."), settings=KEYED)
    for name in ("nudge", "hook h", "task t"):
        agents = client_of(server, api_key=key_of(server, "operate", principal=name)).beta.agents
        session = agents.sessions.create(agent={"model": "m"}, environment=NONE).id
        with agents.sessions.events.stream(session) as events:
            agents.sessions.events.create(session, events=[message("Who am I?")])
            for event in events:
                if event.type == "agent.session.turn.completed":
                    break
        items = [item.to_dict() for item in agents.sessions.items.list(session, order="asc")]
        assert [(i["type"], i["role"]) for i in items] == [("message", "user"), ("message", "assistant")], (name, items)
