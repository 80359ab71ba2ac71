"""Interrupts: what a session waits for a person to answer, as front ends are asked it, and their answers as ours.

An interrupt has the id of the action it stands for, so an answer finds it wherever it was given meanwhile. Rule: what a
front end is shown, with its schema, is enough to answer; an answer that does not fit changes nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from ...contracts import EventStore, SessionHandle
from ...core.errors import ActionNotFound, InvalidArgument
from ...core.events import ActionOpened
from ...core.facts import PendingAction
from ...core.ids import ActionId
from .events import Interrupt, Shape
from .inputs import ResumeEntry

CANCELLED: Final = "cancelled in the front end"


class Approval(Shape, frozen=True, kw_only=True):
    """The answer to an approval. `edited_args` are run in place of the call's own."""

    approved: bool
    edited_args: dict[str, Any] | None = None
    reason: str | None = None
    remember: str | None = None


def interrupt_of(opened: ActionOpened, *, call: str | None, subagent: str | None) -> Interrupt:
    """What a front end is asked. `call`: the wire's id of the call it is about; `subagent`: who asks."""
    told: dict[str, Any] = {"kind": opened.kind, "name": opened.name}
    if opened.arguments:
        told["arguments"] = opened.arguments
    if opened.url is not None:
        told["url"] = opened.url
    if opened.rules:
        told["rules"] = list(opened.rules)
    return Interrupt(
        id=opened.action,
        reason=_reason(opened),
        message=_message(opened),
        tool_call_id=call,
        response_schema=schema_of(opened),
        expires_at=None if opened.expires_ms is None else _time(opened.expires_ms),
        metadata={"godwit": told},
        subagent_run_id=subagent,
    )


def schema_of(opened: ActionOpened) -> dict[str, Any]:
    """What an answer looks like."""
    if opened.kind == "approval":
        properties: dict[str, Any] = {
            "approved": {"type": "boolean"},
            "reason": {"type": "string", "description": "Why not, for the agent to read."},
        }
        if opened.call is not None or opened.arguments:
            properties["editedArgs"] = {"type": "object", "description": "Run with these in place of its own arguments."}
        if opened.rules:
            properties["remember"] = {
                "type": "string",
                "enum": ["session", "always"],
                "description": f"Decide so from now on for all that {opened.rules[0]} matches.",
            }
        return {"type": "object", "properties": properties, "required": ["approved"]}
    if opened.url is not None:
        return {"type": "object", "properties": {}}
    if opened.schema is not None:
        return opened.schema
    return {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}


async def opened(store: EventStore, pending: PendingAction) -> ActionOpened:
    """What was asked. ActionNotFound."""
    session = pending.session
    assert session is not None
    for event in await store.read(session, types=("action.opened",), newest_first=True):
        if isinstance(event.data, ActionOpened) and event.data.action == pending.id:
            return event.data
    raise ActionNotFound(f"there is no action {pending.id!r}", action=pending.id)


async def give(session: SessionHandle, opened: ActionOpened, entry: ResumeEntry, sender: str | None) -> bool:
    """Give the answer; False when somebody had answered before. InvalidArgument when it does not fit."""
    action = opened.action
    try:
        if entry.status == "cancelled":
            return await session.deny(action, CANCELLED, sender=sender)
        if opened.kind == "approval":
            said = approval_in(entry.payload, action)
            remember: Any = said.remember
            if not said.approved:
                return await session.deny(action, said.reason, remember=remember, sender=sender)
            return await session.approve(action, arguments=said.edited_args, remember=remember, sender=sender)
        return await session.answer(action, answer_in(opened, entry.payload), sender=sender)
    except ActionNotFound:
        return False


def approval_in(payload: Any, action: ActionId) -> Approval:
    """InvalidArgument. A bare yes or no is taken as well."""
    if isinstance(payload, bool):
        return Approval(approved=payload)
    try:
        said = msgspec.convert(payload, Approval)
    except msgspec.ValidationError as error:
        raise InvalidArgument(
            f"resume: the answer to {action!r} is {{approved: true or false, editedArgs?, reason?}}: {error}", action=action
        ) from None
    if said.remember not in (None, "session", "always"):
        raise InvalidArgument(f"resume: {action!r}: remember is session or always, not {said.remember!r}", action=action)
    return said


def answer_in(opened: ActionOpened, payload: Any) -> str | dict[str, Any]:
    """InvalidArgument."""
    if opened.url is not None:
        return "done"
    if opened.schema is None and isinstance(payload, str):
        return payload
    if not isinstance(payload, dict):
        raise InvalidArgument(
            f"resume: the answer to {opened.action!r} is an object, as its schema says", action=opened.action
        )
    if opened.schema is not None:
        return payload
    said = payload.get("answer")
    if not isinstance(said, str):
        raise InvalidArgument(f"resume: the answer to {opened.action!r} is {{answer: text}}", action=opened.action)
    return said


def _reason(opened: ActionOpened) -> str:
    if opened.kind == "approval":
        return "tool_call" if opened.call is not None and not opened.asking else "confirmation"
    return "input_required"


def _message(opened: ActionOpened) -> str:
    asked = opened.message or (f"Allow {opened.name}?" if opened.kind == "approval" else f"{opened.name} asks")
    return asked if opened.url is None else f"{asked}\n{opened.url}"


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat().replace("+00:00", "Z")


__all__ = ["Approval", "answer_in", "approval_in", "give", "interrupt_of", "opened", "schema_of"]
