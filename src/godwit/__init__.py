"""godwit: a runtime for durable agent sessions.

    runtime = await godwit.Runtime.open("godwit.db")
    agent = godwit.Agent("coder", model="anthropic:claude-sonnet-4-5", tools=["files", "bash"])
    session = await runtime.start_session(agent, workspace=".")
    result = await session.send("Fix the failing test.")

Names load when first used: importing godwit loads no provider, no store, no web server.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import RemoteRuntime, RemoteSession, Worker, connect
    from .contracts import BudgetCheck, BudgetGuard, Embedder, HookCall, KeptFile, SessionHandle, ToolContext, ToolOutput
    from .core import errors
    from .core.agent import AgentRef, AgentSpec, ContextPolicy, Limits, ModelSettings, Permissions, ToolDefinition
    from .core.artifact import ArtifactLimits
    from .core.asked import Question, QuestionAnswer, Resumption
    from .core.attachments import Link
    from .core.budget import Budget, BudgetDecision, Price, Spent
    from .core.checkpoint import CheckpointPolicy, RewindPreview, RewindResult
    from .core.errors import GodwitError, RunFailed
    from .core.events import Delta, Event, Labels
    from .core.goal import Goal
    from .core.hooks import HookMatcher, HookResult, HookSpec
    from .core.lanes import ExternalTaskResult, LaneConfig, LaneHandler, LaneSettings, RateLimit, RetryPolicy
    from .core.mcp import McpServer
    from .core.mcp_contents import (
        McpCompletion,
        McpLogEntry,
        McpPrompt,
        McpPromptResult,
        McpRef,
        McpResource,
        McpResourceContent,
        McpResourceTemplate,
    )
    from .core.mcp_oauth import McpLogin, McpOAuth
    from .core.memory import Memory, MemoryPolicy, PrunePolicy
    from .core.messages import Document, Image, Text, Usage
    from .core.modes import Mode
    from .core.nudges import NudgePolicy
    from .core.output import OutputSpec
    from .core.record import RecordLimits, RunResult
    from .core.sandbox import SandboxPolicy
    from .core.todos import Todo
    from .core.tool_search import ToolSearchPolicy
    from .core.verification import VerificationCommand, VerificationPolicy, VerificationReport
    from .core.worker_agents import WorkerAgentSpec
    from .engine.attaching import file, image
    from .engine.builtin_commands import CommandContext
    from .engine.commands import Command, CommandOutput
    from .engine.hook import hook
    from .engine.session import Session
    from .host.agents import Agent
    from .host.auth_store import AuthStore
    from .host.mcp.files import mcp_servers_from
    from .host.mcp.settings import McpSettings
    from .host.runtime import Runtime
    from .host.subagent_session import SubagentEvent, SubagentSession
    from .models.replay import RecordedModel, Recorder
    from .models.script import ScriptedModel
    from .tools.function import Context, tool

_HOMES = {
    "Agent": "host.agents",
    "AgentRef": "core.agent",
    "AgentSpec": "core.agent",
    "ArtifactLimits": "core.artifact",
    "AuthStore": "host.auth_store",
    "Budget": "core.budget",
    "BudgetCheck": "contracts",
    "BudgetDecision": "core.budget",
    "BudgetGuard": "contracts",
    "CheckpointPolicy": "core.checkpoint",
    "ContextPolicy": "core.agent",
    "Embedder": "contracts",
    "Memory": "core.memory",
    "MemoryPolicy": "core.memory",
    "PrunePolicy": "core.memory",
    "Command": "engine.commands",
    "CommandContext": "engine.builtin_commands",
    "CommandOutput": "engine.commands",
    "Context": "tools.function",
    "Delta": "core.events",
    "Document": "core.messages",
    "Event": "core.events",
    "ExternalTaskResult": "core.lanes",
    "GodwitError": "core.errors",
    "HookCall": "contracts",
    "HookMatcher": "core.hooks",
    "HookResult": "core.hooks",
    "HookSpec": "core.hooks",
    "Image": "core.messages",
    "Labels": "core.events",
    "LaneConfig": "core.lanes",
    "LaneHandler": "core.lanes",
    "LaneSettings": "core.lanes",
    "Limits": "core.agent",
    "Link": "core.attachments",
    "McpCompletion": "core.mcp_contents",
    "McpLogEntry": "core.mcp_contents",
    "McpPrompt": "core.mcp_contents",
    "McpPromptResult": "core.mcp_contents",
    "McpRef": "core.mcp_contents",
    "McpResource": "core.mcp_contents",
    "McpResourceContent": "core.mcp_contents",
    "McpResourceTemplate": "core.mcp_contents",
    "McpLogin": "core.mcp_oauth",
    "McpOAuth": "core.mcp_oauth",
    "McpServer": "core.mcp",
    "McpSettings": "host.mcp.settings",
    "Mode": "core.modes",
    "NudgePolicy": "core.nudges",
    "ToolSearchPolicy": "core.tool_search",
    "Todo": "core.todos",
    "Goal": "core.goal",
    "ModelSettings": "core.agent",
    "OutputSpec": "core.output",
    "Permissions": "core.agent",
    "Price": "core.budget",
    "Question": "core.asked",
    "QuestionAnswer": "core.asked",
    "RateLimit": "core.lanes",
    "RecordLimits": "core.record",
    "RecordedModel": "models.replay",
    "Recorder": "models.replay",
    "Resumption": "core.asked",
    "RetryPolicy": "core.lanes",
    "RewindPreview": "core.checkpoint",
    "RewindResult": "core.checkpoint",
    "RunFailed": "core.errors",
    "RunResult": "core.record",
    "RemoteRuntime": "client.runtime",
    "RemoteSession": "client.session",
    "Runtime": "host.runtime",
    "SandboxPolicy": "core.sandbox",
    "ScriptedModel": "models.script",
    "Session": "engine.session",
    "SessionHandle": "contracts",
    "Spent": "core.budget",
    "SubagentEvent": "host.subagent_session",
    "SubagentSession": "host.subagent_session",
    "Text": "core.messages",
    "ToolContext": "contracts",
    "ToolDefinition": "core.agent",
    "KeptFile": "contracts",
    "ToolOutput": "contracts",
    "Usage": "core.messages",
    "VerificationCommand": "core.verification",
    "VerificationPolicy": "core.verification",
    "VerificationReport": "core.verification",
    "WorkerAgentSpec": "core.worker_agents",
    "Worker": "client.worker",
    "connect": "client.runtime",
    "file": "engine.attaching",
    "image": "engine.attaching",
    "hook": "engine.hook",
    "mcp_servers_from": "host.mcp.files",
    "tool": "tools.function",
}

__version__ = "0.1.0.dev0"
__all__ = [
    "Agent",
    "AgentRef",
    "AgentSpec",
    "ArtifactLimits",
    "AuthStore",
    "Budget",
    "BudgetCheck",
    "BudgetDecision",
    "BudgetGuard",
    "CheckpointPolicy",
    "ContextPolicy",
    "Embedder",
    "Memory",
    "MemoryPolicy",
    "PrunePolicy",
    "Command",
    "CommandContext",
    "CommandOutput",
    "Context",
    "Delta",
    "Document",
    "Event",
    "ExternalTaskResult",
    "GodwitError",
    "HookCall",
    "HookMatcher",
    "HookResult",
    "HookSpec",
    "Image",
    "Labels",
    "LaneConfig",
    "LaneHandler",
    "LaneSettings",
    "Limits",
    "Link",
    "McpCompletion",
    "McpLogEntry",
    "McpPrompt",
    "McpPromptResult",
    "McpRef",
    "McpResource",
    "McpResourceContent",
    "McpResourceTemplate",
    "McpLogin",
    "McpOAuth",
    "McpServer",
    "McpSettings",
    "Mode",
    "NudgePolicy",
    "ToolSearchPolicy",
    "Todo",
    "Goal",
    "ModelSettings",
    "OutputSpec",
    "Permissions",
    "Price",
    "Question",
    "QuestionAnswer",
    "RateLimit",
    "RecordLimits",
    "RecordedModel",
    "Recorder",
    "Resumption",
    "RetryPolicy",
    "RewindPreview",
    "RewindResult",
    "RunFailed",
    "RunResult",
    "RemoteRuntime",
    "RemoteSession",
    "Runtime",
    "SandboxPolicy",
    "ScriptedModel",
    "Session",
    "SessionHandle",
    "Spent",
    "SubagentEvent",
    "SubagentSession",
    "Text",
    "ToolContext",
    "ToolDefinition",
    "KeptFile",
    "ToolOutput",
    "Usage",
    "VerificationCommand",
    "VerificationPolicy",
    "VerificationReport",
    "Worker",
    "WorkerAgentSpec",
    "connect",
    "errors",
    "file",
    "hook",
    "image",
    "mcp_servers_from",
    "tool",
]


def __getattr__(name: str) -> Any:
    if name == "errors":
        return import_module(".core.errors", __name__)
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'godwit' has no attribute {name!r}")
    return getattr(import_module(f".{home}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
