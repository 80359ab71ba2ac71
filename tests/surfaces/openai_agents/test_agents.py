"""Reusable agents, with the official client in its strictest mode."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from godwit.core.agent import AgentSpec, ToolDefinition
from godwit.core.ids import AgentName
from godwit.host.agent_registry import AgentRegistry
from tests.surfaces.server.running import RunningServer

from .conftest import WEATHER, Shared


def test_an_agent_is_made_read_changed_listed_and_deleted(client: openai.OpenAI) -> None:
    agents = client.beta.agents
    made = agents.create(
        model="gpt-6-astra",
        name="Forecaster",
        instructions="Be brief.",
        metadata={"team": "sky"},
        reasoning={"effort": "max", "summary": "auto"},
        service_tier="flex",
        text={"verbosity": "low"},
        tools=[WEATHER, {"type": "programmatic_tool_calling", "enabled": False}],
    )
    assert (made.object, made.name, made.model, made.metadata) == ("agent", "Forecaster", "gpt-6-astra", {"team": "sky"})
    assert (made.reasoning.effort, made.reasoning.summary) == ("max", "auto")
    assert (made.service_tier, made.text.verbosity, made.multi_agent.enabled) == ("flex", "low", False)
    assert [tool.type for tool in made.tools] == ["function", "programmatic_tool_calling"]
    assert agents.retrieve(made.id) == made

    changed = agents.update(made.id, instructions=None, reasoning=None, tools=None, metadata={}, service_tier=None)
    assert (changed.instructions, changed.tools, changed.metadata) == (None, [], {})
    assert (changed.reasoning.effort, changed.reasoning.summary, changed.service_tier) == (None, None, "auto")
    assert (changed.name, changed.model, changed.text.verbosity) == ("Forecaster", "gpt-6-astra", "low")
    assert changed.created_at == made.created_at

    deleted = agents.delete(made.id)
    assert (deleted.id, deleted.deleted, deleted.object) == (made.id, True, "agent.deleted")
    for call in (agents.retrieve, agents.delete):
        with pytest.raises(openai.NotFoundError):
            call(made.id)


def test_agents_are_listed_in_pages_both_ways(client: openai.OpenAI) -> None:
    made = [client.beta.agents.create(model="m", name=f"agent {n}").id for n in range(5)]
    assert [agent.id for agent in client.beta.agents.list(limit=2)] == made[::-1]
    assert [agent.id for agent in client.beta.agents.list(limit=2, order="asc")] == made
    first = client.beta.agents.list(limit=2, order="asc")
    assert first.has_more
    assert [agent.id for agent in client.beta.agents.list(after=made[3], order="asc")] == made[4:]
    with pytest.raises(openai.NotFoundError):
        client.beta.agents.list(after="agent_none")


async def test_the_asynchronous_client_does_the_same(async_client: openai.AsyncOpenAI) -> None:
    made = await async_client.beta.agents.create(model="m", tools=[WEATHER])
    assert made.name is None
    assert [agent.id async for agent in async_client.beta.agents.list()] == [made.id]


def test_an_agent_that_was_made_elsewhere_is_shown_as_it_is(client: openai.OpenAI, server: RunningServer) -> None:
    async def make() -> str:
        runtime = server.runtime
        spec = AgentSpec(
            AgentName("new"),
            ("scripted:any",),
            instructions="Be kind.",
            tools=("bash", "files"),
            external_tools=(ToolDefinition("ask", "Ask.", {"type": "object", "properties": {}}),),
            title="Elsewhere",
        )
        registry = AgentRegistry(runtime.store, ids=runtime.ids, clock=runtime.clock)
        return (await registry.create(spec, tenant=None)).id

    agent = client.beta.agents.retrieve(server.call(make))
    assert (agent.name, agent.model, agent.instructions) == ("Elsewhere", "scripted:any", "Be kind.")
    assert [(tool.type, getattr(tool, "name", None)) for tool in agent.tools] == [("function", "ask")]
    changed = client.beta.agents.update(agent.id, tools=[WEATHER], model="gpt-6-astra")
    assert ([getattr(tool, "name", None) for tool in changed.tools], changed.model) == (["weather"], "gpt-6-astra")


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"model": ""}, "model"),
        ({"model": "m", "name": "n" * 300}, "name"),
        ({"model": "m", "metadata": {"k" * 65: "v"}}, "metadata"),
        ({"model": "m", "metadata": {"k": "v" * 513}}, "metadata"),
        ({"model": "m", "metadata": {str(n): "v" for n in range(17)}}, "metadata"),
        ({"model": "m", "tools": [WEATHER, WEATHER]}, "tools"),
        ({"model": "m", "tools": [{**WEATHER, "name": "no spaces"}]}, "tools.0.function.name"),
        ({"model": "m", "tools": [{**WEATHER, "parameters": {}}]}, "tools.0"),
        ({"model": "m", "unheard": 1}, "unheard"),
        ({"model": 1}, "model"),
    ],
)
def test_what_cannot_be_is_refused_by_name(shared: Shared, given: dict[str, object], param: str) -> None:
    client = shared.client
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/agents", body=given, cast_to=object, options={"headers": {"OpenAI-Beta": "agents=v1"}})
    assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")
    assert client.beta.agents.list().data == []


@pytest.mark.parametrize(
    "given",
    [
        {"tools": [{"type": "tool_search"}]},
        {"tools": [{"type": "computer_use"}]},
        {"tools": [{"type": "automations"}]},
        {"tools": [{"type": "web_search", "mode": "cached"}]},
        {"tools": [{**WEATHER, "defer_loading": True}]},
        {"tools": [{**WEATHER, "async": True}]},
        {"multi_agent": {"enabled": True}},
        {"service_tier": "ultrafast"},
        {"compaction": {"async": True}},
        {"experimental": {"time_awareness": True}},
    ],
)
def test_what_godwit_does_not_have_says_so(shared: Shared, given: dict[str, object]) -> None:
    client = shared.client
    with pytest.raises(openai.InternalServerError) as caught:
        client.beta.agents.create(model="m", extra_body=given)
    assert (caught.value.status_code, caught.value.code, caught.value.type) == (501, "not_supported", "not_supported_error")
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert client.beta.agents.list().data == []


def test_answers_in_a_form(shared: Shared) -> None:
    client = shared.client
    form = {"type": "json_schema", "schema": {"type": "object", "properties": {"n": {"type": "integer"}}}}
    made = client.beta.agents.create(model="m", extra_body={"text": {"format": form}})
    read = client.get(f"/agents/{made.id}", cast_to=dict[str, Any], options={"headers": {"OpenAI-Beta": "agents=v1"}})
    assert read["text"]["format"] == form
    with pytest.raises(openai.BadRequestError, match="schema"):
        client.beta.agents.create(model="m", extra_body={"text": {"format": {"type": "json_schema"}}})
    with pytest.raises(openai.BadRequestError, match="nonsense"):
        client.beta.agents.create(model="m", extra_body={"text": {"format": {**form, "schema": {"type": "nonsense"}}}})


def test_another_version_of_the_protocol_is_refused_in_its_words(shared: Shared) -> None:
    with pytest.raises(openai.InternalServerError, match="agents=v1 is") as caught:
        shared.client.get("/agents", cast_to=object, options={"headers": {"OpenAI-Beta": "agents=v2"}})
    assert (caught.value.status_code, caught.value.code) == (501, "not_supported")
    both = {"OpenAI-Beta": "assistants=v2, agents=v1"}
    assert shared.client.get("/agents", cast_to=object, options={"headers": both}) is not None
