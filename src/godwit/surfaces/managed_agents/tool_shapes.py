"""The tools of an agent on the wire: as they are sent, and as they are shown, with every default written out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

import pydantic

from ...core.errors import InvalidArgument, NotSupported
from ...core.web import WebPolicy
from .shapes import Shape
from .web_shapes import WebConfig, policy_of, shown_limits

BuiltIn = Literal["bash", "edit", "read", "write", "glob", "grep", "web_fetch", "web_search"]
BUILT_IN: tuple[BuiltIn, ...] = get_args(BuiltIn)
TOOLSET = "agent_toolset_20260401"
TOOLS, SERVERS = 256, 20
"""How many an agent may have."""


class Policy(Shape):
    type: Literal["always_allow", "always_ask", "auto"]


class DefaultConfig(Shape):
    enabled: bool | None = None
    permission_policy: Policy | None = None


class BuiltInConfig(DefaultConfig, WebConfig):
    name: BuiltIn
    type: BuiltIn | None = None


class Toolset(Shape):
    type: Literal["agent_toolset_20260401"]
    configs: list[BuiltInConfig] = pydantic.Field(default_factory=list)
    default_config: DefaultConfig | None = None


class McpConfig(DefaultConfig):
    name: Annotated[str, pydantic.Field(min_length=1, max_length=256)]


class McpToolset(Shape):
    type: Literal["mcp_toolset"]
    mcp_server_name: str
    configs: list[McpConfig] = pydantic.Field(default_factory=list)
    default_config: DefaultConfig | None = None


class InputSchema(pydantic.BaseModel):
    """A JSON schema of type object; what else it says is kept as it is."""

    model_config = pydantic.ConfigDict(extra="allow", strict=True)

    type: Literal["object"]
    properties: dict[str, Any] | None = None
    required: list[str] | None = None


class CustomTool(Shape):
    type: Literal["custom"]
    name: Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
    description: str
    input_schema: InputSchema


ToolShape = Annotated[Toolset | McpToolset | CustomTool, pydantic.Field(discriminator="type")]


class McpServer(Shape):
    type: Literal["url"]
    name: Annotated[str, pydantic.Field(min_length=1, max_length=255)]
    url: Annotated[str, pydantic.Field(pattern=r"^https?://\S+$", max_length=2048)]


Tools = Annotated[list[ToolShape], pydantic.Field(max_length=TOOLS)]
Servers = Annotated[list[McpServer], pydantic.Field(max_length=SERVERS)]


def shown_tools(tools: Sequence[Toolset | McpToolset | CustomTool]) -> list[dict[str, Any]]:
    """The tools as an agent shows them. InvalidArgument for two of one name, NotSupported for what godwit does not do."""
    made: list[dict[str, Any]] = []
    names: list[str] = []
    for number, tool in enumerate(tools):
        match tool:
            case Toolset():
                custom = [one.name for one in tools if isinstance(one, CustomTool)]
                made.append(_shown_toolset(tool, custom, f"tools.{number}"))
                names.append(TOOLSET)
            case McpToolset():
                default = _config(tool.default_config, True, "always_ask", f"tools.{number}.default_config")
                configs = [
                    {"name": one.name, **_config(one, default["enabled"], default["permission_policy"]["type"], "tools")}
                    for one in tool.configs
                ]
                _once([one.name for one in tool.configs], f"tools.{number}.configs")
                made.append(
                    {
                        "type": "mcp_toolset",
                        "mcp_server_name": tool.mcp_server_name,
                        "default_config": default,
                        "configs": configs,
                    }
                )
                names.append(f"the MCP toolset of {tool.mcp_server_name}")
            case CustomTool():
                schema = tool.input_schema.model_dump(exclude_unset=True)
                made.append({"type": "custom", "name": tool.name, "description": tool.description, "input_schema": schema})
                names.append(tool.name)
    _once(names, "tools")
    enabled = built_in(made)
    for name in names:
        if name in enabled:
            raise InvalidArgument(
                f"tools: {name!r} is a custom tool and one of {TOOLSET}: disable that one, or rename yours"
            )
    return made


def shown_servers(servers: Sequence[McpServer], tools: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The servers as an agent shows them. InvalidArgument unless each is what just one toolset names."""
    names = [server.name for server in servers]
    _once(names, "mcp_servers")
    used = [tool["mcp_server_name"] for tool in tools if tool["type"] == "mcp_toolset"]
    for name in names:
        if name not in used:
            raise InvalidArgument(f"mcp_servers: no mcp_toolset names {name!r}: add one to tools, or leave the server out")
    for name in used:
        if name not in names:
            raise InvalidArgument(f"tools: the mcp_toolset names {name!r}, which is none of mcp_servers")
    return [{"type": "url", "name": server.name, "url": server.url} for server in servers]


def built_in(tools: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Of shown tools the built-in ones that are enabled, each with its policy."""
    for tool in tools:
        if tool["type"] == TOOLSET:
            default = tool["default_config"]
            named = {one["name"]: one for one in tool["configs"]}
            every = {name: named.get(name, default) for name in BUILT_IN}
            return {name: one["permission_policy"]["type"] for name, one in every.items() if one["enabled"]}
    return {}


def asked_for(tools: Sequence[dict[str, Any]]) -> set[str]:
    """Of shown tools the built-in ones that are enabled by name, rather than by default."""
    configs = [one for tool in tools if tool["type"] == TOOLSET for one in tool["configs"]]
    return {one["name"] for one in configs if one["enabled"]}


def web_policy(tools: Sequence[dict[str, Any]]) -> WebPolicy | None:
    """What the web tools of shown tools may look at."""
    configs = [one for tool in tools if tool["type"] == TOOLSET for one in tool["configs"]]
    return policy_of(configs, [tool["name"] for tool in tools if tool["type"] == "custom"])


def _shown_toolset(tool: Toolset, custom: Sequence[str], where: str) -> dict[str, Any]:
    default = _config(tool.default_config, True, "always_allow", f"{where}.default_config")
    configs = []
    for number, one in enumerate(tool.configs):
        at = f"{where}.configs.{number}"
        if one.type is not None and one.type != one.name:
            raise InvalidArgument(f"{at}.type: {one.type!r} is not its name, {one.name!r}")
        limits = shown_limits(one, one.name, custom, at)
        policy = default["permission_policy"]["type"]
        configs.append({"name": one.name, "type": one.name, **_config(one, default["enabled"], policy, at), **limits})
    _once([one.name for one in tool.configs], f"{where}.configs")
    return {"type": TOOLSET, "default_config": default, "configs": configs}


def _config(given: DefaultConfig | None, enabled: bool, policy: str, where: str) -> dict[str, Any]:
    if given is not None:
        enabled = enabled if given.enabled is None else given.enabled
        policy = policy if given.permission_policy is None else given.permission_policy.type
    if policy == "auto":
        raise NotSupported(f"{where}.permission_policy: godwit has no policy auto: take always_allow or always_ask")
    return {"enabled": enabled, "permission_policy": {"type": policy}}


def _once(names: Sequence[str], where: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise InvalidArgument(f"{where}: {name!r} is there twice")
