"""Agents, as the official client makes, changes and lists them."""

from __future__ import annotations

from typing import Any

import anthropic
import msgspec
import pytest

from godwit.host.agent_registry import AgentRegistry
from godwit.surfaces.server import ServerSettings
from tests.surfaces.server.running import RunningServer

from .conftest import Start, client_of

TOOLSET = "agent_toolset_20260401"
ASK = {"type": "always_ask"}


def custom(name: str) -> dict[str, Any]:
    return {"type": "custom", "name": name, "description": "", "input_schema": {"type": "object"}}


async def test_an_agent_shows_all_its_defaults(async_client: anthropic.AsyncAnthropic) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools: Any = [
        {"type": TOOLSET, "configs": [{"name": "bash", "permission_policy": ASK}]},
        {"type": "custom", "name": "weather", "description": "Of a city.", "input_schema": schema},
    ]
    made = await async_client.beta.agents.create(name="Bird", model="claude-opus-5", tools=tools)
    assert made.to_dict(mode="json") | {"id": "", "created_at": "", "updated_at": ""} == {
        "id": "",
        "type": "agent",
        "version": 1,
        "name": "Bird",
        "model": {"id": "claude-opus-5", "speed": "standard", "effort": None},
        "description": None,
        "system": None,
        "tools": [
            {
                "type": TOOLSET,
                "default_config": {"enabled": True, "permission_policy": {"type": "always_allow"}},
                "configs": [{"name": "bash", "type": "bash", "enabled": True, "permission_policy": ASK}],
            },
            {"type": "custom", "name": "weather", "description": "Of a city.", "input_schema": schema},
        ],
        "mcp_servers": [],
        "skills": [],
        "multiagent": None,
        "execution_identity": {"type": "service_account"},
        "metadata": {},
        "created_at": "",
        "updated_at": "",
        "archived_at": None,
    }
    assert made.id.startswith("agent_")
    assert await async_client.beta.agents.retrieve(made.id) == made


def test_a_change_is_a_version_and_the_old_one_stays(client: anthropic.Anthropic) -> None:
    agents = client.beta.agents
    first = agents.create(
        name="Bird", model={"id": "m", "effort": "high", "speed": "fast"}, system="Fly.", metadata={"a": "1", "b": "2"}
    )
    assert first.model.effort is not None
    assert (first.model.effort.type, first.model.speed) == ("high", "fast")
    assert agents.update(first.id, name="Bird", version=1) == first
    second = agents.update(first.id, version=1, metadata={"a": None, "c": "3"}, system=None, description="d")
    assert (second.version, second.metadata, second.system, second.description) == (2, {"b": "2", "c": "3"}, None, "d")
    assert second.updated_at >= first.updated_at
    assert agents.retrieve(first.id, version=1) == first
    assert agents.retrieve(first.id) == second
    tools: Any = [custom("x")]
    third = agents.update(first.id, tools=tools)
    assert agents.update(first.id, tools=None).tools == []
    assert [one.version for one in agents.versions.list(first.id, limit=2)] == [4, 3, 2, 1]
    assert agents.retrieve(first.id, version=3) == third


def test_a_stale_version_is_refused_for_good(client: anthropic.Anthropic) -> None:
    made = client.beta.agents.create(name="Bird", model="m")
    client.beta.agents.update(made.id, name="Other", version=1)
    with pytest.raises(anthropic.ConflictError) as refused:
        client.beta.agents.update(made.id, name="Third", version=1)
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert refused.value.type == "invalid_request_error"


def test_an_archived_agent_is_listed_only_when_asked_for(client: anthropic.Anthropic) -> None:
    agents = client.beta.agents
    one, two = agents.create(name="One", model="m"), agents.create(name="Two", model="m")
    archived = agents.archive(one.id)
    assert archived.archived_at is not None
    assert agents.archive(one.id) == archived
    assert [a.id for a in agents.list()] == [two.id]
    assert {a.id for a in agents.list(include_archived=True)} == {one.id, two.id}
    assert two.id in [a.id for a in agents.list(created_at_gte=two.created_at, limit=1, include_archived=True)]
    assert list(agents.list(created_at_lte="2001-01-01T00:00:00Z")) == []
    with pytest.raises(anthropic.BadRequestError, match="archived"):
        agents.update(one.id, name="Three")


