"""Agents on the wire: bodies, and what an agent or a session's snapshot of one shows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
import pydantic

from ...contracts import EventStore
from ...core.agent import AgentRef, AgentSpec, base_of
from ...core.errors import NotSupported
from ...core.mcp import McpServer as Server, rule_of
from ...host.agent_registry import StoredAgent
from .query import moment, moment_or_none
from .shapes import Shape, metadata_of, patched
from .tool_shapes import BUILT_IN, TOOLSET, McpServer, Servers, Tools, shown_servers, shown_tools
from .web_shapes import limits_of

SURFACE = "managed_agents"
"""Of the extension in an agent's spec."""
NAME, SYSTEM, DESCRIPTION, SKILLS = 256, 100_000, 2048, 20

_encoder = msgspec.json.Encoder(order="deterministic")

Name = Annotated[str, pydantic.Field(min_length=1, max_length=NAME)]
System = Annotated[str, pydantic.Field(max_length=SYSTEM)]
Description = Annotated[str, pydantic.Field(max_length=DESCRIPTION)]
Level = Literal["low", "medium", "high", "xhigh", "max"]


class Effort(Shape):
    type: Level


class ModelConfig(Shape):
    id: Annotated[str, pydantic.Field(min_length=1, max_length=256)]
    effort: Level | Effort | None = None
    inference_geo: str | None = None
    speed: Literal["fast", "standard"] | None = None


Model = Annotated[str, pydantic.Field(min_length=1, max_length=256)] | ModelConfig


class Skill(Shape):
    type: Literal["anthropic", "custom"]
    skill_id: str
    version: str | None = None


Skills = Annotated[list[Skill], pydantic.Field(max_length=SKILLS)]


class Identity(Shape):
    type: Literal["service_account", "aws_role"]
    role_arn: str | None = None


class AgentCreate(Shape):
    name: Name
    model: Model
    description: Description | None = None
    system: System | None = None
    tools: Tools = pydantic.Field(default_factory=list)
    mcp_servers: Servers = pydantic.Field(default_factory=list)
    skills: Skills = pydantic.Field(default_factory=list)
    metadata: dict[str, str] = pydantic.Field(default_factory=dict)
    multiagent: dict[str, Any] | None = None
    execution_identity: Identity | None = None


class AgentUpdate(Shape):
    """What is left out stays; lists are replaced whole, null clears what can be cleared."""

    name: Name = ""
    model: Model = ""
    description: Description | None = None
    system: System | None = None
    tools: Tools | None = None
    mcp_servers: Servers | None = None
    skills: Skills | None = None
    metadata: dict[str, str | None] | None = None
    multiagent: dict[str, Any] | None = None
    execution_identity: Identity | None = None
    version: int | None = None


class Definition(msgspec.Struct, frozen=True):
    """What an agent or a session's snapshot says of itself, as it is shown: defaults are written out."""

    name: str
    model: dict[str, Any]
    description: str | None = None
    system: str | None = None
    tools: list[dict[str, Any]] = []
    mcp_servers: list[dict[str, Any]] = []
    metadata: dict[str, str] = {}

    def shown(self) -> dict[str, Any]:
        """The fields that an agent and a session's snapshot share."""
        return {
            "name": self.name,
            "model": self.model,
            "description": self.description,
            "system": self.system,
            "tools": self.tools,
            "mcp_servers": self.mcp_servers,
            "skills": [],
            "multiagent": None,
            "execution_identity": {"type": "service_account"},
        }


def created(given: AgentCreate) -> Definition:
    """The definition of a new agent. InvalidArgument, NotSupported."""
    check_absent(given.skills, given.multiagent, given.execution_identity)
    tools = shown_tools(given.tools)
    return Definition(
        given.name,
        shown_model(given.model),
        given.description or None,
        given.system or None,
        tools,
        shown_servers(given.mcp_servers, tools),
        metadata_of(given.metadata),
    )


def updated(old: Definition, given: AgentUpdate) -> Definition:
    """The definition with what was given changed. InvalidArgument, NotSupported."""
    check_absent(given.skills, given.multiagent, given.execution_identity)
    changes: dict[str, Any] = {}
    if given.has("name"):
        changes["name"] = given.name
    if given.has("model"):
        changes["model"] = shown_model(given.model)
    for name in ("description", "system"):
        if given.has(name):
            changes[name] = getattr(given, name) or None
    if given.has("metadata"):
        changes["metadata"] = patched(old.metadata, given.metadata) if given.metadata is not None else {}
    return with_tools(msgspec.structs.replace(old, **changes), given)


def with_tools(old: Definition, given: Any) -> Definition:
    """The definition with the `tools` and `mcp_servers` that a body gave."""
    if not given.has("tools") and not given.has("mcp_servers"):
        return old
    tools = shown_tools(given.tools or []) if given.has("tools") else old.tools
    servers: Any = given.mcp_servers or []
    if not given.has("mcp_servers"):
        servers = [McpServer(**one) for one in old.mcp_servers]
    return msgspec.structs.replace(old, tools=tools, mcp_servers=shown_servers(servers, tools))


