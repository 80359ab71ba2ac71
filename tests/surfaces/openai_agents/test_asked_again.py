"""Requests that are sent again under their key after a crash: what was done is not done again, and nobody is told it failed.

A crash leaves what was done and the record of the key without an answer (decision 22); so these tests take the answers out
of the records.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import msgspec
import openai
import pytest

from godwit.models.script import call, hold, say
from godwit.surfaces.server import ServerSettings
from godwit.surfaces.server.replies import KIND, Reply
from godwit.surfaces.server.settings import TenantLimits
from tests.surfaces.server.running import RunningServer

from .conftest import ANY, NONE, WEATHER, Start, client_of
from .test_events import CANCEL, message, until

MODEL: Any = {"model": "m"}
WITH_WEATHER: Any = {"model": "m", "tools": [WEATHER]}


def lose_answers(server: RunningServer) -> None:
    """As if the server had died just before it could keep the answers it has given."""

    async def lose() -> None:
        store = server.runtime.store
        for document in await store.documents(KIND, tenant=None, limit=100):
            record = msgspec.structs.replace(msgspec.json.decode(document.body, type=Reply), status=None, headers=())
            await store.put_documents([document.changed(msgspec.to_builtins(record))])

    server.call(lose)


def test_a_result_that_was_taken_is_taken_again(start: Start) -> None:
    server = start(call("weather", city="Rome"), say("Wet."))
    sessions = client_of(server).beta.agents.sessions
    session = sessions.create(agent=WITH_WEATHER, environment=NONE)
    with sessions.events.stream(session.id) as events:
        sessions.events.create(session.id, events=[message("Where?")])
        (action,) = until(events, "agent.session.requires_action")[-1].session.required_actions
        result: Any = {
            "type": "agent.session.input.tool_result",
            "call_id": action.call_id,
            "turn_id": action.turn_id,
            "success": True,
            "output": "rain",
        }
        sessions.events.create(session.id, events=[result], idempotency_key="k-1")
        until(events, "agent.session.idle")
    lose_answers(server)
    sessions.events.create(session.id, events=[result], idempotency_key="k-1")
    items = sessions.items.list(session.id)
    assert [item.type for item in items].count("function_call_output") == 1


def test_a_cancellation_that_is_sent_again_leaves_the_next_turn_alone(start: Start) -> None:
    never, reached, again = asyncio.Event(), asyncio.Event(), asyncio.Event()
    server = start(say("I ") + hold(never, reached=reached), say("And ") + hold(never, reached=again))
    sessions = client_of(server).beta.agents.sessions
    session = sessions.create(agent=MODEL, environment=NONE, input="Go")
    server.call(reached.wait)
    sent = [CANCEL, message("Something else.")]
    sessions.events.create(session.id, events=sent, idempotency_key="k-1")
    server.call(again.wait)
    lose_answers(server)
    sessions.events.create(session.id, events=sent, idempotency_key="k-1")
    assert [turn.status for turn in sessions.turns.list(session.id, order="asc")] == ["cancelled", "in_progress"]


def test_a_cancellation_alone_is_for_the_turn_that_was_open(start: Start) -> None:
    never, reached, again = asyncio.Event(), asyncio.Event(), asyncio.Event()
    server = start(say("I ") + hold(never, reached=reached), say("And ") + hold(never, reached=again))
    sessions = client_of(server).beta.agents.sessions
    session = sessions.create(agent=MODEL, environment=NONE, input="Go")
    server.call(reached.wait)
    sessions.events.create(session.id, events=[CANCEL], idempotency_key="k-1")
    sessions.events.create(session.id, events=[message("Something else.")])
    server.call(again.wait)
    lose_answers(server)
    sessions.events.create(session.id, events=[CANCEL], idempotency_key="k-1")
    assert [turn.status for turn in sessions.turns.list(session.id, order="asc")] == ["cancelled", "in_progress"]


def test_an_agent_is_made_once(start: Start) -> None:
    server = start()
    client = client_of(server)
    key = {"Idempotency-Key": "k-1"}
    made = client.beta.agents.create(model="m", name="One", extra_headers=key)
    lose_answers(server)
    assert client.beta.agents.create(model="m", name="One", extra_headers=key) == made
    assert [agent.id for agent in client.beta.agents.list()] == [made.id]


@pytest.mark.parametrize("stream", [False, True])
def test_a_session_is_made_and_told_once(start: Start, stream: bool) -> None:
    server = start(say("Hello."), say("Twice."))
    sessions = client_of(server).beta.agents.sessions
    given: Any = {"agent": MODEL, "environment": NONE, "input": "Hi", "extra_headers": {"Idempotency-Key": "k-1"}}
    made = []
    for _ in range(2):
        if stream:
            with sessions.create(**given, stream=True) as events:
                made.append([event.session.id for event in events if event.type.endswith("session.created")].pop())
        else:
            made.append(sessions.create(**given).id)
        lose_answers(server)
    assert len(set(made)) == 1
    with sessions.stream(made[0], input="And?") as events:
        events.until_done()
    assert len(list(sessions.turns.list(made[0]))) == 2


def test_the_run_of_what_is_sent_again_does_not_stand_in_its_way(start: Start) -> None:
    never, reached = asyncio.Event(), asyncio.Event()
    settings = ServerSettings(port=0, keys=True, tenant=TenantLimits(runs=1), models=ANY.models)
    server = start(say("I ") + hold(never, reached=reached), settings=settings)
    sessions = client_of(server, api_key=server.key).beta.agents.sessions
    given: Any = {"agent": MODEL, "environment": NONE, "input": "Hi"}
    key = {"Idempotency-Key": "k-1"}
    made = sessions.create(**given, extra_headers=key)
    server.call(reached.wait)
    with pytest.raises(openai.RateLimitError):
        sessions.create(**given)
    lose_answers(server)
    assert sessions.create(**given, extra_headers=key).id == made.id
    head = {"authorization": f"Bearer {server.key}", "idempotency-key": "k-2"}
    other = httpx2.post(f"{server.url}/godwit/v1/sessions/{made.id}/prompt", headers=head, json={"prompt": "Hi"})
    assert other.json()["error"]["code"] == "session_busy"
