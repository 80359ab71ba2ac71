"""Fields of events: what our values are in this protocol's words."""

from __future__ import annotations

from typing import Any, Final, Literal

from ...core.budget import Budget
from ...core.errors import Fault
from ...core.events import McpUnavailable
from ...core.messages import Usage

BUILT_IN: Final = frozenset(("bash", "read", "write", "edit", "glob", "grep", "web_fetch", "web_search"))
"""The tools of this protocol's own toolset: a client that runs one answers with `user.tool_result`."""


def usage_of(usage: Usage) -> dict[str, Any]:
    """A model step's usage; theirs counts cached tokens apart."""
    return {
        "input_tokens": max(0, usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens),
        "output_tokens": usage.output_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
    }


def budget_of(budgets: tuple[Budget, ...]) -> dict[str, Any] | None:
    """The limit in money, in cents; None without one."""
    usd = next((b.usd for b in budgets if b.scope == "session"), None)
    if usd is None:
        return None
    return {"type": "limit", "max_list_cost": {"amount": str(round(usd * 100)), "currency": "USD"}}


_ERRORS: Final[dict[str, str]] = {
    "rate_limited": "model_rate_limited_error",
    "model_unavailable": "model_overloaded_error",
    "max_turns": "tool_use_limit_reached_error",
    **dict.fromkeys(
        (
            "model",
            "authentication_failed",
            "context_too_long",
            "model_refused",
            "stream_broken",
            "replay_mismatch",
            "model_not_found",
        ),
        "model_request_failed_error",
    ),
}


def error_of(fault: Fault, status: Literal["retrying", "exhausted", "terminal"]) -> dict[str, Any]:
    """The `error` of a `session.error`."""
    kind = _ERRORS.get(fault.code, "unknown_error")
    return {"type": kind, "message": fault.message, "retry_status": {"type": status}}


def server_error(data: McpUnavailable) -> dict[str, Any]:
    """The `error` of a `session.error` about an MCP server."""
    return {
        "type": f"mcp_{data.trouble}_failed_error",
        "mcp_server_name": data.server,
        "message": data.message,
        "retry_status": {"type": "retrying" if data.retrying else "exhausted"},
    }