def test_mcp_servers_and_their_toolsets_belong_together(client: anthropic.Anthropic) -> None:
    server: Any = {"type": "url", "name": "docs", "url": "https://example.org/mcp"}
    toolset: Any = {"type": "mcp_toolset", "mcp_server_name": "docs"}
    made = client.beta.agents.create(name="Bird", model="m", tools=[toolset], mcp_servers=[server])
    shown: Any = made.to_dict(mode="json")
    assert shown["tools"][0]["default_config"] == {"enabled": True, "permission_policy": ASK}
    assert shown["mcp_servers"] == [server]
    wrong: Any = ({"tools": [toolset]}, {"mcp_servers": [server]}, {"tools": [toolset] * 2, "mcp_servers": [server]})
    for options in wrong:
        with pytest.raises(anthropic.BadRequestError):
            client.beta.agents.create(name="Bird", model="m", **options)
    with pytest.raises(anthropic.BadRequestError):
        client.beta.agents.update(made.id, tools=[])
    assert client.beta.agents.update(made.id, tools=[], mcp_servers=[]).mcp_servers == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 257}, "name"),
        ({"model": ""}, "model"),
        ({"model": {"id": "m", "effort": "huge"}}, "model.effort: "),
        ({"system": "x" * 100_001}, "system"),
        ({"description": "x" * 2049}, "description"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"metadata": {"x" * 65: ""}}, "metadata"),
        ({"metadata": {"x": "y" * 513}}, "metadata"),
        ({"metadata": {"x": 1}}, "metadata"),
        ({"tools": [custom(f"t{n}") for n in range(257)]}, "tools"),
        ({"tools": [custom("x"), custom("x")]}, "twice"),
        ({"tools": [custom("bad name")]}, "tools.0.name: "),
        ({"tools": [custom("x" * 129)]}, "tools.0.name: "),
        ({"tools": [{"type": TOOLSET}, {"type": TOOLSET}]}, "twice"),
        ({"tools": [{"type": TOOLSET}, custom("bash")]}, "bash"),
        ({"tools": [{"type": TOOLSET, "configs": [{"name": "fly"}]}]}, "tools.0.configs.0.name: "),
        ({"tools": [{"type": "other"}]}, "tools.0"),
        ({"tools": [{**custom("x"), "input_schema": {"type": "array"}}]}, "input_schema"),
        ({"tools": [{**custom("x"), "input_schema": {"type": "object", "properties": {"a": {"type": "bird"}}}}]}, "bird"),
        ({"mcp_servers": [{"type": "url", "name": str(n), "url": "https://x"} for n in range(21)]}, "mcp_servers"),
        ({"extra_body": {"surprise": 1}}, "surprise"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    shared_client: anthropic.Anthropic, options: dict[str, Any], words: str
) -> None:
    given: dict[str, Any] = {"name": "Bird", "model": "m", **options}
    with pytest.raises(anthropic.BadRequestError) as refused:
        shared_client.beta.agents.create(**given)
    assert refused.value.type == "invalid_request_error"
    assert words in str(refused.value.body)
    assert list(shared_client.beta.agents.list()) == []


@pytest.mark.parametrize(
    "options",
    [
        {"skills": [{"type": "anthropic", "skill_id": "pdf"}]},
        {"multiagent": {"type": "coordinator", "agents": []}},
        {"execution_identity": {"type": "aws_role", "role_arn": "arn"}},
        {"model": {"id": "m", "inference_geo": "eu"}},
        {"tools": [{"type": TOOLSET, "default_config": {"permission_policy": {"type": "auto"}}}]},
    ],
)
def test_what_godwit_does_not_have_is_said(shared_client: anthropic.Anthropic, options: dict[str, Any]) -> None:
    given: dict[str, Any] = {"name": "Bird", "model": "m", **options}
    with pytest.raises(anthropic.APIStatusError) as refused:
        shared_client.beta.agents.create(**given)
    assert refused.value.status_code == 501
    assert refused.value.response.headers["x-should-retry"] == "false"


def test_a_name_or_a_model_cannot_be_cleared(client: anthropic.Anthropic) -> None:
    made = client.beta.agents.create(name="Bird", model="m")
    for field in ("name", "model"):
        with pytest.raises(anthropic.BadRequestError, match=field):
            client.beta.agents.update(made.id, extra_body={field: None})


def test_a_model_that_nobody_answers_for_is_refused(start: Start) -> None:
    with client_of(start(settings=ServerSettings(port=0))) as client:
        with pytest.raises(anthropic.BadRequestError, match="model"):
            client.beta.agents.create(name="Bird", model="nobody")
        assert client.beta.agents.create(name="Bird", model="scripted:any").model.id == "scripted:any"


def test_the_longest_name_of_a_tool(client: anthropic.Anthropic) -> None:
    tools: Any = [custom("x" * 128)]
    assert client.beta.agents.create(name="Bird", model="m", tools=tools).tools[0].type == "custom"


def test_an_agent_that_is_not_there(client: anthropic.Anthropic) -> None:
    agents = client.beta.agents
    made = agents.create(name="Bird", model="m")
    for ask in (
        lambda: agents.retrieve("agent_none"),
        lambda: agents.retrieve(made.id, version=2),
        lambda: agents.update("agent_none", name="x"),
        lambda: agents.archive("agent_none"),
        lambda: agents.versions.list("agent_none"),
    ):
        with pytest.raises(anthropic.NotFoundError) as refused:
            ask()
        assert refused.value.type == "not_found_error"


def test_what_another_protocol_changes_is_shown(server: RunningServer, client: anthropic.Anthropic) -> None:
    tools: Any = [{"type": TOOLSET, "configs": [{"name": "bash", "permission_policy": ASK}]}]
    made = client.beta.agents.create(name="Bird", model={"id": "m", "speed": "fast"}, tools=tools)

    def update(**changes: Any) -> None:
        registry = AgentRegistry(server.runtime.store)
        change: Any = lambda spec: msgspec.structs.replace(spec, **changes)  # noqa: E731
        server.call(lambda: registry.update(made.id, change, tenant=None))

    update(instructions="Rest.")
    told = client.beta.agents.retrieve(made.id)
    assert (told.version, told.system, told.tools, told.model) == (2, "Rest.", made.tools, made.model)
    update(models=("other:model",), tools=("read",), external_tools=())
    told = client.beta.agents.retrieve(made.id)
    toolset: Any = told.tools[0]
    assert (told.model.id, [one.name for one in toolset.configs]) == ("other:model", ["read"])
