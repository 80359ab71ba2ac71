"""Asking: what a session waits for, as a form that a client shows to a person, and what the person said as an answer.

Rule: what is to be approved is shown as it is, with everything in it visible; and what fits no form is not taken for a yes.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from mcp.server.context import ServerRequestContext
from mcp_types import ElicitRequestFormParams, ElicitResult

from ...core.errors import ActionNotFound, InvalidArgument
from ...core.facts import PendingAction
from ...core.visible import visible
from ...engine.budget import QUESTION
from ...engine.session import Session

MOST_AT_ONCE = 8
"""Questions that one call asks at the same time."""
_SHOWN = 4000
"""Characters of one argument that are shown."""
DECLINED = "the person who was asked declined"

Said = Literal["answered", "put_off", "unfit"]


def can_ask(ctx: ServerRequestContext[Any, Any]) -> bool:
    """Whether the client shows forms."""
    capabilities = ctx.session.client_capabilities
    found = None if capabilities is None else capabilities.elicitation
    return found is not None and (found.form is not None or found.url is None)


def askable(action: PendingAction) -> bool:
    """Results of external calls come from programs."""
    return action.kind in ("approval", "question")


def form(action: PendingAction) -> ElicitRequestFormParams:
    """What a person is asked. A call's own form is shown as it is; an address to be opened is a form without fields."""
    properties: dict[str, Any]
    if action.kind == "question":
        if action.schema is not None or action.url is not None:
            schema = action.schema or {"type": "object", "properties": {}}
        else:
            properties = {"answer": {"type": "string", "title": "Answer"}}
            schema = {"type": "object", "properties": properties, "required": ["answer"]}
        return ElicitRequestFormParams(message=_message(action), requested_schema=schema)
    properties = {
        "decision": {"type": "string", "title": "Decision", "enum": ["approve", "deny"]},
        "reason": {"type": "string", "title": "Reason", "description": "If you deny it: why. The agent is told."},
    }
    more = _more(action)
    if more is not None:
        name, amount = more
        properties["more"] = {
            "type": "number",
            "title": f"How much more ({name})",
            "description": "If you approve it. Empty: as much as is asked for.",
            "default": amount,
        }
    if action.rules:
        properties["remember"] = {
            "type": "string",
            "title": "Remember",
            "description": f"Decide so without asking for all that `{visible(action.rules[0])}` matches: in this session, or"
            " always in this folder.",
            "enum": ["no", "session", "always"],
            "default": "no",
        }
    return ElicitRequestFormParams(
        message=_message(action), requested_schema={"type": "object", "properties": properties, "required": ["decision"]}
    )


def _more(action: PendingAction) -> tuple[str, float] | None:
    """Which limit a budget asks to raise, and by how much."""
    resource = action.arguments.get("resource")
    if action.call is not None or action.name != QUESTION or not isinstance(resource, str):
        return None
    amount = action.arguments.get(resource)
    return (resource, amount) if isinstance(amount, int | float) else None


def _message(action: PendingAction) -> str:
    lines = []
    if action.path:
        lines.append(f"{' > '.join(visible(name) for name in action.path)} asks:")
    if action.message:
        lines.append(visible(action.message))
    if action.url is not None:
        lines.append(f"Open {visible(action.url)}, and say when you are done.")
    if action.call is not None and not (action.kind == "question" and action.message):
        what = "wants an answer" if action.kind == "question" else "is to be run"
        lines += [f"{visible(action.name)} {what}" + (":" if action.arguments else "."), *_arguments(action.arguments)]
    return "\n".join(lines)


def _arguments(arguments: dict[str, Any]) -> list[str]:
    lines = []
    for name, value in arguments.items():
        text = visible(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        if len(text) > _SHOWN:
            text = f"{text[:_SHOWN]}\n[{len(text) - _SHOWN} more characters are not shown here]"
        lines.append(f"  {visible(name)}: " + text.replace("\n", "\n    "))
    return lines


async def answer(session: Session, action: PendingAction, said: ElicitResult, sender: str) -> Said:
    """Give the answer that the person gave. `put_off`: they gave none. `unfit`: it does not fit the form. An action that was
    answered elsewhere meanwhile stays as that left it."""
    if said.action == "cancel":
        return "put_off"
    content = dict(said.content or {})
    try:
        if action.kind == "question":
            if said.action != "accept":
                await session.approvals.deny(action.id, DECLINED, sender=sender)
                return "answered"
            given: Any = (
                content if action.schema is not None else "done" if action.url is not None else content.get("answer")
            )
            if given is None:
                return "unfit"
            await session.approvals.answer(action.id, given, sender=sender)
            return "answered"
        decision = content.get("decision") if said.action == "accept" else "deny"
        reason = content.get("reason") if said.action == "accept" else DECLINED
        remember = content.get("remember", "no")
        if decision not in ("approve", "deny") or remember not in ("no", "session", "always"):
            return "unfit"
        if reason is not None and not isinstance(reason, str):
            return "unfit"
        kept: Any = None if remember == "no" or not action.rules or said.action != "accept" else remember
        if decision == "deny":
            await session.approvals.deny(action.id, reason or None, remember=kept, sender=sender)
            return "answered"
        await session.approvals.approve(
            action.id, arguments=_raised(action, content.get("more")), remember=kept, sender=sender
        )
    except ActionNotFound:
        return "answered"
    except InvalidArgument:
        return "unfit"
    return "answered"


def _raised(action: PendingAction, more: Any) -> dict[str, Any] | None:
    found = _more(action)
    if found is None or more is None:
        return None
    if isinstance(more, bool) or not isinstance(more, int | float):
        raise InvalidArgument("how much more is a number")
    return {**action.arguments, found[0]: more}