def check_absent(skills: Sequence[Skill] | None, multiagent: object, identity: Identity | None) -> None:
    """NotSupported for what of an agent godwit does not have."""
    if skills:
        raise NotSupported("skills: godwit has no skills on this protocol; leave them out")
    if multiagent is not None:
        raise NotSupported("multiagent: godwit runs no threads of other agents on this protocol; leave it out")
    if identity is not None and identity.type != "service_account":
        raise NotSupported(f"execution_identity: godwit has no {identity.type}; leave it out")


def shown_model(given: str | ModelConfig) -> dict[str, Any]:
    """A model as an agent shows it. NotSupported for a place that it would have to run in."""
    if isinstance(given, str):
        return {"id": given, "speed": "standard", "effort": None}
    if given.inference_geo is not None:
        raise NotSupported("model.inference_geo: godwit does not choose where a provider runs a model; leave it out")
    effort = given.effort.type if isinstance(given.effort, Effort) else given.effort
    return {
        "id": given.id,
        "speed": given.speed or "standard",
        "effort": None if effort is None else {"type": effort},
    }


def told(spec: AgentSpec, definition: Definition) -> AgentSpec:
    """The spec with what of the definition it has no word for, and what of the spec that goes with."""
    kept = {"model": definition.model, "tools": definition.tools, "mcp_servers": definition.mcp_servers}
    extension = {**kept, "of": _mark(spec)}
    return msgspec.structs.replace(spec, extensions={**spec.extensions, SURFACE: extension})


def _mark(spec: AgentSpec) -> str:
    """Tells whether another surface has changed since what the agent works with."""
    works: list[Any] = [spec.models, spec.tools, spec.external_tools, spec.permissions, spec.settings]
    if spec.mcp_servers:
        works.append(spec.mcp_servers)
    if spec.web is not None:
        works.append(spec.web)
    return hashlib.sha256(_encoder.encode(works)).hexdigest()[:16]


def definition_of(agent: StoredAgent) -> Definition:
    """What an agent shows, also one that was made or changed elsewhere."""
    spec, kept = agent.spec, agent.extension(SURFACE)
    if kept is not None and kept["of"] != _mark(spec):
        kept = None
    common = (agent.title, spec.description or None, spec.instructions or None, dict(spec.metadata))
    if kept is not None:
        return Definition(common[0], kept["model"], common[1], common[2], kept["tools"], kept["mcp_servers"], common[3])
    tools: list[dict[str, Any]] = []
    named = _named_tools(spec)
    custom = [tool.name for tool in spec.external_tools]
    if named:
        tools.append(
            {
                "type": TOOLSET,
                "default_config": {"enabled": False, "permission_policy": {"type": "always_allow"}},
                "configs": [
                    {
                        "name": name,
                        "type": name,
                        "enabled": True,
                        "permission_policy": {"type": "always_allow"},
                        **limits_of(spec.web, name, custom),
                    }
                    for name in named
                ],
            }
        )
    for tool in spec.external_tools:
        schema = {**tool.parameters, "type": "object"}
        tools.append({"type": "custom", "name": tool.name, "description": tool.description, "input_schema": schema})
    servers = [{"type": "url", "name": server.name, "url": server.url} for server in spec.mcp_servers]
    tools += [_shown_server(spec, server) for server in spec.mcp_servers]
    return Definition(common[0], shown_model(spec.models[0]), common[1], common[2], tools, servers, common[3])


def _shown_server(spec: AgentSpec, server: Server) -> dict[str, Any]:
    """The toolset of a server of an agent that was made elsewhere."""
    asks = rule_of(server.name) in spec.permissions.ask or spec.permissions.default == "ask"
    policy = {"type": "always_ask" if asks else "always_allow"}
    named = {name: True for name in server.tools or ()} | dict.fromkeys(server.without, False)
    return {
        "type": "mcp_toolset",
        "mcp_server_name": server.name,
        "default_config": {"enabled": server.tools is None, "permission_policy": policy},
        "configs": [{"name": name, "enabled": on, "permission_policy": policy} for name, on in named.items()],
    }


_SETS = {"files": ("read", "write", "edit", "glob", "grep"), "web": ("web_fetch", "web_search")}


def _named_tools(spec: AgentSpec) -> list[str]:
    every = [one for name in spec.tools for one in _SETS.get(name, (name,))]
    return [name for name in BUILT_IN if name in every]


def shown_agent(agent: StoredAgent) -> dict[str, Any]:
    """An agent as it is answered."""
    definition = definition_of(agent)
    return {
        "type": "agent",
        "id": agent.id,
        "version": agent.version,
        **definition.shown(),
        "metadata": definition.metadata,
        "created_at": moment(agent.created_ms),
        "updated_at": moment(agent.updated_ms),
        "archived_at": moment_or_none(agent.archived_ms),
    }


def snapshot_of(agent: StoredAgent) -> dict[str, Any]:
    """An agent as a session shows it, resolved."""
    return {"type": "agent", "id": agent.id, "version": agent.version, **definition_of(agent).shown()}


async def resolved(store: EventStore, ref: AgentRef, *, tenant: str | None = None, made_ms: int = 0) -> StoredAgent:
    """The agent that a session works for: the version it varies, if it is a variant, as the variant has it. It may be gone
    from the registry, or never have been in it. AgentNotFound."""
    base = base_of(ref)
    _, spec = await store.get_agent(ref.name, ref.version)
    return StoredAgent(base.name, base.version, spec, tenant, base.version, made_ms, made_ms)
