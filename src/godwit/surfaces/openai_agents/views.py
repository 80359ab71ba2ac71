"""What sessions and turns show, from facts that were folded from a log."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from ...core.agent import AgentRef, AgentSpec, base_of
from ...core.budget import Budget
from ...core.errors import Fault
from ...core.ids import RunId
from ...core.messages import Usage
from ...host.session_tokens import PREFIX as OWN
from ..server.money import money_limit
from ..server.settings import ServerSettings
from .agent_shapes import SURFACE, shown
from .ids import environment_id
from .mcp_shapes import shown_by_session

SessionStatus = Literal["idle", "in_progress", "requires_action", "failed"]
TurnStatus = Literal["queued", "in_progress", "waiting", "completed", "failed", "cancelled"]

ARCHIVED = "the session is archived: it stays readable and takes no more input"

ERROR_CODES: Mapping[str, str] = {
    "rate_limited": "rate_limit_exceeded",
    "model_unavailable": "connection_failed",
    "authentication_failed": "authentication_error",
    "context_too_long": "context_length_exceeded",
    "model_refused": "invalid_request",
    "model_not_found": "resource_not_found",
    "stream_broken": "server_error",
    "model": "server_error",
    "budget_exhausted": "usage_limit_exceeded",
    "denied": "usage_limit_exceeded",
    "max_turns": "usage_limit_exceeded",
    "max_duration": "request_timeout",
    "invalid_tool_arguments": "server_error",
    "configuration": "invalid_request",
    "tool_not_found": "invalid_request",
}
"""The protocol's word for why a run failed; `internal_error` for all others."""


class ShownAgent(msgspec.Struct, frozen=True):
    """An agent as a session's snapshot shows it. `external`: the functions that the application runs. `environment`: what
    the session's environment shows beside its id, were it one with a workspace. `usd`: what its sessions may spend."""

    id: str
    body: dict[str, Any]
    external: frozenset[str]
    environment: dict[str, Any]
    usd: float | None = None


def shown_in_session(ref: AgentRef, spec: AgentSpec, settings: ServerSettings) -> ShownAgent:
    base = base_of(ref)
    body = {"id": base.name, "name": spec.title or None, **shown(spec, settings)}
    body["tools"] = [shown_by_session(tool) for tool in body["tools"] if tool["type"] != "tool_search"]
    said = spec.extensions.get(SURFACE, {})
    files = said.get("files", [])
    network: dict[str, Any] = {"access": "enabled" if spec.sandbox.network else "disabled", "allowed_domains": []}
    environment: dict[str, Any] = {
        "type": "openai_hosted",
        "capability_directories": [],
        "files": [dict(file) for file in files],
        "network": said.get("network", network),
        "packages": said.get("packages", {"npm": [], "python": [], "system": []}),
        "plugins": [],
        "skills": [],
        "container_size": None,
        "desktop": {"enabled": False},
    }
    external = frozenset(tool.name for tool in (*spec.external_tools, *spec.client_tools))
    return ShownAgent(base.name, body, external, environment, money_limit(spec, None))


class Facts(msgspec.Struct, frozen=True):
    """What stands of a session at some seq, beside its open run. Times in ms. `hosted`: it has a workspace.
    `vaults`: as it was made with, its own tokens among them. `budgets`: that were set on it, None for its agent's."""

    seq: int
    created_ms: int
    active_ms: int
    agent: AgentRef
    hosted: bool
    metadata: Mapping[str, str] = {}
    usage: Usage = Usage()
    archived: bool = False
    vaults: tuple[str, ...] = ()
    budgets: tuple[Budget, ...] | None = None


class Turn(msgspec.Struct):
    """A turn (our run) as far as it has come. `outputs`: how many places of its output are taken."""

    id: RunId
    agent: str
    created_ms: int
    status: TurnStatus = "queued"
    started_ms: int | None = None
    completed_ms: int | None = None
    error: dict[str, str] | None = None
    usage: Usage = Usage()
    outputs: int = 0


def turn_body(turn: Turn, session: str) -> dict[str, Any]:
    return {
        "id": turn.id,
        "object": "agent.session.turn",
        "session_id": session,
        "agent_id": turn.agent,
        "subagent_id": None,
        "status": turn.status,
        "created_at": turn.created_ms // 1000,
        "started_at": None if turn.started_ms is None else turn.started_ms // 1000,
        "completed_at": None if turn.completed_ms is None else turn.completed_ms // 1000,
        "error": turn.error,
        "usage": usage_body(turn.usage),
        "prompt_cache_options": None,
    }


def session_body(
    session: str, facts: Facts, agent: ShownAgent, status: SessionStatus, actions: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    environment = {"id": environment_id(session), **agent.environment} if facts.hosted else {"type": "none"}
    usd = next((one.usd for one in facts.budgets or () if one.scope == "session"), agent.usd)
    return {
        **({} if usd is None else {"spend_control": spend_body(usd, facts.usage)}),
        "id": session,
        "object": "agent.session",
        "agent": agent.body,
        "created_at": facts.created_ms // 1000,
        "last_active_at": facts.active_ms // 1000,
        "environment": environment,
        "error": ARCHIVED if facts.archived else None,
        "metadata": dict(facts.metadata),
        "required_actions": list(actions),
        "status": status,
        "usage": usage_body(facts.usage),
        "vault_ids": [vault for vault in facts.vaults if not vault.startswith(OWN)],
        "prompt_cache_options": None,
    }


def spend_body(usd: float, usage: Usage) -> dict[str, Any]:
    """A limit in money and what was spent of it, in whole cents; None where no price is known."""
    cost = 0.0 if usage.cost_usd is None and not usage.requests else usage.cost_usd
    return {"limit": round(usd * 100), "consumed": None if cost is None else math.floor(cost * 100 + 1e-6)}


def usage_body(usage: Usage) -> dict[str, Any] | None:
    """None when no model was asked."""
    if usage.requests == 0 and usage.total_tokens == 0:
        return None
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cache_read_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.thinking_tokens},
        "total_tokens": usage.total_tokens,
    }


def turn_error(fault: Fault | None) -> dict[str, str]:
    """Why a turn failed, in the protocol's own words."""
    if fault is None:
        return {"code": "internal_error", "message": "the turn failed"}
    return {"code": ERROR_CODES.get(fault.code, "internal_error"), "message": fault.message}
