"""Results: what a call of a tool gives back, in words for the client's model and as structured content for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
from mcp_types import CallToolResult, TextContent

from ...contracts import SessionRow
from ...core.errors import GodwitError
from ...core.facts import PendingAction
from ...core.record import RunResult
from .shapes import ActionView, RunView, action_view, run_view

_ENDED = {
    "interrupted": "It was interrupted before it was done.",
    "limited": "It ended at a limit before it was done.",
    "failed": "It failed.",
}


def result(text: str, content: Any, *, is_error: bool = False) -> CallToolResult:
    return CallToolResult(
        content=[TextContent(text=text)], structured_content=msgspec.to_builtins(content), is_error=is_error
    )


def refused(error: GodwitError) -> CallToolResult:
    """What could not be done. It is the model's to read: it may do better with the next call."""
    return CallToolResult(content=[TextContent(text=error.message)], is_error=True, _meta={"godwit/code": error.code})


def ended_result(session: str, run: RunResult) -> CallToolResult:
    """Of a run that has ended: its last answer."""
    view = run_view(session, run)
    parts = [run.text] if run.text else []
    if run.outcome != "done":
        why = f" {run.error.message}" if run.error is not None else ""
        parts.append(f"[{_ENDED[run.outcome]}{why} Session {session}.]")
    elif not parts:
        parts.append(f"[It is done, without a word. Session {session}.]")
    return result("\n\n".join(parts), view, is_error=run.outcome in ("failed", "limited"))


def open_result(row: SessionRow, run: str, pending: Sequence[PendingAction]) -> CallToolResult:
    """Of a run that has not ended."""
    session = str(row.id)
    actions = [action_view(session, one) for one in pending]
    view = RunView(session, run, row.status, actions=actions)
    if not actions:
        where = f"session_wait waits for it, as session {session}."
        return result(f"[It works on. {where}]", view)
    waits = "\n".join(f"- {action_words(one)}" for one in actions)
    how = (
        f"Session {session} waits for an answer; nothing is lost meanwhile. "
        "Ask the person you work for, then answer with session_answer and wait with session_wait."
    )
    return result(f"[{how}]\n{waits}", view)


def action_words(action: ActionView) -> str:
    """One line for a model."""
    who = f"{' > '.join(action.agents)}: " if action.agents else ""
    shown = json.dumps(action.arguments, ensure_ascii=False)
    what = f"{action.name} {shown}" if action.arguments else action.name
    told = [action.message or "", f"open {action.url}" if action.url else ""]
    told.append(f"its answer fits {json.dumps(action.form, ensure_ascii=False)}" if action.form else "")
    more = f" ({'; '.join(one for one in told if one)})" if any(told) else ""
    return f"{action.kind} {action.action}: {who}{what}{more}"
