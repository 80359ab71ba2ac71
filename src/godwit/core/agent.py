"""AgentSpec: the versioned definition of an agent. Data only, so it can be stored, compared and sent."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from .budget import Budget
from .checkpoint import CheckpointPolicy
from .errors import ConfigurationError
from .hooks import HookSpec
from .ids import AgentName
from .mcp import McpServer, rule_of
from .memory import MemoryPolicy
from .modes import Mode
from .nudges import NudgePolicy
from .output import OutputSpec
from .rules import ApprovalPolicy, ConfirmationInheritance, Permissions, Verdict
from .sandbox import SandboxPolicy
from .tool_search import ToolSearchPolicy
from .verification import VerificationPolicy
from .web import WebPolicy

ThinkingLevel = Literal["off", "minimal", "low", "medium", "high", "xhigh"]
_encoder = msgspec.json.Encoder(order="sorted")
SteerMode = Literal["skip", "batch"]
"""`skip`: calls of the turn that have not started are skipped. `batch`: the turn's calls are all run first."""


class ToolDefinition(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a model is told of a tool. `parameters` is a JSON schema of type object."""

    name: str
    description: str
    parameters: dict[str, Any]


class Limits(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a run ends by itself. `max_duration_s` counts wall seconds of the whole run, waiting included.

    Of children: `max_depth` is how far the line of them goes below the first session, `max_children` how many of one
    session's tasks are worked on at a time (further ones wait), `max_descendants` how many sessions may be
    made below the first one for one prompt of it: one piece of work, with what the ends of its tasks begin.
    """

    max_turns: int = 50
    max_duration_s: float | None = None
    max_parallel_tools: int = 8
    max_invalid_turns: int = 2
    max_repeated_calls: int = 3
    max_model_retries: int = 3
    max_takeovers: int = 5
    max_depth: int = 8
    max_children: int = 8
    max_descendants: int = 100
    tool_timeout_s: float | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is None:
                continue
            if name.endswith("_s"):
                if value <= 0:
                    raise ConfigurationError(f"limit {name}={value!r} must be more than 0 seconds", limit=name, value=value)
            elif value < (least := 0 if name in ("max_invalid_turns", "max_model_retries") else 1):
                raise ConfigurationError(f"limit {name}={value!r} must be at least {least}", limit=name, value=value)


class ModelSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """What goes with each model request; None leaves it to the provider."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    thinking: ThinkingLevel | None = None
    stop_sequences: tuple[str, ...] = ()
    extra: dict[str, Any] = {}


class ContextPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a conversation is kept within what its model reads. Nothing is done where the window is not known.

    `window`: tokens of a request, in place of what is known of the model. `prune`: once `prune_at` of the window is full,
    results of tools older than the newest `prune_keep_turns` turns are left out of what the model sees, unless that would
    gain little. `compact`: once `compact_at` of it is full, and when a provider refuses a request as too long, a summary by
    the session's model takes the place of older messages; about `keep_tokens` of the newest stay, a quarter of the window
    at most. The log keeps everything. ConfigurationError.
    """

    compact: bool = True
    compact_at: float = 0.8
    keep_tokens: int = 20_000
    prune: bool = True
    prune_at: float = 0.6
    prune_keep_turns: int = 10
    window: int | None = None

    def __post_init__(self) -> None:
        for name in ("compact_at", "prune_at"):
            value = getattr(self, name)
            if not 0 < value <= 1:
                raise ConfigurationError(
                    f"context {name}={value!r} must be a part of the window: over 0, up to 1", value=value
                )
        for name in ("keep_tokens", "prune_keep_turns"):
            if getattr(self, name) < 0:
                raise ConfigurationError(
                    f"context {name}={getattr(self, name)!r} must be 0 or more", value=getattr(self, name)
                )
        if self.window is not None and self.window < 1000:
            raise ConfigurationError(
                f"context window={self.window!r}: a model reads 1,000 tokens at least", value=self.window
            )


class AgentSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """An agent: what it is asked to be, with which models, tools and limits.

    `models`: `provider:model` names; the first is used, the others take over in turn when it fails. `tools`: names of
    registered tools or toolsets (`files`, `bash`). `external_tools`: tools without a body, answered from outside;
    `client_tools`: more of these, which a session's client has set and sets anew (`Session.set_external_tools`).
    `subagents`: the agents that it may hand tasks to, and what each is for. `subagent_specs`: what those of them are
    that are stored nowhere else; a hidden one stands here alone. The others are stored or built-in ones; `subagent_ids`:
    under which name such an agent is stored, where it is another than the one it is known by here. `mcp_servers`: whose
    tools it has as well, connected when a session runs. `web`: what its web tools may look at. `context`: how its
    conversations are kept within what the model reads. `memory`: what it does with memory by itself.
    `modes`: of its own, beside the built-in ones. `nudges`: when a model that has stopped is told to go on.
    `tool_search`: whether its model looks for tools, or is told of all.
    `output`: the form that the last answer of its runs must have. `hidden`: no model is told of it as a subagent; hosts
    may give it tasks.
    `confirmation_inheritance`: see there. `budgets`: at most one per scope. `verification`: a run is done only once it
    passes. `title`: what people call it. `extensions`: what surfaces keep with a version, by their names; nobody else
    reads it. Where the host reads files for its sessions, `context_files`: whether it is told what AGENTS.md and the
    like say; `skills`: which of those there are it may load, names or patterns with `*`.
    """

    name: AgentName
    models: tuple[str, ...]
    instructions: str = ""
    description: str = ""
    tools: tuple[str, ...] = ()
    external_tools: tuple[ToolDefinition, ...] = ()
    permissions: Permissions = Permissions()
    limits: Limits = Limits()
    settings: ModelSettings = ModelSettings()
    metadata: dict[str, str] = {}
    approvals: ApprovalPolicy = ApprovalPolicy()
    hooks: tuple[HookSpec, ...] = ()
    budgets: tuple[Budget, ...] = ()
    sandbox: SandboxPolicy = SandboxPolicy()
    checkpoints: CheckpointPolicy = CheckpointPolicy()
    verification: VerificationPolicy | None = None
    title: str = ""
    extensions: dict[str, dict[str, Any]] = {}
    subagents: dict[str, str] = {}
    subagent_ids: dict[str, str] = {}
    mcp_servers: tuple[McpServer, ...] = ()
    subagent_specs: dict[str, AgentSpec] = {}
    hidden: bool = False
    confirmation_inheritance: ConfirmationInheritance = "inherit_parent"
    web: WebPolicy | None = None
    context: ContextPolicy = ContextPolicy()
    context_files: bool = True
    skills: tuple[str, ...] = ("*",)
    modes: tuple[Mode, ...] = ()
    output: OutputSpec | None = None
    memory: MemoryPolicy | None = None
    nudges: NudgePolicy = NudgePolicy()
    tool_search: ToolSearchPolicy = ToolSearchPolicy()
    client_tools: tuple[ToolDefinition, ...] = ()

    def __post_init__(self) -> None:
        if not self.name or not self.name.strip():
            raise ConfigurationError("an agent needs a name")
        if not self.models or any(not m.strip() for m in self.models):
            raise ConfigurationError(f"agent {self.name!r} needs at least one model", agent=self.name)
        for name, spec in self.subagent_specs.items():
            if spec.name != name or (name in self.subagents) == spec.hidden:
                what = "hidden ones are not listed" if spec.hidden else "each stands in `subagents` as well, under its name"
                raise ConfigurationError(f"agent {self.name!r}: subagent_specs[{name!r}]: {what}", agent=self.name)
        names = [t.name for t in (*self.external_tools, *self.client_tools)]
        if len(set(names)) != len(names):
            raise ConfigurationError(f"agent {self.name!r} names an external tool twice", tools=names)
        for what, given in (
            ("hooks", [h.id for h in self.hooks]),
            ("budgets", [b.scope for b in self.budgets]),
            ("modes", [m.name for m in self.modes]),
            ("MCP servers", [rule_of(s.name).lower() for s in self.mcp_servers]),
        ):
            if len(set(given)) != len(given):
                raise ConfigurationError(f"agent {self.name!r} has two {what} of one name: {given}", names=given)


def with_subagents(spec: AgentSpec, added: Iterable[AgentSpec]) -> AgentSpec:
    """The agent with these as its own subagents, in place of those of their names."""
    told, own = dict(spec.subagents), dict(spec.subagent_specs)
    for one in added:
        own[one.name] = one
        if one.hidden:
            told.pop(one.name, None)
        else:
            told[one.name] = one.description
    return msgspec.structs.replace(spec, subagents=told, subagent_specs=own)


def with_mcp_server(spec: AgentSpec, server: McpServer) -> AgentSpec:
    """The agent with this server, in place of the one of its name."""
    if any(own.name == server.name for own in spec.mcp_servers):
        servers = tuple(server if own.name == server.name else own for own in spec.mcp_servers)
    else:
        servers = (*spec.mcp_servers, server)
    return msgspec.structs.replace(spec, mcp_servers=servers)


def without_mcp_server(spec: AgentSpec, name: str) -> AgentSpec:
    """The agent without the server of this name."""
    return msgspec.structs.replace(spec, mcp_servers=tuple(own for own in spec.mcp_servers if own.name != name))


def with_client_tools(spec: AgentSpec, tools: Iterable[ToolDefinition]) -> AgentSpec:
    """The agent with these tools of a client, in place of those before. ConfigurationError for a name of its own external
    tools."""
    return msgspec.structs.replace(spec, client_tools=tuple(tools))


class AgentRef(msgspec.Struct, frozen=True):
    """One immutable version of an agent; versions count from 1."""

    name: AgentName
    version: int


def variant_name(of: AgentRef, digest: str) -> AgentName:
    """The name of an agent that is this version with something changed for some sessions; its sessions are listed as
    those of that version (`EventStore.session_page`). `digest`: tells it from the version's other variants."""
    return AgentName(f"{variant_prefix(of.name, of.version)}{digest}")


def variant_of(ref: AgentRef, spec: AgentSpec) -> AgentSpec:
    """The spec under the name of a variant of this version. The same spec gives the same name."""
    base = base_of(ref)
    plain = msgspec.structs.replace(spec, name=base.name)
    digest = hashlib.blake2b(_encoder.encode(plain), digest_size=6).hexdigest()
    return msgspec.structs.replace(spec, name=variant_name(base, digest))


def variant_prefix(name: AgentName, version: int | None) -> str:
    """How the names of all variants begin, of that version or of any."""
    return f"{name}@" if version is None else f"{name}@{version}~"


def base_of(ref: AgentRef) -> AgentRef:
    """The version that a variant varies; any other agent itself."""
    name, at, rest = ref.name.rpartition("@")
    version, is_variant, _ = rest.partition("~")
    if at and is_variant and version.isdecimal():
        return AgentRef(AgentName(name), int(version))
    return ref


__all__ = [
    "AgentRef",
    "AgentSpec",
    "Limits",
    "ModelSettings",
    "Permissions",
    "SteerMode",
    "ThinkingLevel",
    "ToolDefinition",
    "Verdict",
    "base_of",
    "variant_of",
    "variant_name",
    "variant_prefix",
    "with_client_tools",
    "with_mcp_server",
    "with_subagents",
    "without_mcp_server",
]
