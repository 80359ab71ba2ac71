"""From what an agent says on the wire to the spec that the engine runs, and to what a session's environment makes of it.

An agent is stored as it would run in a plain place; a session whose environment, overrides or updates ask for something else
works for a variant of that version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ...core.agent import AgentSpec, ModelSettings, ThinkingLevel, ToolDefinition
from ...core.errors import AuthenticationFailed, InvalidArgument, ModelNotFound, NotSupported, ToolNotFound
from ...core.hosts import ANY, both
from ...core.ids import AgentName
from ...core.mcp import McpServer, rule_of, tool_name
from ...core.packages import MANAGERS, registries
from ...core.rules import Permissions
from ...core.sandbox import SandboxPolicy
from ..server.hosts import hosts_of, is_open
from ..server.service import Service
from .agent_shapes import SURFACE, Definition, told
from .mounts import LINKS
from .tool_shapes import asked_for, built_in, web_policy

THINKING: Mapping[str, ThinkingLevel] = {"low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "xhigh"}
"""By a model's effort."""
SERVERS_OWN = ("web_fetch", "web_search")
"""Built-in tools that no worker of a self-hosted environment answers."""


def _schema(required: tuple[str, ...], **properties: str) -> dict[str, Any]:
    kinds: dict[str, Any] = {"range": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}}
    named = {name: kinds.get(kind, {"type": kind}) for name, kind in properties.items()}
    return {"type": "object", "properties": named, "required": list(required)}


WORKERS_TOOLS: tuple[ToolDefinition, ...] = (
    ToolDefinition(
        "bash",
        "Run a command in a shell that keeps its state between calls. restart begins a new shell.",
        _schema((), command="string", restart="boolean", timeout_ms="integer"),
    ),
    ToolDefinition(
        "read",
        "Read a text file. view_range: the first and the last line, from 1; -1 is the end.",
        _schema(("file_path",), file_path="string", view_range="range"),
    ),
    ToolDefinition(
        "write",
        "Write a file, in place of what is there.",
        _schema(("file_path", "content"), file_path="string", content="string"),
    ),
    ToolDefinition(
        "edit",
        "Replace a text in a file. It must be there exactly once, unless replace_all is true.",
        _schema(
            ("file_path", "old_string", "new_string"),
            file_path="string",
            old_string="string",
            new_string="string",
            replace_all="boolean",
        ),
    ),
    ToolDefinition(
        "glob", "Find files by a pattern such as **/*.py.", _schema(("pattern",), pattern="string", path="string")
    ),
    ToolDefinition(
        "grep",
        "Find lines that match a regular expression in the files below a path.",
        _schema(("pattern",), pattern="string", path="string"),
    ),
)
"""What official workers of self-hosted environments can execute, as they read its input."""


def spec_of(service: Service, definition: Definition) -> AgentSpec:
    """The spec of an agent on its own. InvalidArgument when no model answers to its name, or a tool cannot be used."""
    tools = built_in(definition.tools)
    effort = (definition.model["effort"] or {}).get("type")
    spec = AgentSpec(
        AgentName("agent"),
        (_model(service, definition.model["id"]),),
        definition.system or "",
        definition.description or "",
        tools=tuple(name for name in tools if name != "web_search" or _has(service, name)),
        external_tools=tuple(
            ToolDefinition(tool["name"], tool["description"], tool["input_schema"])
            for tool in definition.tools
            if tool["type"] == "custom"
        ),
        permissions=_permissions(definition.tools),
        mcp_servers=_servers(definition),
        web=web_policy(definition.tools),
        settings=ModelSettings(thinking=None if effort is None else THINKING[effort]),
        metadata=dict(definition.metadata),
        title=definition.name,
    )
    service.runtime.tools_of(spec)
    return told(spec, definition)


def _permissions(tools: Sequence[dict[str, Any]]) -> Permissions:
    """What is asked before; a rule that allows single tools of a server goes before one that asks for all of them."""
    ask = [name for name, policy in built_in(tools).items() if policy == "always_ask"]
    allow: list[str] = []
    for toolset in tools:
        if toolset["type"] == "mcp_toolset":
            server = toolset["mcp_server_name"]
            asks = toolset["default_config"]["permission_policy"]["type"] == "always_ask"
            if asks:
                ask.append(rule_of(server))
            for one in toolset["configs"]:
                if (one["permission_policy"]["type"] == "always_ask") != asks:
                    (allow if asks else ask).append(tool_name(server, one["name"]))
    return Permissions(allow=tuple(allow), ask=tuple(ask))


def _servers(definition: Definition) -> tuple[McpServer, ...]:
    """The servers, each with the tools that its toolset enables."""
    toolsets = {one["mcp_server_name"]: one for one in definition.tools if one["type"] == "mcp_toolset"}
    made = []
    for server in definition.mcp_servers:
        toolset = toolsets[server["name"]]
        on = tuple(one["name"] for one in toolset["configs"] if one["enabled"])
        off = tuple(one["name"] for one in toolset["configs"] if not one["enabled"])
        some = None if toolset["default_config"]["enabled"] else on
        made.append(McpServer(server["name"], server["url"], some, off))
    return tuple(made)


