"""Agent: how a developer writes an agent down: the stored definition together with the Python functions it may call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from ..contracts import BudgetGuard, HookHandler, Tool
from ..core.agent import (
    AgentSpec,
    ContextPolicy,
    Limits,
    ModelSettings,
    Permissions,
    ThinkingLevel,
    ToolDefinition,
    with_subagents,
)
from ..core.budget import Budget, budgets_of
from ..core.checkpoint import CheckpointPolicy
from ..core.errors import ConfigurationError
from ..core.hooks import HookSpec
from ..core.ids import AgentName
from ..core.mcp import McpServer, mcp_server
from ..core.memory import MemoryPolicy
from ..core.modes import Mode
from ..core.nudges import NudgePolicy
from ..core.output import OutputSpec
from ..core.rules import ApprovalPolicy
from ..core.sandbox import SandboxPolicy
from ..core.tool_search import ToolSearchPolicy
from ..core.verification import VerificationCommand, VerificationPolicy, commands_of
from ..core.web import WebPolicy
from ..core.worker_agents import WorkerAgentSpec
from ..engine.commands import Command, checked_commands
from ..engine.hook import Hook
from .builtin_agents import ALIASES, BUILTIN_AGENTS
from .guards import checked


class Agent:
    """An agent to start sessions with.

    `model`: `provider:model`, or several, of which the later ones take over when an earlier one fails.
    `tools`: names of tools and toolsets (`"files"`, `"bash"`), typed functions, `Tool` objects, and `ToolDefinition`s
    for tools without a body, which are answered from outside.
    `permissions`: `Permissions`, or a verdict per rule such as `{"bash": "ask"}`. `approvals`: what is approved without
    asking, and what happens when nobody answers. `verification`: a run is done only once these commands pass; a list of
    them, or a `VerificationPolicy`.
    `budget`: what a session may spend: a `Budget`, a table such as `{"usd": 5}`, or one of each scope in a list.
    `budget_guard`: is asked before each step, as long as the agent is given to the process that drives the session.
    `sandbox`: how commands are confined; by default by the strongest sandbox that works here, without a network.
    `checkpoints`: whether the workspace's files are kept before each turn that may change them, and which.
    `commands`: slash commands of its sessions, as long as the agent is given to the process that opens them.
    `subagents`: agents that it may hand tasks to with the tool `task`: other `Agent`s; `AgentSpec`s and `WorkerAgentSpec`s,
    which become a part of this agent; and names, of stored agents, of those registered with the runtime, or of built-in ones
    (explore, general, plan, review, verify); as a mapping, names with what each is for.
    `mcp_servers`: whose tools it has as well: `McpServer`s, or tables such as `{"name": "docs", "url": "https://..."}`.
    `web`: what its web tools may look at: domains, how much of a page, only addresses that the conversation has shown;
    a `WebPolicy`, or a table such as `{"fetch": {"domains": {"allowed": ["example.org"]}}}`.
    `context`: how conversations are kept within what the model reads: a `ContextPolicy`, or a table such as
    `{"compact_at": 0.7}`.
    `context_files`: whether it is told what AGENTS.md and the like say; `skills`: which it may load, names or patterns with
    `*`, or all or none. Both only where the host reads such files (`Runtime.open(folder_files=...)`).
    `modes`: what its sessions may be switched to, beside `build` and `plan`.
    `output`: the form that the last answer of its runs must have: a type that pydantic knows (a model class, a dataclass,
    `list[int]`), a JSON Schema, or an `OutputSpec`. `output_retries`: how often an answer that does not fit goes back.
    `nudges`: when a model that has stopped in the middle of its work is told to go on: a `NudgePolicy`, how often at
    most, or False for never.
    `tool_search`: whether its model looks for the tools of MCP servers (`"always"`), is told of all of them (`"never"`), or
    looks for them where they are many (`"auto"`); a `ToolSearchPolicy`, or a table, says more.
    `memory`: what it does with memory by itself; True for what `MemoryPolicy()` says, None for nothing.
    `hooks`: functions made with `godwit.hook`, and `HookSpec`s whose command is run or whose handler is registered later.
    Raises ConfigurationError.
    """

    def __init__(
        self,
        name: str,
        *,
        model: str | Sequence[str],
        instructions: str = "",
        description: str = "",
        tools: Sequence[str | Callable[..., Any] | Tool | ToolDefinition] = (),
        permissions: Permissions | dict[str, str] | None = None,
        approvals: ApprovalPolicy | None = None,
        verification: VerificationPolicy | Sequence[VerificationCommand | str] | None = None,
        budget: Budget | Mapping[str, Any] | Sequence[Budget | Mapping[str, Any]] | None = None,
        budget_guard: BudgetGuard | None = None,
        sandbox: SandboxPolicy | None = None,
        limits: Limits | None = None,
        settings: ModelSettings | None = None,
        thinking: ThinkingLevel | None = None,
        checkpoints: CheckpointPolicy | bool = True,
        context: ContextPolicy | Mapping[str, Any] | None = None,
        modes: Sequence[Mode] = (),
        metadata: dict[str, str] | None = None,
        commands: Sequence[Command] = (),
        hooks: Sequence[Hook | HookSpec] = (),
        subagents: Sequence[Agent | AgentSpec | WorkerAgentSpec | str] | Mapping[str, str] = (),
        mcp_servers: Sequence[McpServer | Mapping[str, Any]] = (),
        web: WebPolicy | Mapping[str, Any] | None = None,
        context_files: bool = True,
        skills: Sequence[str] | bool = True,
        output: Any = None,
        output_retries: int = 2,
        memory: MemoryPolicy | Mapping[str, Any] | bool | None = None,
        nudges: NudgePolicy | Mapping[str, Any] | int | None = None,
        tool_search: ToolSearchPolicy | Mapping[str, Any] | str | None = None,
    ) -> None:
        names: list[str] = []
        external: list[ToolDefinition] = []
        self.functions: list[Tool] = []
        for item in tools:
            if isinstance(item, str):
                names.append(item)
            elif isinstance(item, ToolDefinition):
                external.append(item)
            else:
                made = _as_tool(item)
                self.functions.append(made)
                names.append(made.definition.name)
        self.budget_guard = checked(budget_guard)
        self.commands = checked_commands(commands, f"agent {name!r}")
        self.hook_handlers: dict[str, HookHandler] = {h.spec.id: h.handler for h in hooks if isinstance(h, Hook)}
        for hook in hooks:
            if not isinstance(hook, Hook | HookSpec):
                raise ConfigurationError(f"{hook!r} is no hook: make one of a function with godwit.hook(point)")
        chosen = settings or ModelSettings()
        if thinking is not None:
            chosen = ModelSettings(
                chosen.max_tokens, chosen.temperature, chosen.top_p, thinking, chosen.stop_sequences, chosen.extra
            )
        self.subagents = tuple(one for one in subagents if isinstance(one, Agent))
        own = [
            one.agent() if isinstance(one, WorkerAgentSpec) else one for one in subagents if not isinstance(one, str | Agent)
        ]
        self.spec = AgentSpec(
            name=AgentName(name),
            models=(model,) if isinstance(model, str) else tuple(model),
            instructions=instructions,
            description=description,
            tools=tuple(names),
            external_tools=tuple(external),
            permissions=_permissions(permissions),
            approvals=approvals or ApprovalPolicy(),
            budgets=budgets_of(budget, where=f"agent {name!r}: budget"),
            sandbox=sandbox or SandboxPolicy(),
            limits=limits or Limits(),
            settings=chosen,
            metadata=dict(metadata or {}),
            verification=_verification(verification),
            hooks=tuple(h.spec if isinstance(h, Hook) else h for h in hooks),
            subagents=_subagents(subagents),
            mcp_servers=tuple(mcp_server(one) for one in mcp_servers),
            web=_web(web),
            memory=_memory(memory),
            checkpoints=checkpoints if isinstance(checkpoints, CheckpointPolicy) else CheckpointPolicy(enabled=checkpoints),
            context=_context(context),
            context_files=context_files,
            skills=_skills(skills),
            modes=tuple(modes),
            nudges=nudges_of(nudges),
            tool_search=tool_search_of(tool_search),
            output=_output(output, output_retries),
        )
        self.output_type = None if isinstance(output, dict | OutputSpec) else output
        if own:
            self.spec = with_subagents(self.spec, own)

    @property
    def name(self) -> str:
        return self.spec.name

    def __repr__(self) -> str:
        return f"Agent({self.name!r}, model={self.spec.models[0]!r})"


def _as_tool(item: Any) -> Tool:
    if hasattr(item, "definition") and hasattr(item, "run"):
        made: Tool = item
        return made
    if callable(item):
        from ..tools.function import tool

        function: Tool = tool(item)
        return function
    raise ConfigurationError(f"{item!r} is neither a tool name, a function nor a tool", tool=repr(item))


def _output(given: Any, retries: int) -> OutputSpec | None:
    if given is None:
        return None
    from .output_types import TypedOutputs

    return TypedOutputs().spec(given, None if isinstance(given, OutputSpec) else retries)


def _context(given: ContextPolicy | Mapping[str, Any] | None) -> ContextPolicy:
    if given is None or isinstance(given, ContextPolicy):
        return given or ContextPolicy()
    try:
        unknown = set(given) - set(ContextPolicy.__struct_fields__)
        if unknown:
            raise ConfigurationError(f"context has no {sorted(unknown)}: it takes {ContextPolicy.__struct_fields__}")
        return msgspec.convert(dict(given), ContextPolicy)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"context cannot be read: {error}") from None


def _skills(given: Sequence[str] | bool) -> tuple[str, ...]:
    if isinstance(given, bool):
        return ("*",) if given else ()
    if isinstance(given, str):
        raise ConfigurationError(f"skills={given!r} is one name: put it into a list")
    return tuple(given)


def _web(given: WebPolicy | Mapping[str, Any] | None) -> WebPolicy | None:
    if given is None or isinstance(given, WebPolicy):
        return given
    try:
        return msgspec.convert(dict(given), WebPolicy)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"what web tools may look at cannot be read: {error}") from None


def _memory(given: MemoryPolicy | Mapping[str, Any] | bool | None) -> MemoryPolicy | None:
    if given is None or isinstance(given, MemoryPolicy):
        return given
    if isinstance(given, bool):
        return MemoryPolicy() if given else None
    try:
        return msgspec.convert(dict(given), MemoryPolicy)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"memory cannot be read: {error}") from None


def tool_search_of(given: ToolSearchPolicy | Mapping[str, Any] | str | None) -> ToolSearchPolicy:
    """The policy that is meant. ConfigurationError."""
    if given is None or isinstance(given, ToolSearchPolicy):
        return given or ToolSearchPolicy()
    table = {"mode": given} if isinstance(given, str) else dict(given)
    try:
        if unknown := set(table) - set(ToolSearchPolicy.__struct_fields__):
            known = ToolSearchPolicy.__struct_fields__
            raise ConfigurationError(f"tool_search has no {sorted(unknown)}: it takes {known}")
        return msgspec.convert(table, ToolSearchPolicy)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"tool_search cannot be read: {error}") from None


def nudges_of(given: NudgePolicy | Mapping[str, Any] | int | None) -> NudgePolicy:
    """A policy as people write it down: a table, how often at most, or whether at all. ConfigurationError."""
    if given is None or isinstance(given, NudgePolicy):
        return given or NudgePolicy()
    if isinstance(given, bool):
        return NudgePolicy() if given else NudgePolicy(max_nudges=0)
    if isinstance(given, int):
        return NudgePolicy(max_nudges=given)
    try:
        if unknown := set(given) - set(NudgePolicy.__struct_fields__):
            raise ConfigurationError(f"nudges have no {sorted(unknown)}: they take {NudgePolicy.__struct_fields__}")
        return msgspec.convert(dict(given), NudgePolicy)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"nudges cannot be read: {error}") from None


def _subagents(given: Sequence[Agent | AgentSpec | WorkerAgentSpec | str] | Mapping[str, str]) -> dict[str, str]:
    """What each is for, by name, but for hidden ones."""
    if isinstance(given, Mapping):
        return dict(given)
    found: dict[str, str] = {}
    seen: set[str] = set()
    for one in given:
        name = one.name if isinstance(one, Agent | AgentSpec | WorkerAgentSpec) else one
        if not isinstance(name, str):
            raise ConfigurationError(f"{one!r} is no subagent: give an Agent, or the name of one")
        if name in seen:
            raise ConfigurationError(f"subagent {name!r} is named twice", name=name)
        seen.add(name)
        if isinstance(one, AgentSpec | WorkerAgentSpec):
            if not one.hidden:
                found[name] = one.description
            continue
        builtin = BUILTIN_AGENTS.get(ALIASES.get(name, name))
        found[name] = one.spec.description if isinstance(one, Agent) else builtin.description if builtin else ""
    return found


def _verification(given: VerificationPolicy | Sequence[VerificationCommand | str] | None) -> VerificationPolicy | None:
    if given is None or isinstance(given, VerificationPolicy):
        return given
    return VerificationPolicy(commands_of(given))


def _permissions(given: Permissions | dict[str, str] | None) -> Permissions:
    if given is None:
        return Permissions()
    if isinstance(given, Permissions):
        return given
    wrong = {k: v for k, v in given.items() if v not in ("allow", "ask", "deny")}
    if wrong:
        raise ConfigurationError(f"permissions must be allow, ask or deny: {wrong}", permissions=wrong)
    rules = {v: tuple(k for k, w in given.items() if w == v and k != "default") for v in ("allow", "ask", "deny")}
    default: Any = given.get("default", "allow")
    return Permissions(rules["allow"], rules["ask"], rules["deny"], default)
