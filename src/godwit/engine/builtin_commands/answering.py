"""Commands about what waits for an answer."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any, get_args

from ...core.errors import ActionNotFound, InvalidArgument
from ...core.events import Remember
from ...core.facts import PendingAction
from ...core.forms import answered, form_lines
from ..commands import Command, CommandOutput
from .context import CommandContext
from .typed import alone, builtin, line, needed


async def _pending(context: CommandContext) -> str:
    actions = await context.session.approvals.pending()
    lines = [f"To answer: {len(actions)}"]
    for action in actions:
        left = "" if action.remaining_s is None else f", {action.remaining_s:.0f} s left"
        lines.append(f"  {action.id}  {action.kind}, for {action.age_s:.0f} s{left}: {_call(action)}")
        lines += [f"    {line(action.message)}"] if action.message else []
        lines += [f"    open: {line(action.url)}"] if action.url is not None else []
        lines += [f"    {line(one)}" for one in form_lines(action.schema)]
        lines += [f"    may be remembered: {json.dumps(rule)}" for rule in action.rules]
    return "\n".join(lines)


async def _approve(arguments: str, context: CommandContext) -> CommandOutput:
    first, _, rest = arguments.partition(" ")
    typed, rest = ("", arguments) if first in get_args(Remember) else (first, rest.strip())
    far, _, rule = rest.partition(" ")
    if far and far not in get_args(Remember):
        raise InvalidArgument(f"{line(far)!r} is neither session nor always, which say how far it is remembered")
    remember: Any = far or None
    action = await _the_action(context, typed, ("approval",))
    await context.session.approve(action.id, remember=remember, rule=rule.strip() or None, sender=context.sender)
    kept = {"": "", "session": ", and so from now on in this session", "always": ", and so from now on"}[far]
    return CommandOutput(f"Approved{kept}: {_call(action)}", state_changed=True)


async def _deny(arguments: str, context: CommandContext) -> CommandOutput:
    typed, reason = await _id_and_rest(arguments, context)
    action = await _the_action(context, typed, ("approval", "question", "external"))
    await context.session.deny(action.id, reason or None, sender=context.sender)
    return CommandOutput(f"Denied: {_call(action)}", state_changed=True)


async def _answer(arguments: str, context: CommandContext) -> CommandOutput:
    typed, text = await _id_and_rest(arguments, context)
    action = await _the_action(context, typed, ("question", "external"))
    given: str | dict[str, Any] = text or "done" if action.url is not None else needed(text, "answer", "TEXT")
    if action.schema is not None:
        given = answered(action.schema, _words(text))
    await context.session.answer(action.id, given, sender=context.sender)
    return CommandOutput(f"Answered: {_call(action)}", state_changed=True)


def _words(text: str) -> list[str]:
    """The text as one answer, or as `NAME=VALUE` for the fields of a form, with quotes as in a shell."""
    if text.lstrip().startswith("{"):
        return [text]
    try:
        words = shlex.split(text)
    except ValueError:  # a quote that is only a letter of the answer
        return [text]
    return words if words and all("=" in word for word in words) else [text]


async def _id_and_rest(arguments: str, context: CommandContext) -> tuple[str, str]:
    """The id of an action or its call, if the first word is a whole one, and what follows it."""
    first, _, rest = arguments.partition(" ")
    named = any(first and first in (a.id, a.call) for a in await context.session.approvals.pending())
    return (first, rest.strip()) if named else ("", arguments)


async def _the_action(context: CommandContext, typed: str, kinds: Sequence[str]) -> PendingAction:
    """The action named, or the only one that waits."""
    pending = [a for a in await context.session.approvals.pending() if a.kind in kinds]
    found = [a for a in pending if a.id.startswith(typed) or a.call == typed]
    if not found:
        raise ActionNotFound("nothing waits for this answer" + (f" under {typed!r}" if typed else ""), action=typed)
    if len(found) > 1:
        raise InvalidArgument(f"{len(found)} wait for an answer, name one: {', '.join(a.id for a in found)}")
    return found[0]


def _call(action: PendingAction) -> str:
    # In JSON nothing is invisible: what is approved must not hide behind a control character.
    if action.asking and not action.arguments:
        return f"asked by {action.name}" if not action.path else f"asked by {line(' > '.join(action.path))} > {action.name}"
    return f"{action.name} {json.dumps(action.arguments)}"


ANSWERING: tuple[Command, ...] = (
    builtin("pending", "List what waits for an answer, with its arguments.", alone(_pending)),
    builtin(
        "approve",
        "Let a call run that waits for approval, and remember it.",
        _approve,
        "[ID] [session|always [RULE]]",
    ),
    builtin("deny", "Refuse a call that waits; the model is told the reason.", _deny, "[ID] [REASON]"),
    builtin("answer", "Answer a question, or give the result of a call made outside.", _answer, "[ID] TEXT|NAME=VALUE ..."),
)