def respelled(service: Service, spec: AgentSpec, definition: Definition) -> AgentSpec:
    """The spec with what this protocol says of it in place of what it said; what that has no word for stays as it was made
    elsewhere."""
    kept = {name: getattr(spec, name) for name in _ELSEWHERE}
    others = {name: one for name, one in spec.extensions.items() if name != SURFACE}
    made = spec_of(service, definition)
    return msgspec.structs.replace(made, name=spec.name, extensions={**others, **made.extensions}, **kept)


_ELSEWHERE = ("limits", "approvals", "hooks", "budgets", "sandbox", "checkpoints", "verification")


def placed(
    service: Service, spec: AgentSpec, definition: Definition, environment: Mapping[str, Any], folders: Path
) -> AgentSpec:
    """The spec as it runs in an environment of this configuration. NotSupported for what cannot be had in one.

    `folders`: where the folders of all sessions lie.
    """
    network = environment.get("networking", {})
    if definition.mcp_servers and network.get("type") == "limited" and not network["allow_mcp_servers"]:
        raise InvalidArgument(
            "environment_id: the network of this environment is limited and allows no MCP servers, and the agent has some: "
            "set networking.allow_mcp_servers, or leave them out"
        )
    missing = [name for name in asked_for(definition.tools) if not _has(service, name)]
    if missing:
        raise NotSupported(f"agent.tools: {missing[0]} is not set up on this server: choose a search service, or disable it")
    if environment["type"] == "self_hosted":
        workers = tuple(one for one in WORKERS_TOOLS if one.name in spec.tools)
        own = tuple(name for name in spec.tools if name in SERVERS_OWN)
        spec = msgspec.structs.replace(spec, tools=own, external_tools=(*workers, *spec.external_tools))
    else:
        spec = msgspec.structs.replace(spec, sandbox=_confined(service, spec, environment, folders))
    return told(spec, definition)


def _confined(service: Service, spec: AgentSpec, environment: Mapping[str, Any], folders: Path) -> SandboxPolicy:
    """How commands are confined. What the environment promises is demanded of the sandbox, and where several people have
    keys also that their sessions are kept apart: a session that would run without it is refused."""
    own = spec.sandbox
    networking = environment["networking"]
    network = networking["type"] == "unrestricted"
    require = list(own.require)
    hosts: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    if network and (own.allowed_hosts or own.denied_hosts):  # the agent's own list limits it here as well
        network, hosts = False, own.allowed_hosts or (ANY,)
    if "bash" in spec.tools or spec.verification is not None:
        if networking["type"] == "limited":
            hosts = _hosts(service, spec, networking)
            hosts = both(hosts, own.allowed_hosts) if own.allowed_hosts else hosts
        packages = tuple(f"{name}:{one}" for name in MANAGERS for one in environment.get("packages", {}).get(name, ()))
        if not network and not hosts:
            require.append("network_off")
        elif networking["type"] == "limited":
            require.append("network_limited")  # so that nothing the server's own files open is added to the list
        if service.settings.asks_for_keys:
            require += ["writes_confined", "secrets_hidden"]
    return msgspec.structs.replace(
        own,
        network=network,
        allowed_hosts=hosts,
        unix_sockets=own.unix_sockets and not hosts,
        packages=tuple(dict.fromkeys((*own.packages, *packages))),
        links=tuple(LINKS.items()),
        hidden=tuple(dict.fromkeys((*own.hidden, str(folders)))),
        require=tuple(dict.fromkeys(require)),
    )


def _hosts(service: Service, spec: AgentSpec, networking: Mapping[str, Any]) -> tuple[str, ...]:
    """Those that commands may reach in a network that is limited."""
    hosts = hosts_of(networking["allowed_hosts"], reach=service.settings.reach, param="environment_id: allowed_hosts")
    if networking["allow_package_managers"]:
        hosts += registries()
    if networking["allow_mcp_servers"]:
        urls = [urlsplit(server.url) for server in spec.mcp_servers if server.url]
        servers = [url.netloc if url.port else f"{url.netloc}:{443 if url.scheme == 'https' else 80}" for url in urls]
        hosts += tuple(one for one in servers if is_open(one, service.settings.reach))
    return tuple(dict.fromkeys(hosts))


def _model(service: Service, name: str) -> str:
    found = service.settings.model(name)
    try:
        service.runtime.models.resolve(found)
    except AuthenticationFailed:
        pass  # its key may be there by the time it is asked
    except (ModelNotFound, InvalidArgument) as error:
        raise InvalidArgument(f"model: {error.message}", model=name) from None
    return found


def _has(service: Service, tool: str) -> bool:
    try:
        service.runtime.tools_of(AgentSpec(AgentName("agent"), ("any",), tools=(tool,)))
    except ToolNotFound:
        return False
    return True
