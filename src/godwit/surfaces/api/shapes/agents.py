"""Shapes of agents, and of those that a session knows as subagents."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ....core.agent import AgentSpec, ContextPolicy, Limits, ModelSettings, ToolDefinition
from ....core.budget import Budget
from ....core.checkpoint import CheckpointPolicy
from ....core.hooks import HookSpec
from ....core.mcp import McpServer
from ....core.memory import MemoryPolicy
from ....core.model_info import ModelInfo
from ....core.modes import Mode
from ....core.nudges import NudgePolicy
from ....core.output import OutputSpec
from ....core.rules import ApprovalPolicy, ConfirmationInheritance, Permissions
from ....core.sandbox import SandboxPolicy
from ....core.tool_search import ToolSearchPolicy
from ....core.verification import VerificationPolicy
from ....core.web import WebPolicy
from .common import Shape


class AgentBody(Shape, frozen=True):
    """An agent as it is put: `AgentSpec` without the name, which the path gives."""

    models: Annotated[tuple[str, ...], Meta(min_length=1)]
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
    subagents: dict[str, str] = {}
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


class AgentView(Shape, frozen=True):
    """One version of an agent. `id`: by which events and other protocols name it. `newest`: its newest version. `spec` has
    the name; times in ms."""

    name: str
    id: str
    version: int
    newest: int
    spec: AgentSpec
    created_ms: int
    updated_ms: int
    archived_ms: int | None = None


class ModelList(Shape, frozen=True):
    data: list[ModelInfo]


class AgentList(Shape, frozen=True):
    """`next`: for `after` in the request of the page behind this one; None when there is none."""

    data: list[AgentView]
    next: str | None = None


class RegisterBody(Shape, frozen=True):
    """Agents that a session is to know as subagents, whole."""

    agents: list[AgentSpec]


class Subagents(Shape, frozen=True):
    """As the session knows them."""

    data: list[AgentSpec]


class NamedVersion(Shape, frozen=True):
    """An agent by its name or id, and one of its versions; None: the newest."""

    name: str
    version: Annotated[int, Meta(ge=1, le=1 << 31)] | None = None
