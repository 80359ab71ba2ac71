"""Telling: what a call shows of the work while it goes on, as progress and as log messages."""

from __future__ import annotations

import json
import warnings
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPDeprecationWarning
from mcp_types import LoggingLevel
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from ...core.events import (
    ActionOpened,
    Event,
    RunFinished,
    RunRetrying,
    SessionCompacted,
    SubagentAsked,
    SubagentFinished,
    SubagentStarted,
    ToolAsked,
    ToolFinished,
    ToolStarted,
    TurnStarted,
)
from ...core.visible import visible
from .connection import state_of

LOGGER = "godwit"
LEVEL = "godwit.level"
"""Where a connection of the older protocol keeps the level that its client has set."""
LEVELS: tuple[LoggingLevel, ...] = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
_MAIN = ("command", "file_path", "path", "pattern", "query", "url", "description")
_WIDTH = 160


def words(event: Event) -> tuple[LoggingLevel, str] | None:
    """One line about an event, and how much it matters; None for one that nobody wants to hear of."""
    match event.data:
        case TurnStarted():
            return "debug", "the model is asked"
        case ToolStarted(name=name, arguments=arguments):
            return "info", _line(f"{name} {_main(arguments)}".rstrip())
        case ToolAsked(name=name):
            return "notice", _line(f"{name} asks something")
        case ToolFinished(name=name, status=status):
            return ("debug", f"{name} is done") if status == "ok" else ("warning", f"{name}: {status}")
        case ActionOpened(kind=kind, name=name) if kind in ("approval", "question", "external"):
            return "notice", _line(f"waits for an answer: {name}")
        case SubagentAsked(name=name, path=path):
            return "notice", _line(f"{' > '.join(path)} waits for an answer: {name}")
        case SubagentStarted(agent=agent, description=description, prompt=prompt):
            return "info", _line(f"{agent} is given a task: {description or prompt}")
        case SubagentFinished(status=status):
            return "info", f"a task has ended: {status}"
        case RunRetrying():
            return "warning", "the model did not answer and is asked again"
        case SessionCompacted():
            return "info", "older messages were summarized"
        case RunFinished(outcome=outcome):
            return "info", f"the work has ended: {outcome}"
        case _:
            return None


def _main(arguments: dict[str, Any]) -> str:
    value = next((arguments[name] for name in _MAIN if isinstance(arguments.get(name), str)), None)
    if value is None and arguments:
        value = json.dumps(arguments, ensure_ascii=False, default=str)
    return value or ""


def _line(text: str) -> str:
    flat = visible(" ".join(text.split()))
    return flat if len(flat) <= _WIDTH else flat[: _WIDTH - 1] + "…"


class Telling:
    """What one call tells. `told`: how much it has told already, which only grows."""

    def __init__(self, ctx: ServerRequestContext[Any, Any], told: int = 0) -> None:
        self._ctx = ctx
        self.told = told
        self._least = _level(ctx)

    async def tell(self, event: Event) -> None:
        """To a client that asked for progress, or for log messages."""
        found = words(event)
        if found is None:
            return
        level, text = found
        self.told += 1
        await self._ctx.session.report_progress(float(self.told), None, text)
        if self._least is not None and LEVELS.index(level) >= self._least:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", MCPDeprecationWarning)
                data = {"session": str(event.session), "seq": event.seq, "event": event.type, "message": text}
                await self._ctx.session.send_log_message(level, data, LOGGER, related_request_id=self._ctx.request_id)


def _level(ctx: ServerRequestContext[Any, Any]) -> int | None:
    """From which level on the client wants to hear. The SDK keeps to what a request of the newer protocol asks for."""
    if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
        return 0
    level = state_of(ctx).get(LEVEL)
    return None if level is None else LEVELS.index(level)
